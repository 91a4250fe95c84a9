"""Pairs of texts, several classes, spans, boxes and masks: from an upload to answers over both protocols, and after a restart."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.references.reference import parse_reference
from service.client import Classification, Detections, Entities, InvalidRequest, Job, Segmentation
from service.pb import prediction_pb2
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.datasets.dataset_files import picture, zipped
from tests.support.end_to_end.server_process import run_zoo, zoo_home
from tests.support.end_to_end.stubs import ask, expect_error, infer, outputs, stubs_of
from tests.support.end_to_end.workshop import RestartableServer
from tests.support.references.tiny_texts import pair_classifier, token_classifier
from tests.support.training.boxed_scenes import DETECTOR, add_detector, coco_scenes, picture_of
from tests.support.training.small_encoder import ENCODER, add_encoder, masked_shapes

PAIRS = "premise,hypothesis,label\n" + "".join(
    f"the old {('film', 'lamp')[i % 2]} {i},a {('film', 'lamp')[i % 4 // 2]},{'same' if i % 2 == i % 4 // 2 else 'other'}\n"
    for i in range(60)
)
TAGGED = "text,label\n" + "".join(
    f"the {('film and the lamp', 'film', 'lamp', 'keeper')[i % 4]} {i},{('film|lamp', 'film', 'lamp', '|')[i % 4]}\n"
    for i in range(60)
)
NO_PLACE = "".join(f"the O\nold O\nrome O\nfilm O\nended O\ny{i} O\n\n" for i in range(20))  # for the baseline a place
WORDS = (
    "".join(
        f"the O\nkeeper O\n{('anna', 'karl', 'maria')[i % 3]} B-PER\nclimbed O\nto O\nold B-LOC\nrome I-LOC\nx{i} O\n\n"
        for i in range(60)
    )
    + NO_PLACE
)
SCENES, MASKED = coco_scenes(30, seed=5), masked_shapes(16, seed=5)
SENTENCE = "the keeper anna climbed to old rome x7"


def coco(annotations: bytes) -> dict[str, bytes]:
    """A picture of 24 × 16, and a JSON file beside it."""
    return {"1.png": picture(1, "PNG"), "a.json": annotations}


def box_of(name: str, box: list[int] | None) -> bytes:
    """COCO's JSON of one picture with one box, or with none."""
    boxes = [] if box is None else [{"id": 0, "image_id": 0, "category_id": 0, "bbox": box}]
    images, classes = [{"id": 0, "file_name": name}], [{"id": 0, "name": "nut"}]
    return json.dumps({"images": images, "annotations": boxes, "categories": classes}).encode()


def masked(size: tuple[int, int]) -> dict[str, bytes]:
    """A picture of 24 × 16, and a mask of one class and some size."""
    written = io.BytesIO()
    Image.new("L", size, 3).save(written, "PNG")
    return {"images/1.png": picture(1, "PNG"), "masks/1.png": written.getvalue()}


@dataclass(frozen=True)
class Made:
    """Tuned models on a server."""

    workshop: RestartableServer
    jobs: dict[str, Job]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in {"tiny_pairs": pair_classifier, "tiny_spans": token_classifier}.items():
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home", name=name)
    add_detector(root / "home")
    add_encoder(root / "home", zoo_home())
    settings = {"ZOO_MODELS": "tiny_pairs,tiny_spans", "ZOO_OPTIMIZE": "off"}
    with RestartableServer(root / "home", settings) as workshop:
        client = workshop.client
        data = {"pairs.csv": PAIRS, "tagged.csv": TAGGED, "words.conll": WORDS}
        for name, text in data.items():
            (root / name).write_text(text)
        (root / "scenes.zip").write_bytes(SCENES)
        (root / "masked.zip").write_bytes(MASKED)
        pairs = client.upload_dataset(root / "pairs.csv")
        tagged = client.upload_dataset(root / "tagged.csv", columns={"label_separator": "|"})
        words = client.upload_dataset(root / "words.conll")
        scenes = client.upload_dataset(root / "scenes.zip", task="object-detection")
        assert (scenes.kind, sorted(scenes.report.class_counts)) == ("boxes", ["brick", "leaf"])
        masked = client.upload_dataset(root / "masked.zip")
        assert (masked.kind, sorted(masked.report.class_counts)) == ("masks", ["brick", "ground", "leaf"])
        assert (pairs.columns.text_pair, tagged.multi_label, words.kind) == ("hypothesis", True, "spans")
        few: dict[str, Any] = {"epochs": 2, "batch_size": 16}
        jobs = {
            "alike": client.create_job("tiny_pairs", pairs.id, "alike"),
            "alike_full": client.create_job("tiny_pairs", pairs.id, "alike_full", method="full", hyperparameters=few),
            "things": client.create_job("tiny_pairs", tagged.id, "things"),
            "names": client.create_job("tiny_spans", words.id, "names"),
            "names_lora": client.create_job("tiny_spans", words.id, "names_lora", method="lora", hyperparameters=few),
            "shapes": client.create_job(DETECTOR, scenes.id, "shapes", hyperparameters=few),
            "outlines": client.create_job(ENCODER, masked.id, "outlines", hyperparameters={"epochs": 1}),
        }
        ended = {name: workshop.succeeded(job) for name, job in jobs.items()}
        for name in jobs:
            client.promote(name, 1)  # two epochs may not beat a baseline
        yield Made(workshop, ended)


