"""Sounds become the frames that Kaldi computes, and what is no sound is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.recipes import FilterBankRecipe
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput
from service.tasks.audio.filter_bank import FULL_SCALE, FilterBank, FilterBankInput
from service.tasks.classification import LabelAnswers
from service.tasks.composed import SequenceTask
from service.types import AudioInstance, Item, SamplesInstance, TensorInstance
from tests.support.tasks.sounds import at_rate, encoded, speech

CARD = Catalog.from_package().get("speech_music")
PATH = "instances[0]"


@pytest.fixture(scope="module")
def task() -> SequenceTask:
    return SequenceTask(FilterBankInput, LabelAnswers, CARD, CARD.class_names)


def one(task: SequenceTask, instance: Any) -> Any:
    (outcome,) = task.preprocess([instance], [PATH])
    return outcome


def test_frames_of_speech_equal_those_of_another_implementation(examples: Path) -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    assert isinstance(CARD.recipe, FilterBankRecipe)
    samples = speech(examples)
    filters = mel_filter_bank(
        257, 80, 20.0, 8000.0, 16_000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    taper = window_function(400, "povey", periodic=False)
    expected = spectrogram(
        samples * FULL_SCALE,
        taper,
        *(400, 160, 512),
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    found = FilterBank(CARD.recipe).features(samples)
    assert found.shape == (1 + (len(samples) - 400) // 160, 80)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_any_rate_and_number_of_channels_is_read(task: SequenceTask, examples: Path) -> None:
    samples = speech(examples)
    plain = one(task, SamplesInstance(samples, 16_000)).tensors["features"]
    stereo = encoded(np.stack([samples, samples], axis=1), 16_000, "WAV", "FLOAT")
    np.testing.assert_allclose(one(task, AudioInstance(stereo)).tensors["features"], plain, atol=1e-4)
    faster = one(task, AudioInstance(encoded(at_rate(samples, 44_100), 44_100, "FLAC"))).tensors["features"]
    assert abs(len(faster) - len(plain)) <= 1


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (AudioInstance(b""), "is empty; expected a WAV, FLAC or OGG file"),
        (AudioInstance(b"RIFF 1234"), "expected a WAV, FLAC or OGG file"),
        (SamplesInstance(np.zeros(399, np.float32), 16_000), "expected at least 0.025 seconds of sound, got 0.02494"),
        (SamplesInstance(np.array([np.nan] * 400, np.float32), 16_000), "expected finite samples"),
        (SamplesInstance(np.zeros(601 * 100, np.float32), 100), "expected at most 600 seconds of sound, got 601"),
    ],
)
def test_input_that_is_no_sound_is_refused(task: SequenceTask, instance: Any, says: str) -> None:
    outcome = one(task, instance)
    assert isinstance(outcome, InvalidInput)
    assert says in outcome.message


def test_frames_of_nan_are_refused(task: SequenceTask) -> None:
    tensors = {"features": np.full((3, 80), np.nan, np.float32), "mask": np.ones(3, np.int64)}
    with pytest.raises(InvalidInput, match="expected finite numbers, got NaN or infinity"):
        task.row(TensorInstance(tensors), "t")


def test_tones_of_a_golden_case_are_made_at_the_rate_of_the_model(task: SequenceTask) -> None:
    given = GoldenInput.model_validate({"tones": {"chords": [[69], []], "seconds": 0.5}})
    instance = task.golden_instance(given)
    assert isinstance(instance, SamplesInstance)
    assert instance.sample_rate == 16_000
    loudest = np.abs(np.fft.rfft(instance.samples[:8000])).argmax() * 2  # hertz
    assert (loudest, instance.samples[8000:].any()) == (440, False)
    assert isinstance(one(task, instance), Item)
