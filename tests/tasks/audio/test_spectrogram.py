"""Sounds in any encoding become the windows on which the voice network was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.recipes import SpectrogramRecipe
from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.tasks.audio.spectrogram import MelSpectrogram, SpectrogramInput, mel_filters
from service.tasks.composed import SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.types import AudioInstance, Embedding, Item, Options, SamplesInstance, TensorInstance, TextInstance
from tests.support.tasks.sounds import at_rate, encoded, speech

CARD = Catalog.from_package().get("speaker_lstm")
PATH = "instances[0]"
STAMPS = Path("/usr/share/tuxpaint/stamps")


@pytest.fixture(scope="module")
def task() -> SequenceTask:
    return SequenceTask(SpectrogramInput, EmbeddingAnswers, CARD)


@pytest.fixture(scope="module")
def spectrogram() -> MelSpectrogram:
    assert isinstance(CARD.recipe, SpectrogramRecipe)
    return MelSpectrogram(CARD.recipe)


def one(task: SequenceTask, instance: Any) -> Any:
    (outcome,) = task.preprocess([instance], [PATH])
    return outcome


def refusal(task: SequenceTask, instance: Any) -> str:
    outcome = one(task, instance)
    assert isinstance(outcome, InvalidInput), outcome
    return outcome.message


def noise(samples: int, seed: int = 0, amplitude: float = 0.1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_normal(samples) * amplitude).astype(np.float32)


# ── as in training ────────────────────────────────────────────────────────────────────────────────────────────────


def test_mel_filters_are_those_of_slaney() -> None:
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(201, 40, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(16_000, 400, 40), theirs.T, atol=1e-6)


def test_spectrogram_of_speech_equals_that_of_another_implementation(
    spectrogram: MelSpectrogram, examples: Path
) -> None:
    from transformers.audio_utils import mel_filter_bank, window_function
    from transformers.audio_utils import spectrogram as theirs

    samples = speech(examples)
    filters = mel_filter_bank(201, 40, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    expected = theirs(
        samples, window_function(400), 400, 160, power=2.0, center=True, pad_mode="constant", mel_filters=filters
    )
    ours = spectrogram.mel(samples)
    assert ours.shape == (1 + len(samples) // 160, 40)
    # The other implementation clips at 1e-10, and silence is below.
    np.testing.assert_allclose(np.maximum(ours, 1e-10), expected.T, rtol=2e-3, atol=1e-6)


def published_slices(samples: int) -> list[int]:
    """The first frames of windows, as Resemblyzer's `compute_partial_slices` chooses them at 1.3 a second."""
    frames = int(np.ceil((samples + 1) / 160))
    step = int(np.round((16_000 / 1.3) / 160))
    starts = list(range(0, max(1, frames - 160 + step + 1), step))
    coverage = (samples - starts[-1] * 160) / (160 * 160)
    return starts[:-1] if coverage < 0.75 and len(starts) > 1 else starts


@pytest.mark.parametrize("samples", [1, 159, 160, 25_599, 25_600, 25_601, 31_839, 31_840, 38_000, 100_000, 960_000])
def test_windows_begin_where_the_published_ones_begin(spectrogram: MelSpectrogram, samples: int) -> None:
    sound = np.sign(noise(samples)) * np.float32(0.5)
    starts = published_slices(samples)
    found = spectrogram.windows(sound)
    assert found.shape == (len(starts), 160, 40)
    assert len(starts) <= CARD.batching.max_length  # type: ignore[operator]
    padded = np.pad(sound, (0, max(0, (starts[-1] + 160) * 160 - samples)))
    mel = spectrogram.mel(padded)
    for window, start in zip(found, starts, strict=True):
        np.testing.assert_array_equal(window, mel[start : start + 160])


def test_quiet_sound_is_amplified_and_a_loud_one_is_not(spectrogram: MelSpectrogram, examples: Path) -> None:
    samples = speech(examples)
    loud, quiet, quieter = (spectrogram.windows(samples * times) for times in (1.0, 0.01, 0.001))
    np.testing.assert_allclose(quiet, quieter, rtol=1e-3, atol=1e-9)
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    assert level > 10 ** (-30 / 20), "it is louder than what quiet ones are raised to"
    np.testing.assert_allclose(quiet, loud * (10 ** (-30 / 20) / level) ** 2, rtol=1e-3, atol=1e-9)


def test_silence_stays_silence(task: SequenceTask) -> None:
    item = one(task, SamplesInstance(np.zeros(16_000, np.float32), 16_000))
    assert not item.tensors["windows"].any()


# ── encodings of sounds ──────────────────────────────────────────────────────────────────────────────────────────


def embed(real: Any, *instances: Any) -> list[Any]:
    items = real.task.preprocess(instances, [PATH] * len(instances))
    assert all(isinstance(item, Item) for item in items), items
    rows = real.task.split(real.runtime.run(real.task.collate(items)[0]), items)
    answers = [real.task.postprocess(row, item, Options()) for row, item in zip(rows, items, strict=True)]
    assert all(isinstance(answer, Embedding) for answer in answers)
    return [answer.values for answer in answers]


