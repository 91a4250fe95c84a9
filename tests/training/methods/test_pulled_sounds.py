"""Pulled networks that read sounds are bases: their pooled frames are learned from, and depend on no other row of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.catalog import Catalog
from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.datasets.examples import open_dataset
from service.errors import InvalidInput
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.tasks.table import task_for
from service.training.compatibility import check_before_upload, plan
from service.training.data.feature_cache import FeatureCache, features_folder
from service.training.data.feature_inputs import features_task
from service.training.job_spec import JobSpec, Method
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.protocol import Finished, Log
from service.types import AudioInstance, Item
from tests.support.references import tiny_sounds
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import Train, method_order, publish, report, run_method
from tests.support.training.tones import PITCHES, encoded, tone, tones_zip

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # of WavLM's own code

MAKERS: dict[str, Callable[[Path], Path]] = {
    "wav2vec2": tiny_sounds.wav2vec2,
    "no_mask": tiny_sounds.wav2vec2_group,
    "wavlm": tiny_sounds.wavlm,
    "ast": tiny_sounds.ast,
    "whisper": tiny_sounds.whisper_classifier,
    "encoder": tiny_sounds.hubert_encoder,
    "dictation": tiny_sounds.whisper,
    "listener": tiny_sounds.ctc,
}
AS_ENCODERS = ("dictation",)
"""Pulled for their encoders, by `--task feature-extraction`."""
BASES = tuple(name for name in MAKERS if name != "listener")
COUNT = 14
"""Sounds of each class."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has nothing but pulled networks."""
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in MAKERS.items():
            (root / name).mkdir()
            given = Given(task="feature-extraction" if name in AS_ENCODERS else "")
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home", given=given, name=name)
    return root / "home"


@pytest.fixture(scope="module")
def tones(home: Path) -> str:
    return add_dataset(home, tones_zip(COUNT), "tones.zip")


def train(home: Path, folder: Path, base: str, dataset: str, method: Method) -> list[object]:
    run: Train = train_head if method is Method.HEAD else train_network
    settings = {} if method is Method.HEAD else {"epochs": 2}
    return [*run_method(run, method_order(home, base, dataset, "audio-classification", method, **settings), folder)]


@pytest.mark.parametrize("base", BASES)
def test_head_on_frozen_frames_learns_the_pitch_of_tones(base: str, home: Path, tones: str, tmp_path: Path) -> None:
    assert isinstance(train(home, tmp_path / "job", base, tones, Method.HEAD)[-1], Finished)
    found = report(tmp_path / "job")
    assert found["metrics"]["accuracy"]["value"] > found["baseline"]["accuracy"]
    version = publish(home, tmp_path / "job")
    card = version.card
    assert (card.task, card.raw_input) == ("audio-classification", "audio")
    assert (card.reference, card.verification, card.class_names) == ("", None, ()), "those are facts of the base"
    assert task_for(card, version.files).labels == tuple(sorted(PITCHES))


@pytest.mark.component
@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("wav2vec2", Method.LORA),
        ("wav2vec2", Method.FULL),
        ("no_mask", Method.FULL),
        ("wavlm", Method.FULL),
        ("ast", Method.LORA),
        ("whisper", Method.LORA),
        ("encoder", Method.LORA),
        ("encoder", Method.FULL),
        ("dictation", Method.LORA),
        ("dictation", Method.FULL),
    ],
)
def test_network_is_trained_by_the_methods_of_a_transformer(
    base: str, method: Method, home: Path, tones: str, tmp_path: Path
) -> None:
    assert isinstance(train(home, tmp_path / "job", base, tones, method)[-1], Finished)
    card = publish(home, tmp_path / "job").card
    assert (card.adapter is not None) == (method is Method.LORA)


@pytest.mark.parametrize("base", ["wav2vec2", "no_mask", "ast", "whisper"])
def test_features_of_a_data_set_are_those_of_its_sounds_alone(
    base: str, home: Path, tones: str, tmp_path: Path
) -> None:
    train(home, tmp_path / "job", base, tones, Method.HEAD)
    card = Catalog.of_home(home).get(base)
    files = Store(home).find(card)
    assert files is not None
    examples = open_dataset(home, tones)
    features, ok, _ = FeatureCache(features_folder(home, card, files, examples.info), 2 * COUNT).read()
    assert features is not None
    assert ok.all()
    network, task = load_network(card, files), features_task(card, files, examples.info)
    for i in (0, 5, 2 * COUNT - 1):
        (item,) = task.preprocess([examples[i].instance], ["sound"])
        assert isinstance(item, Item)
        with torch.inference_mode():
            arrays, _ = task.collate([item])
            alone = network.features(**{name: torch.from_numpy(array) for name, array in arrays.items()})[0].numpy()
        np.testing.assert_allclose(features[i], alone, atol=2e-5)


