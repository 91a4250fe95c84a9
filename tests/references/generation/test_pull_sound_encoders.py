"""Encoders of sounds are pulled where their embeddings are those of their library; every row of a batch is as if alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

from model_zoo.errors import NotDerivable
from model_zoo.golden.golden_case import golden_path
from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.table import task_for
from service.types import AudioInstance, Embedding, Instance, Item, Options, SamplesInstance
from tests.support.references import tiny_sounds

EMBEDDING = "feature-extraction"
MAKERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "hubert": (tiny_sounds.hubert_encoder, ""),
    "wav2vec2 without a mask": (tiny_sounds.wav2vec2_pretraining, ""),
    "ast": (tiny_sounds.ast_encoder, ""),
    "ctc": (tiny_sounds.ctc, EMBEDDING),
    "whisper": (tiny_sounds.whisper, EMBEDDING),
}
"""Repositories, and the task that their users name."""
SPEECH = AudioInstance(golden_path("speech.flac").read_bytes())


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers in this process: its own takes ten seconds to import it."""
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pulled]:
    made: dict[str, Pulled] = {}

    def get(name: str) -> Pulled:
        if name not in made:
            folder = tmp_path_factory.mktemp("repositories") / "tiny"
            folder.mkdir()
            make, task = MAKERS[name]
            reference = parse_reference(f"local:{make(folder)}")
            home = tmp_path_factory.mktemp("home")
            made[name] = pull_reference(reference, home, given=Given(task=task), name="tiny")
        return made[name]

    return get


def noise(seconds: float, seed: int = 0) -> SamplesInstance:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * 16_000)) * 0.1
    return SamplesInstance(samples.astype(np.float32), 16_000)


@pytest.mark.parametrize("name", MAKERS)
def test_embeddings_are_those_of_the_library(name: str, pulled: Callable[[str], Pulled]) -> None:
    card = pulled(name).card
    assert (card.task, card.raw_input, card.signature.outputs[0].shape) == (EMBEDDING, "audio", (-1, 16))
    assert card.verification is not None
    assert (card.verification.inputs, card.verification.max_difference < 1e-5) == (2, True)


@pytest.mark.parametrize("name", MAKERS)
def test_rows_of_a_batch_equal_single_rows(name: str, pulled: Callable[[str], Pulled]) -> None:
    found = pulled(name)
    task, runtime = task_for(found.card, found.files), NetworkRuntime(load_network(found.card, found.files), "cpu")
    instances: list[Instance] = [SPEECH, noise(0.5, 1), noise(1.7, 2), noise(0.03, 3)]
    items = task.preprocess(instances, ["instances[0]"] * len(instances))
    good = [item for item in items if isinstance(item, Item)]
    assert len(good) == len(instances), items
    together = task.split(runtime.run(task.collate(good)[0]), good)
    for item, row in zip(good, together, strict=True):
        alone = task.split(runtime.run(task.collate([item])[0]), [item])[0]
        np.testing.assert_allclose(row["embedding"], alone["embedding"], atol=1e-5)
    answered = task.postprocess(together[0], good[0], Options())
    assert isinstance(answered, Embedding)


def test_network_with_a_decoder_keeps_its_encoder_alone(pulled: Callable[[str], Pulled], tmp_path: Path) -> None:
    found = pulled("whisper")
    with safe_open(found.files.weights, "pt") as stored:
        assert not [name for name in stored.keys() if "decoder" in name]  # noqa: SIM118  # no dictionary
    network = transformers.WhisperForConditionalGeneration.from_pretrained(tiny_sounds.whisper(tmp_path))
    encoder = network.model.encoder
    assert found.card.parameters == sum(parameter.numel() for parameter in encoder.parameters())
    with torch.inference_mode():
        features = torch.randn(1, 16, 200)
        mean = encoder(features).last_hidden_state.mean(dim=1)
        ours = load_network(found.card, found.files)(input_features=features)["embedding"]
    torch.testing.assert_close(ours, mean)


def test_adapter_behind_the_frames_is_refused(tmp_path: Path) -> None:
    folder = tiny_sounds.hubert_encoder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "add_adapter": True}))
    with pytest.raises(NotDerivable, match="add_adapter"):
        pull_reference(parse_reference(f"local:{folder}"), tmp_path / "home")
