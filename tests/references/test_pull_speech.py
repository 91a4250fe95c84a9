"""Networks that transcribe are pulled where their texts are those of their library, also for recordings in several chunks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from model_zoo.errors import NotEqual
from model_zoo.golden.golden_case import golden_path
from model_zoo.network import load_network
from model_zoo.references.reference import parse_reference
from service.errors import InvalidInput
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import AudioInstance, Instance, Item, Options, SamplesInstance, TextInstance, Transcript
from tests.support.references import tiny_sounds

MAKERS: dict[str, Callable[[Path], Path]] = {
    "ctc": tiny_sounds.ctc,
    "ctc without a mask": lambda folder: tiny_sounds.ctc(folder, "group"),
}
SPEECH = AudioInstance(golden_path("speech.flac").read_bytes())


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers in this process: its own takes ten seconds to import it."""
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


class Served:
    """A pulled network that answers in this process."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        pulled = pull_reference(parse_reference(f"local:{folder}"), home, name="tiny")
        self.card = pulled.card
        self.task: Task = task_for(pulled.card, pulled.files)
        self.runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")

    def item(self, instance: Instance) -> Item:
        (item,) = self.task.preprocess([instance], ["instances[0]"])
        assert isinstance(item, Item), item
        return item

    def rows(self, items: list[Item]) -> list[Any]:
        return self.task.split(self.runtime.run(self.task.collate(items)[0]), items)

    def transcript(self, instance: Instance) -> Transcript:
        """By all passes, one after another."""
        item = self.item(instance)
        while True:
            (row,) = self.rows([item])
            following = self.task.next_item(item, row, Options())
            if following is None:
                break
            item = following
        found = self.task.postprocess(row, item, Options())
        assert isinstance(found, Transcript)
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Served]:
    made: dict[str, Served] = {}

    def get(name: str) -> Served:
        if name not in made:
            folder = tmp_path_factory.mktemp("repositories") / "tiny"
            folder.mkdir()
            made[name] = Served(MAKERS[name](folder), tmp_path_factory.mktemp("home"))
        return made[name]

    return get


def noise(seconds: float, seed: int = 0) -> SamplesInstance:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * 16_000)) * 0.1
    return SamplesInstance(samples.astype(np.float32), 16_000)


def pipeline_of(folder: Path) -> Any:
    pipeline: Any = transformers.pipeline
    return pipeline("automatic-speech-recognition", model=str(folder), device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("name", MAKERS)
def test_network_gives_the_transcript_of_its_library(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    assert it.card.task == "automatic-speech-recognition"
    assert it.card.verification is not None
    sound = noise(1.7, 3)
    expected = pipeline_of(it.folder)(sound.samples, return_timestamps="word")
    found = it.transcript(sound)
    assert found.text == expected["text"]
    assert [chunk.text for chunk in found.chunks] == [chunk["text"] for chunk in expected["chunks"]]
    times = [(chunk.start_s, chunk.end_s) for chunk in found.chunks]
    np.testing.assert_allclose(times, [chunk["timestamp"] for chunk in expected["chunks"]], atol=1e-9)


def test_long_recording_is_read_in_chunks_as_the_pipeline_reads_it(served: Callable[[str], Served]) -> None:
    it = served("ctc")
    sound = noise(72.0, 5)
    assert len(it.item(sound).state.chunks) == 4  # type: ignore[attr-defined]
    expected = pipeline_of(it.folder)(sound.samples, chunk_length_s=30, stride_length_s=5)
    assert it.transcript(sound).text == expected["text"]


def test_tensors_of_a_long_recording_are_those_of_all_chunks(served: Callable[[str], Served]) -> None:
    it = served("ctc")
    item = it.item(noise(35.0, 6))
    (row,) = it.rows([item])
    following = it.task.next_item(item, row, Options())
    assert following is not None
    (row,) = it.rows([following])
    assert it.task.next_item(following, row, Options()) is None
    shown = it.task.shown(row, following)
    assert shown["frames"].tolist() == [len(shown["logits"])]
    assert len(shown["logits"]) == pytest.approx(35.0 * 125, abs=2)


@pytest.mark.parametrize("name", MAKERS)
def test_rows_of_a_batch_equal_single_rows(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    items = [it.item(sound) for sound in (SPEECH, noise(0.5, 1), noise(1.7, 2), noise(0.01, 3))]
    for item, together in zip(items, it.rows(items), strict=True):
        (alone,) = it.rows([item])
        assert together["frames"].tolist() == alone["frames"].tolist() == [len(alone["logits"])]
        np.testing.assert_allclose(together["logits"], alone["logits"], atol=it.card.tolerance.max_abs_error)


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (AudioInstance(b""), "is empty"),
        (AudioInstance(b"no sound"), "expected a WAV, FLAC or OGG file"),
        (noise(1 / 16_000), "expected at least"),
        (TextInstance(b"text"), "expected audio or tensors"),
    ],
)
def test_wrong_sound_is_refused_alone(instance: Instance, says: str, served: Callable[[str], Served]) -> None:
    found = served("ctc").task.preprocess([noise(0.2), instance], ["instances[0]", "instances[1]"])
    assert isinstance(found[0], Item)
    assert isinstance(found[1], InvalidInput)
    assert says in found[1].message


def test_other_text_of_the_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(_: str, asked: Any) -> list[Any]:
        return [{**one, "text": one["text"] + "!"} for one in answer(asked)]

    monkeypatch.setattr("service.references.pull.library_answers", other)
    (tmp_path / "tiny").mkdir()
    with pytest.raises(NotEqual, match="it writes"):
        Served(tiny_sounds.ctc(tmp_path / "tiny"), tmp_path / "home")