@pytest.mark.parametrize("method", [Method.HEAD, Method.FULL])
def test_sounds_beyond_the_window_are_counted_in_the_report(method: Method, home: Path, tmp_path: Path) -> None:
    long = {f"low/long{i}.wav": encoded(tone(220, 2.5, i)) for i in range(3)}
    seed = 10 + list(Method).index(method)
    dataset = add_dataset(home, tones_zip(8, seed, more=long), "long.zip")
    messages = train(home, tmp_path / "job", "whisper", dataset, method)
    assert report(tmp_path / "job")["accounting"]["truncated"] == 3
    (warning,) = [m.text for m in messages if isinstance(m, Log) and "longer" in m.text]
    assert warning.startswith(
        "'whisper' reads a part only of 3 of 19 examples, which are longer than its input: low/long0"
    )
    assert "3 of 19 are longer than the network reads" in (tmp_path / "job" / "result" / "report.html").read_text()


def test_sounds_that_the_network_cannot_read_are_left_out_by_name(home: Path, tmp_path: Path) -> None:
    """What the upload cannot decode is skipped there; what is too short for the network is left out by the job."""
    bad = {
        "low/noise.wav": b"no sound",
        "low/click.wav": encoded(tone(220, 0.002, 1)),
        "high/long.flac": encoded(tone(1760, 30.5, 2), "flac"),
    }
    dataset = add_dataset(home, tones_zip(8, 30, more=bad), "bad.zip")
    skipped = open_dataset(home, dataset).info.report.skipped
    assert [(one.file, one.reason) for one in skipped] == [
        ("low/noise.wav", "is no WAV, FLAC or OGG sound, or it is broken")
    ]
    assert isinstance(train(home, tmp_path / "job", "wav2vec2", dataset, Method.HEAD)[-1], Finished)
    accounting = report(tmp_path / "job")["accounting"]
    assert (accounting["given"], accounting["left_out"], accounting["truncated"]) == (18, 2, 0)
    assert dict(accounting["first"]) == {
        "high/long.flac": "expected at most 30 seconds of sound, got 31",
        "low/click.wav": "expected at least 0.008125 seconds of sound, got 0.002",
    }


def test_short_sounds_do_not_end_full_training(home: Path, tmp_path: Path) -> None:
    """A network in training would mask more frames at random than such a sound has."""
    short = {f"{name}/{i}.wav": encoded(tone(hertz, 0.02, i)) for name, hertz in PITCHES.items() for i in range(8)}
    dataset = add_dataset(home, tones_zip(0, more=short), "short.zip")
    assert isinstance(train(home, tmp_path / "job", "wav2vec2", dataset, Method.FULL)[-1], Finished)


@pytest.mark.parametrize(
    ("base", "asked", "field", "says"),
    [
        ("wavlm", {"method": Method.LORA}, "spec.method", "reads its weights itself"),
        ("listener", {}, "spec.base", "cannot be fine-tuned: .* pull its encoder"),
        ("wav2vec2", {"task": "text-classification"}, "spec.task", "'audio-classification'"),
        ("ast", {"method": Method.FULL, "hyperparameters": {"augmentation": "light"}}, "spec.hyperparameters.augmentation",
         "has no meaning"),
    ],
)  # fmt: skip
def test_job_that_cannot_be_is_refused_by_its_field(
    base: str, asked: dict[str, object], field: str, says: str, home: Path, tones: str
) -> None:
    card, info = Catalog.of_home(home).get(base), open_dataset(home, tones).info
    for check in (
        lambda: check_before_upload(card, JobSpec(base=base, dataset_id="", model="mine", **asked)),  # type: ignore[arg-type]
        lambda: plan(card, info, JobSpec(base=base, dataset_id=info.id, model="mine", **asked)),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput, match=says) as caught:
            check()
        assert caught.value.field == field


def test_sounds_are_no_data_for_other_bases(home: Path, tones: str) -> None:
    info = open_dataset(home, tones).info
    for name, data in (("efficientnet_lite0", "pictures"), ("all_minilm_l6_v2", "texts")):
        with pytest.raises(InvalidInput, match=f"learns from {data}.*the data set holds sounds"):
            plan(Catalog.from_package().get(name), info, JobSpec(base=name, dataset_id=info.id, model="mine"))


def test_tuned_task_reads_sounds_as_its_base_does(home: Path, tones: str, tmp_path: Path) -> None:
    train(home, tmp_path / "job", "whisper", tones, Method.HEAD)
    version = publish(home, tmp_path / "job")
    base = Catalog.of_home(home).get("whisper")
    files = Store(home).find(base)
    assert files is not None
    sound = AudioInstance(encoded(tone(440, 0.5, 9), "ogg"))
    (ours,), (theirs,) = (
        task.preprocess([sound], ["sound"]) for task in (task_for(version.card, version.files), task_for(base, files))
    )
    assert isinstance(ours, Item)
    assert isinstance(theirs, Item)
    np.testing.assert_array_equal(ours.tensors["input_features"], theirs.tensors["input_features"])