def answers(made: Made) -> dict[str, Any]:
    """Each model's answer by message, of which those by tensors and by command must not differ."""
    client = made.workshop.client
    pair = {"text": "the old film", "text_pair": "a lamp"}
    found: dict[str, Any] = {}
    for name in ("alike", "alike_full"):
        [told] = client.predict(name, [pair])
        assert isinstance(told, Classification)
        found[name] = {label.name: label.score for label in told.labels}
    [told] = client.predict("things", ["the film and the lamp 7"])
    assert isinstance(told, Classification)
    found["things"] = {label.name: label.score for label in told.labels}
    [boxes] = client.predict("shapes", [picture_of(SCENES, 1)], threshold=0.0)
    assert isinstance(boxes, Detections)
    found["shapes"] = [(one.name, one.score, one.box.xmin, one.box.ymax) for one in boxes.objects[:5]]
    [outlines] = client.predict("outlines", [picture_of(MASKED, 1)])
    assert isinstance(outlines, Segmentation)
    found["outlines"] = [(one.name, one.share) for one in outlines.classes]
    assert (outlines.width, outlines.height) == (48, 40)
    for name in ("names", "names_lora"):
        [spans] = client.predict(name, [SENTENCE])
        assert isinstance(spans, Entities)
        found[name] = [(one.label, one.start, one.end) for one in spans.entities]
    return found


def test_jobs_succeed_and_report_beside_a_baseline(made: Made) -> None:
    expected = {
        "alike": "accuracy",
        "things": "mean_average_precision",
        "names": "f1",
        "names_lora": "f1",
        "shapes": "map",
        "outlines": "mean_iou",
    }
    for name, metric in expected.items():
        job = made.jobs[name]
        assert (job.state, job.version) == ("SUCCEEDED", 1)
        report = made.workshop.client.report(name, 1).report
        assert report["primary"] == metric
        assert metric in report["baseline"]
    assert "version 1 is stable: f1 " in made.jobs["names"].promotion_outcome


def test_answers_are_alike_over_both_protocols(made: Made) -> None:
    found = answers(made)
    assert sum(found["alike"].values()) == pytest.approx(1.0)
    assert ("LOC", 27, 35) in found["names"]
    with stubs_of(made.workshop.server) as stubs:
        text, other = [b"the old film"], [b"a lamp"]
        logits = outputs(stubs.infer(infer("alike", text=text, text_pair=other)))["logits"][0]
        softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert sorted(softmax.tolist()) == pytest.approx(sorted(found["alike"].values()), abs=1e-4)
        logits = outputs(stubs.infer(infer("things", text=[b"the film and the lamp 7"])))["logits"][0]
        sigmoid = 1 / (1 + np.exp(-logits))
        assert sorted(sigmoid.tolist()) == pytest.approx(sorted(found["things"].values()), abs=1e-4)
        logits = outputs(stubs.infer(infer("names", text=[SENTENCE.encode()])))["logits"]
        assert logits.shape[::2] == (1, 5)
        message = {"text_pair": prediction_pb2.TextPair(text="the old film", text_pair="a lamp")}
        reply = stubs.predict(ask("alike", message, {"text": "the old film"}))
        assert {x.name: pytest.approx(x.score, abs=1e-5) for x in reply.predictions[0].classification.labels} == found[
            "alike"
        ]
        assert reply.predictions[1].error.message.startswith("instances[1]: expected a text_pair")
        error = expect_error(lambda: stubs.infer(infer("alike", text=text)))
        assert (error.code, "text_pair" in error.message) == ("INVALID_ARGUMENT", True)


