"""Networks that read sounds are pulled where their answers are those of their library; every row of a batch is as if alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from model_zoo.golden.golden_case import golden_path
from model_zoo.network import load_network
from model_zoo.references.reference import parse_reference
from service.errors import InvalidInput
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import (
    AudioInstance,
    Classification,
    ImageInstance,
    Instance,
    Item,
    Options,
    SamplesInstance,
    TensorInstance,
)
from tests.support.references import tiny_sounds

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # of WavLM's own code

MAKERS: dict[str, Callable[[Path], Path]] = {
    "wav2vec2": tiny_sounds.wav2vec2,
    "wav2vec2 without a mask": tiny_sounds.wav2vec2_group,
    "hubert": tiny_sounds.hubert,
    "wavlm": tiny_sounds.wavlm,
    "ast": tiny_sounds.ast,
    "whisper": tiny_sounds.whisper_classifier,
}
SPEECH = AudioInstance(golden_path("speech.flac").read_bytes())


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers in this process: its own takes ten seconds to import it."""
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


class Served:
    """A pulled network that answers in this process, one batch at a time."""

    def __init__(self, pulled: Pulled) -> None:
        self.card = pulled.card
        self.task: Task = task_for(pulled.card, pulled.files)
        self.runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")

    def items(self, *instances: Instance) -> list[Item]:
        found = self.task.preprocess(instances, ["instances[0]"] * len(instances))
        assert all(isinstance(item, Item) for item in found), found
        return [item for item in found if isinstance(item, Item)]

    def rows(self, items: list[Item]) -> list[Any]:
        return self.task.split(self.runtime.run(self.task.collate(items)[0]), items)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Served]:
    made: dict[str, Served] = {}

    def get(name: str) -> Served:
        if name not in made:
            folder = tmp_path_factory.mktemp("repositories") / "tiny"
            folder.mkdir()
            reference = parse_reference(f"local:{MAKERS[name](folder)}")
            made[name] = Served(pull_reference(reference, tmp_path_factory.mktemp("home"), name="tiny"))
        return made[name]

    return get


def noise(seconds: float, seed: int = 0, rate: int = 16_000) -> SamplesInstance:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * rate)) * 0.1
    return SamplesInstance(samples.astype(np.float32), rate)


@pytest.mark.parametrize("name", MAKERS)
def test_network_gives_the_answers_of_its_library(name: str, served: Callable[[str], Served]) -> None:
    card = served(name).card
    assert card.task == "audio-classification"
    assert card.verification is not None
    assert (card.verification.inputs, card.verification.max_difference < 1e-5) == (2, True)
    assert card.class_names == ("speech", "music", "noise")


@pytest.mark.parametrize("name", ["wav2vec2", "ast"])
def test_probabilities_are_those_of_the_pipeline(name: str, served: Callable[[str], Served], tmp_path: Path) -> None:
    pipeline: Any = transformers.pipeline
    pipe = pipeline("audio-classification", model=str(MAKERS[name](tmp_path)), device="cpu", dtype=torch.float32)
    sound = noise(1.3, seed=4)
    expected = {one["label"]: one["score"] for one in pipe(sound.samples)}
    it = served(name)
    (item,) = it.items(sound)
    found = it.task.postprocess(it.rows([item])[0], item, Options())
    assert isinstance(found, Classification)
    assert {label.name: label.score for label in found.labels} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_rows_of_a_batch_equal_single_rows(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    items = it.items(SPEECH, noise(0.5, 1), noise(1.7, 2), noise(0.02, 3) if name != "ast" else noise(0.03, 3))
    for item, together in zip(items, it.rows(items), strict=True):
        np.testing.assert_allclose(together["logits"], it.rows([item])[0]["logits"], atol=1e-5)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2 without a mask"])
def test_padded_tensors_equal_those_without_padding(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    (bare,) = it.items(noise(0.7))
    padded = TensorInstance(
        {
            "input_values": np.pad(bare.tensors["input_values"], (0, 3000)),
            "attention_mask": np.pad(bare.tensors["attention_mask"], (0, 3000)),
        }
    )
    found = it.rows([it.task.row(padded, "instances[0].tensors")])[0]["logits"]
    np.testing.assert_allclose(found, it.rows([bare])[0]["logits"], atol=1e-5)


def test_network_without_a_mask_has_batches_of_one(served: Callable[[str], Served]) -> None:
    assert served("wav2vec2 without a mask").card.batching.max_batch_size == 1
    assert served("wav2vec2").card.batching.max_batch_size > 1


def test_rate_is_converted(served: Callable[[str], Served]) -> None:
    it = served("wav2vec2")
    (item,) = it.items(noise(1.0, rate=8000))
    assert item.length == 16_000


def test_sound_beyond_the_window_is_read_from_its_beginning_with_a_note(served: Callable[[str], Served]) -> None:
    it = served("whisper")
    (item,) = it.items(noise(5.0))
    assert item.notes == {"truncated": True, "seconds": 5.0}
    assert it.items(noise(2.0))[0].notes == {}


@pytest.mark.parametrize(
    ("name", "instance", "says"),
    [
        ("wav2vec2", noise(1 / 16_000), "expected at least 0.008125 seconds of sound"),
        ("ast", noise(1 / 16_000), "expected at least 0.025 seconds of sound"),
        ("wav2vec2", SamplesInstance(np.zeros(0, np.float32), 16_000), "no samples"),
        ("wav2vec2", SamplesInstance(np.full(4000, np.nan, np.float32), 16_000), "NaN"),
        ("wav2vec2", noise(30.1), "at most 30 seconds"),
        ("wav2vec2", AudioInstance(b""), "is empty"),
        ("wav2vec2", AudioInstance(b"no sound"), "expected a WAV, FLAC or OGG file"),
        ("wav2vec2", ImageInstance(b"\xff\xd8"), "expected audio or tensors"),
    ],
)
def test_wrong_sound_is_refused_alone(
    name: str, instance: Instance, says: str, served: Callable[[str], Served]
) -> None:
    found = served(name).task.preprocess([noise(0.2), instance], ["instances[0]", "instances[1]"])
    assert isinstance(found[0], Item)
    assert isinstance(found[1], InvalidInput)
    assert says in found[1].message


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"input_values": np.ones(50, np.float32), "attention_mask": np.ones(50, np.int64)}, "at least 130 elements"),
        ({"input_values": np.full(200, np.nan, np.float32)}, "finite"),
        ({"attention_mask": np.zeros(200, np.int64)}, "at least one 1"),
        ({"attention_mask": np.ones(9, np.int64)}, "expected 200 elements"),
        ({"attention_mask": np.arange(200, dtype=np.int64) // 50 % 2}, "ones, at least 130, and then zeros"),
        ({"attention_mask": (np.arange(200) < 100).astype(np.int64)}, "ones, at least 130, and then zeros"),
    ],
)
def test_wrong_tensors_are_refused(changed: dict[str, Any], says: str, served: Callable[[str], Served]) -> None:
    row = {"input_values": np.ones(200, np.float32), "attention_mask": np.ones(200, np.int64), **changed}
    with pytest.raises(InvalidInput, match=says):
        served("wav2vec2").task.row(TensorInstance(row), "t")


def test_one_sample_is_answered_where_the_window_is_filled_with_silence(served: Callable[[str], Served]) -> None:
    it = served("whisper")
    assert np.isfinite(it.rows(it.items(noise(1 / 16_000)))[0]["logits"]).all()
