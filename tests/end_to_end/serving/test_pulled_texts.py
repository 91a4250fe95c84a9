"""Networks for texts that no card names are pulled and served by a real server process, over both protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from model_zoo.references.reference import parse_reference
from service.client import Classification, Client, Entities, FilledMasks, Ranking
from service.pb import open_inference_pb2, prediction_pb2
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of, tensors
from tests.support.references.tiny_texts import (
    cross_encoder,
    mask_filler,
    multi_label_classifier,
    pair_classifier,
    token_classifier,
    zero_shot_classifier,
)

MAKERS: dict[str, Callable[[Path], Path]] = {
    "tiny_pairs": pair_classifier,
    "tiny_several": multi_label_classifier,
    "tiny_spans": token_classifier,
    "tiny_masks": mask_filler,
    "tiny_ranking": cross_encoder,
    "tiny_choice": zero_shot_classifier,
}
HUGE = "the [MASK] lamp " + "the lamp " * 100_000
PAIR = ("the old lighthouse keeper climbed", "a lamp")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in MAKERS:
        (root / name).mkdir()
    return {name: make(root / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves what was pulled in this process: the library's own one takes ten seconds for each model."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, folder in folders.items():
            pull_reference(parse_reference(f"local:{folder}"), home, name=name)
    wanted = [word for name in folders for word in ("--model", name)]
    with ServerProcess(*wanted, ZOO_HOME=str(home)) as process:
        yield process.ready()


@pytest.fixture(scope="module")
def pulled(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server) as stubs:
        yield stubs


def pipeline(folder: Path, task: str) -> Any:
    make: Any = transformers.pipeline
    return make(task, model=str(folder), device="cpu")


def pair(text: str, text_pair: str) -> dict[str, Any]:
    return {"text_pair": prediction_pb2.TextPair(text=text, text_pair=text_pair)}


def predicted(server: ServerProcess, *words: str) -> Any:
    """The lines of `zoo predict --json`."""
    done = run_preloaded("predict", *words, "--json", "--server", server.target)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# ── pairs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pair_is_answered_alike_by_message_by_tensor_and_by_command(
    server: ServerProcess, pulled: Stubs, folders: dict[str, Path]
) -> None:
    expected = pipeline(folders["tiny_pairs"], "text-classification")(
        {"text": PAIR[0], "text_pair": PAIR[1]}, top_k=None
    )
    wanted = [(label["label"], pytest.approx(label["score"], abs=1e-4)) for label in expected]
    reply = pulled.predict(ask("tiny_pairs", pair(*PAIR), {"text": PAIR[0]}))
    assert [(x.name, x.score) for x in reply.predictions[0].classification.labels] == wanted
    assert [(x.name, x.score) for x in reply.predictions[1].classification.labels] != wanted
    raw = outputs(pulled.infer(infer("tiny_pairs", text=[PAIR[0].encode()], text_pair=[PAIR[1].encode()])))["logits"]
    scores = np.exp(raw[0]) / np.exp(raw[0]).sum()
    assert sorted(scores.tolist(), reverse=True) == [score for _, score in wanted]
    [line] = predicted(server, "tiny_pairs", PAIR[0], "--text-pair", PAIR[1])
    assert [(label["name"], label["score"]) for label in line["labels"]] == wanted
    with Client(server.target) as client:
        [answer] = client.predict("tiny_pairs", {"text": PAIR[0], "text_pair": PAIR[1]})
    assert isinstance(answer, Classification)
    assert [(label.name, label.score) for label in answer.labels] == wanted


def test_pair_as_tensors_brings_the_number_of_its_texts(pulled: Stubs) -> None:
    row = {name: np.array(ids, np.int64) for name, ids in (("input_ids", [2, 8, 3, 9, 3]),)}
    row["attention_mask"], row["token_type_ids"] = np.ones(5, np.int64), np.array([0, 0, 0, 1, 1], np.int64)
    reply = pulled.predict(ask("tiny_pairs", tensors(**row)))
    alone = np.frombuffer(reply.predictions[0].tensors.tensors["logits"].data, "<f4")
    batch = {name: np.stack([np.append(array, 0)] * 2) for name, array in row.items()}
    together = outputs(pulled.infer(infer("tiny_pairs", **batch)))["logits"]
    np.testing.assert_allclose(together[1], alone, atol=1e-3)
    batch["token_type_ids"][0, 1] = 2
    error = expect_error(lambda: pulled.infer(infer("tiny_pairs", **batch)))
    assert (error.code, "token types in 0..1, got 2" in error.message) == ("INVALID_ARGUMENT", True)


def test_labels_that_do_not_exclude_each_other(pulled: Stubs, folders: dict[str, Path]) -> None:
    expected = pipeline(folders["tiny_several"], "text-classification")("the lamp", top_k=None)
    reply = pulled.predict(ask("tiny_several", {"text": "the lamp"}))
    labels = reply.predictions[0].classification.labels
    assert {x.name: pytest.approx(x.score, abs=1e-4) for x in labels} == {x["label"]: x["score"] for x in expected}
    likely = [x["label"] for x in expected if x["score"] >= 0.5]
    reply = pulled.predict(ask("tiny_several", {"text": "the lamp"}, threshold=0.5))
    assert {x.name for x in reply.predictions[0].classification.labels} == set(likely)


# ── spans ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_spans_are_given_alike_by_message_by_tensor_and_by_command(
    server: ServerProcess, pulled: Stubs, folders: dict[str, Path]
) -> None:
    text = "the old lighthouse keeper 🥐 climbed"
    pipe = pipeline(folders["tiny_spans"], "token-classification")
    expected = [(x["entity_group"], x["start"], x["end"]) for x in pipe(text, aggregation_strategy="simple")]
    reply = pulled.predict(ask("tiny_spans", {"text": text}, {"text": "lamp"}))
    found = reply.predictions[0].entities.entities
    assert [(x.label, x.start, x.end) for x in found] == expected
    assert [x.text for x in found] == [text[start:end] for _, start, end in expected]
    [line] = predicted(server, "tiny_spans", text)
    assert [(x["label"], x["start"], x["end"]) for x in line["entities"]] == expected
    shown = run_preloaded("predict", "tiny_spans", text, "--server", server.target)
    assert f"at {expected[0][1]} to {expected[0][2]}" in shown.stdout
    with Client(server.target) as client:
        [answer] = client.predict("tiny_spans", text)
    assert isinstance(answer, Entities)
    assert [(x.label, x.start, x.end) for x in answer.entities] == expected
    logits = outputs(pulled.infer(infer("tiny_spans", text=[text.encode(), b"lamp"])))["logits"]
    alone = outputs(pulled.infer(infer("tiny_spans", text=[b"lamp"])))["logits"]
    assert alone.shape == (1, 3, 5)
    np.testing.assert_allclose(logits[1, :3], alone[0], atol=1e-3)
    assert not logits[1, 3:].any(), "rows of one reply are filled with zeros"


# ── masks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_masks_are_filled_alike_by_message_by_tensor_and_by_command(
    server: ServerProcess, pulled: Stubs, folders: dict[str, Path]
) -> None:
    text = "the old [MASK] keeper"
    expected = pipeline(folders["tiny_masks"], "fill-mask")(text, top_k=3)
    wanted = [(x["token"], x["token_str"], x["sequence"], pytest.approx(x["score"], abs=1e-4)) for x in expected]
    reply = pulled.predict(ask("tiny_masks", {"text": text}, {"text": "[MASK] and [MASK]"}, top_k=3))
    assert [len(found.filled_masks.masks) for found in reply.predictions] == [1, 2]
    [mask] = reply.predictions[0].filled_masks.masks
    assert [(x.token_id, x.token, x.sequence, x.score) for x in mask.candidates] == wanted
    [line] = predicted(server, "tiny_masks", text, "--top-k", "3")
    assert [(x["token_id"], x["token"], x["sequence"], x["score"]) for x in line["masks"][0]] == wanted
    shown = run_preloaded("predict", "tiny_masks", text, "--server", server.target)
    assert expected[0]["sequence"] in shown.stdout
    with Client(server.target) as client:
        [answer] = client.predict("tiny_masks", text, top_k=3)
    assert isinstance(answer, FilledMasks)
    assert [(x.token_id, x.token, x.sequence, x.score) for x in answer.masks[0]] == wanted
    found = outputs(pulled.infer(infer("tiny_masks", text=[text.encode(), b"[MASK] and [MASK]"])))
    assert found["token_ids"].shape == found["scores"].shape == (2, 2, 79)
    assert found["token_ids"][0, 0, :3].tolist() == [x["token"] for x in expected]
    assert not found["scores"][0, 1].any(), "a row with fewer masks is filled with zeros"


def test_text_without_a_mask_says_how_a_mask_is_written(pulled: Stubs) -> None:
    error = expect_error(lambda: pulled.predict(ask("tiny_masks", {"text": "the lamp"})))
    assert (error.code, error.field, "'[MASK]'" in error.message) == ("INVALID_ARGUMENT", "instances[0]", True)
    ids, mask = np.array([[2, 8, 3]], np.int64), np.ones((1, 3), np.int64)
    error = expect_error(lambda: pulled.infer(infer("tiny_masks", input_ids=ids, attention_mask=mask)))
    assert (error.code, "masks" in error.message) == ("INVALID_ARGUMENT", True)


# ── rankings and labels of a caller ───────────────────────────────────────────────────────────────────────────────────

QUERY = "who climbed the stairs"
DOCUMENTS = ["the keeper climbed the stairs", "a lamp", "the film was a delight"]
LABELS = ["film", "lamp", "lighthouse"]


def ranked(query: str, *documents: str) -> dict[str, Any]:
    return {"ranking": prediction_pb2.RankingQuery(query=query, documents=documents)}


def test_documents_are_ranked_alike_by_message_by_tensor_and_by_command(
    server: ServerProcess, pulled: Stubs, folders: dict[str, Path]
) -> None:
    from sentence_transformers import CrossEncoder

    network = CrossEncoder(str(folders["tiny_ranking"]), device="cpu", local_files_only=True)
    expected = [(x["corpus_id"], pytest.approx(float(x["score"]), abs=1e-4)) for x in network.rank(QUERY, DOCUMENTS)]
    by_document = sorted(expected)
    reply = pulled.predict(ask("tiny_ranking", ranked(QUERY, *DOCUMENTS), pair(QUERY, DOCUMENTS[1])))
    assert [(x.index, x.score) for x in reply.predictions[0].ranking.documents] == expected
    assert [x.score for x in reply.predictions[1].ranking.documents] == [by_document[1][1]]
    texts = {"text": [QUERY.encode()] * 3, "text_pair": [document.encode() for document in DOCUMENTS]}
    scores = outputs(pulled.infer(infer("tiny_ranking", **texts)))["score"]
    assert scores[:, 0].tolist() == [score for _, score in by_document]
    lines = predicted(server, "tiny_ranking", "--query", QUERY, *DOCUMENTS)
    assert [line["ranking"][0]["score"] for line in lines] == [score for _, score in by_document]
    shown = run_preloaded("predict", "tiny_ranking", "--query", QUERY, *DOCUMENTS, "--server", server.target)
    assert shown.stdout.count("relevance") == 3
    with Client(server.target) as client:
        [answer] = client.predict("tiny_ranking", {"query": QUERY, "documents": DOCUMENTS}, top_k=2)
    assert isinstance(answer, Ranking)
    assert [(x.index, x.score) for x in answer.documents] == expected[:2]


def test_labels_of_a_caller_are_weighed_alike_by_message_and_by_command(
    server: ServerProcess, pulled: Stubs, folders: dict[str, Path]
) -> None:
    text = "the old lighthouse keeper climbed"
    for several in (False, True):
        found = pipeline(folders["tiny_choice"], "zero-shot-classification")(text, LABELS, multi_label=several)
        expected = [
            (name, pytest.approx(score, abs=1e-4)) for name, score in zip(found["labels"], found["scores"], strict=True)
        ]
        asked = ask("tiny_choice", {"text": text}, {"text": "a lamp"}, candidate_labels=LABELS, multi_label=several)
        reply = pulled.predict(asked)
        assert [(x.name, x.score) for x in reply.predictions[0].classification.labels] == expected
        assert len(reply.predictions[1].classification.labels) == 3
        words = ["--multi-label"] if several else []
        labels = [word for name in LABELS for word in ("--label", name)]
        [line] = predicted(server, "tiny_choice", text, *labels, *words)
        assert [(x["name"], x["score"]) for x in line["labels"]] == expected
        with Client(server.target) as client:
            [answer] = client.predict("tiny_choice", text, candidate_labels=LABELS, multi_label=several)
        assert isinstance(answer, Classification)
        assert [(x.name, x.score) for x in answer.labels] == expected
    raw = outputs(pulled.infer(infer("tiny_choice", text=[text.encode()], text_pair=[b"This example is film."])))
    assert raw["logits"].shape == (1, 3)


def test_models_of_pairs_show_both_inputs(pulled: Stubs) -> None:
    for name, inputs in (("tiny_ranking", ["text", "text_pair"]), ("tiny_pairs", ["text"])):
        described = pulled.inference.ModelMetadata(
            open_inference_pb2.ModelMetadataRequest(name=name), timeout=TIMEOUT_S
        )
        assert [tensor.name for tensor in described.inputs] == inputs
    config = pulled.inference.ModelConfig(open_inference_pb2.ModelConfigRequest(name="tiny_pairs"), timeout=TIMEOUT_S)
    assert "text_pair" in config.config.parameters["optional_input"].string_value


def test_ranking_with_a_bad_document_fails_alone(pulled: Stubs) -> None:
    good, bad = ranked(QUERY, *DOCUMENTS), ranked(QUERY, "a", " ")
    reply = pulled.predict(ask("tiny_ranking", good, bad, {"text": "alone"}, ranked("q"), good))
    kinds = [found.WhichOneof("result") for found in reply.predictions]
    assert kinds == ["ranking", "error", "error", "error", "ranking"]
    first, last = (reply.predictions[i].ranking.documents for i in (0, 4))
    assert [x.index for x in first] == [x.index for x in last]
    error = expect_error(lambda: pulled.predict(ask("tiny_ranking", bad)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0].ranking.documents[1]")


def test_labels_that_cannot_be_chosen_from_are_refused(pulled: Stubs) -> None:
    for options, field in (
        ({}, "options.candidate_labels"),
        ({"candidate_labels": ["a"] * 101}, "options.candidate_labels"),
        ({"candidate_labels": ["a", ""]}, "options.candidate_labels[1]"),
        ({"candidate_labels": ["a"], "hypothesis_template": "none"}, "options.hypothesis_template"),
    ):
        error = expect_error(lambda options=options: pulled.predict(ask("tiny_choice", {"text": "a"}, **options)))
        assert (error.code, error.field) == ("INVALID_ARGUMENT", field)
    error = expect_error(lambda: pulled.predict(ask("tiny_pairs", {"text": "a"}, candidate_labels=["b"])))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "options.candidate_labels")
    most = ask("tiny_choice", {"text": "a lamp"}, candidate_labels=[str(i) for i in range(100)])
    assert len(pulled.predict(most).predictions[0].classification.labels) == 100


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "instance", "field"),
    [
        ("tiny_pairs", pair("", "a"), "instances[0].text"),
        ("tiny_pairs", pair("a", "  "), "instances[0].text_pair"),
        ("tiny_pairs", {"image": b"picture"}, "instances[0]"),
        ("tiny_pairs", {"audio": b"sound"}, "instances[0]"),
        ("tiny_several", {"text": ""}, "instances[0]"),
        ("tiny_spans", {"text": " "}, "instances[0]"),
        ("tiny_masks", {"text": ""}, "instances[0]"),
        ("tiny_pairs", ranked("a", "b"), "instances[0]"),
        ("tiny_masks", {"text": "[MASK] " * 9}, "instances[0]"),
        ("tiny_masks", pair("[MASK]", "b"), "instances[0]"),
        ("tiny_spans", pair("a", "b"), "instances[0]"),
        ("tiny_spans", {"image": b"picture"}, "instances[0]"),
    ],
)
def test_wrong_text_is_refused_by_its_place(pulled: Stubs, model: str, instance: dict[str, Any], field: str) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)
    good = {"text": "the lamp [MASK]"}
    reply = pulled.predict(ask(model, good, instance))
    assert [found.WhichOneof("result") == "error" for found in reply.predictions] == [False, True]


def test_text_that_is_no_utf8_is_refused(pulled: Stubs) -> None:
    for request in (
        infer("tiny_pairs", text=[b"a"], text_pair=[b"\xff"]),
        *(infer(name, text=[b"\xff"], text_pair=[b"a"]) for name in ("tiny_ranking", "tiny_choice")),
        *(infer(name, text=[b"\xff"]) for name in ("tiny_several", "tiny_spans", "tiny_masks")),
    ):
        error = expect_error(lambda request=request: pulled.infer(request))
        assert (error.code, "UTF-8" in error.message) == ("INVALID_ARGUMENT", True)


def test_huge_text_is_cut_with_a_note(pulled: Stubs) -> None:
    alone = [name for name in MAKERS if name not in ("tiny_ranking", "tiny_choice")]
    paired = [(name, pair(HUGE, "a lamp")) for name in ("tiny_pairs", "tiny_ranking", "tiny_choice")]
    for model, instance in (*paired, *((name, {"text": HUGE}) for name in alone)):
        reply = pulled.predict(ask(model, instance), TIMEOUT_S)
        assert reply.predictions[0].notes["truncated"] is True