@pytest.mark.weights
def test_voice_vector_does_not_depend_on_rate_and_format(served: Callable[[str], Any], examples: Path) -> None:
    samples = speech(examples)
    stereo = np.stack([samples, samples], axis=1)
    plain, *others = embed(
        served("speaker_lstm"),
        SamplesInstance(samples, 16_000),
        AudioInstance((examples / "speech.flac").read_bytes()),
        AudioInstance(encoded(at_rate(samples, 44_100), 44_100, "WAV", "FLOAT")),
        AudioInstance(encoded(stereo, 16_000, "WAV")),
        AudioInstance(encoded(samples, 16_000, "OGG")),
    )
    assert np.linalg.norm(plain) == pytest.approx(1, abs=1e-5)
    assert min(float(plain @ other) for other in others) > 0.97


@pytest.mark.weights
def test_voice_vector_is_nearer_to_itself_than_to_noise(served: Callable[[str], Any], examples: Path) -> None:
    samples = speech(examples)
    first, second, hiss = embed(
        served("speaker_lstm"),
        SamplesInstance(samples[: len(samples) // 2], 16_000),
        SamplesInstance(samples[len(samples) // 2 :], 16_000),
        SamplesInstance(noise(30_000), 16_000),
    )
    assert float(first @ second) > 0.75 > 0.6 > float(first @ hiss)


@pytest.mark.weights
@pytest.mark.component
@pytest.mark.skipif(not STAMPS.is_dir(), reason="tuxpaint-stamps-default is not installed")
def test_nearest_spoken_word_has_the_same_voice(served: Callable[[str], Any]) -> None:
    words, voices = [], []
    for language in ("be", "bg", "ca", "el", "es", "fr", "ro", "ru"):
        for path in sorted(STAMPS.rglob(f"*_desc_{language}.ogg"))[::29][:8]:
            words.append(AudioInstance(path.read_bytes()))
            voices.append(language)
    found = np.stack([embed(served("speaker_lstm"), word)[0] for word in words])
    likeness = found @ found.T
    np.fill_diagonal(likeness, -1.0)
    right = np.array(voices)[likeness.argmax(axis=1)] == np.array(voices)
    assert right.mean() >= 0.95


# ── invalid sounds ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (AudioInstance(b""), "is empty; expected a WAV, FLAC or OGG file"),
        (AudioInstance(b"0123456789"), "expected a WAV, FLAC or OGG file, got something else or a damaged one"),
        (SamplesInstance(np.zeros(0, np.float32), 16_000), "has no samples"),
        (SamplesInstance(np.zeros(10, np.float32), 0), "sample_rate_hertz: expected 1 to 192,000, got 0"),
        (SamplesInstance(np.array([0.0, np.nan], np.float32), 16_000), "expected finite samples"),
        (SamplesInstance(np.array([0.0, np.inf], np.float32), 16_000), "expected finite samples"),
        (SamplesInstance(np.zeros(61 * 8000, np.float32), 8000), "expected at most 60 seconds of sound, got 61"),
        (TextInstance(b"hello"), "expected audio or tensors for model 'speaker_lstm', got text"),
    ],
)
def test_input_that_is_no_sound_is_refused(task: SequenceTask, instance: Any, says: str) -> None:
    assert says in refusal(task, instance)


def test_bad_sound_fails_alone(task: SequenceTask) -> None:
    good = SamplesInstance(noise(1000), 16_000)
    outcomes = task.preprocess([good, AudioInstance(b"x"), good], ["a", "b", "c"])
    assert [type(outcome) for outcome in outcomes] == [Item, InvalidInput, Item]


def test_sounds_of_different_lengths_share_a_masked_batch(task: SequenceTask) -> None:
    items = [one(task, SamplesInstance(noise(n), 16_000)) for n in (100, 100_000)]
    batch, padding = task.collate(items)
    longest = items[1].length
    assert batch["windows"].shape == (2, longest, 160, 40)
    assert batch["mask"].tolist() == [[1] + [0] * (longest - 1), [1] * longest]
    assert not batch["windows"][0, 1:].any()
    assert padding == pytest.approx((longest - 1) / (2 * longest))


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ([1, 1], "expected 3 elements as windows has, got 2"),
        ([0, 0, 0], "at least one 1"),
        ([1, 2, 1], "zeros and ones"),
    ],
)
def test_mask_that_does_not_fit_is_refused(task: SequenceTask, mask: list[int], says: str) -> None:
    tensors = {"windows": np.zeros((3, 160, 40), np.float32), "mask": np.array(mask, np.int64)}
    with pytest.raises(InvalidInput, match=says):
        task.row(TensorInstance(tensors), "t")