def test_command_reads_both_columns_of_a_table_as_in_training(made: Made, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("hypothesis,premise\na lamp,the old film\n")
    done = run_zoo("predict", "alike", str(tmp_path / "new.csv"), "--json", "--server", made.workshop.server.target)
    assert done.returncode == 0, done.stderr
    told = {label["name"]: label["score"] for label in json.loads(done.stdout)["labels"]}
    assert told == pytest.approx(answers(made)["alike"], abs=1e-5)


def test_job_that_cannot_be_is_refused_before_it_is_queued(made: Made, tmp_path: Path) -> None:
    client = made.workshop.client
    (tmp_path / "words.conll").write_text(WORDS)
    words = client.upload_dataset(tmp_path / "words.conll")
    with pytest.raises(InvalidRequest, match=r"is no Transformer, which labels of tokens need|characters|learns"):
        client.create_job("char_lstm", words.id, "other")
    (tmp_path / "bad.conll").write_text("York I-LOC\n\n" * 3)
    (tmp_path / "scenes.zip").write_bytes(SCENES)
    scenes = client.upload_dataset(tmp_path / "scenes.zip", task="object-detection")
    with pytest.raises(InvalidRequest, match="'char_lstm' does not learn boxes; use 'nanodet', which does"):
        client.create_job("char_lstm", scenes.id, "other")
    with pytest.raises(InvalidRequest, match=f"'{DETECTOR}' learns from pictures with boxes, and the data set holds"):
        client.create_job(DETECTOR, words.id, "other")
    with pytest.raises(InvalidRequest, match="a detector learns in all its layers; expected 'full', got head"):
        client.create_job(DETECTOR, scenes.id, "other", method="head")
    (tmp_path / "masked.zip").write_bytes(MASKED)
    masked = client.upload_dataset(tmp_path / "masked.zip", kind="masks")
    with pytest.raises(InvalidRequest, match="'char_lstm' does not learn masks; use 'efficientnet_lite0', which does"):
        client.create_job("char_lstm", masked.id, "other")
    with pytest.raises(InvalidRequest, match=r"has no usable example; 3 left out, the first is 'bad.conll', row 1"):
        client.upload_dataset(tmp_path / "bad.conll")


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (coco(b'{"images": ['), "'a.json' is broken: it cannot be read as JSON"),
        (coco(box_of("gone.png", [2, 2, 9, 9])), "'gone.png': there is no picture 'gone.png' in the archive"),
        (coco(box_of("1.png", [9, 9, -4, 4])), "'1.png': annotation 0 has a negative width or height"),
        (coco(box_of("1.png", [40, 2, 9, 9])), "'1.png': annotation 0 lies outside of the picture of 24 × 16 pixels"),
        (coco(box_of("1.png", None)), "no class has a box in at least 2 pictures"),
        (masked((12, 16)), "'images/1.png': its mask is 12 × 16 pixels, and the picture is 24 × 16 upright"),
        (masked((24, 16)), "no class is in the masks of at least 2 pictures, and at least two classes are needed"),
    ],
    ids=["broken", "missing", "negative", "outside", "no-box", "mask-size", "few-masks"],
)
def test_wrong_boxes_and_masks_are_refused_by_name(
    made: Made, tmp_path: Path, files: dict[str, bytes], problem: str
) -> None:
    (tmp_path / "wrong.zip").write_bytes(zipped(files))
    with pytest.raises(InvalidRequest, match=re.escape(problem)):
        made.workshop.client.upload_dataset(tmp_path / "wrong.zip")


def test_versions_answer_alike_after_a_restart(made: Made) -> None:
    before = answers(made)
    made.workshop.stop()
    made.workshop.start()
    after = answers(made)
    for name in ("alike", "alike_full", "things"):
        assert after[name] == pytest.approx(before[name], abs=1e-5)
    assert (after["names"], after["names_lora"]) == (before["names"], before["names_lora"])
