"""Speech is found at its place in any recording."""

import itertools
import struct
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.cards.recipes import AudioRecipe
from model_zoo.catalog import Catalog
from service.datasets.readers.media.audio import AudioDecoder, AudioTooLong
from service.errors import InvalidInput
from service.tasks.audio.voice_activity_detection import VoiceActivityDetection, find_speech
from service.types import (
    AudioInstance,
    ImageInstance,
    Item,
    Options,
    SamplesInstance,
    Segments,
    TensorInstance,
    TextInstance,
)
from tests.support.tasks.sounds import at_rate, encoded, speech

CARD = Catalog.from_package().get("silero_vad")
RECIPE = CARD.recipe
assert isinstance(RECIPE, AudioRecipe)
FRAME_S = 0.032
PATH = "instances[0]"


@pytest.fixture
def task() -> VoiceActivityDetection:
    return VoiceActivityDetection(CARD)


def samples_of(task: VoiceActivityDetection, instance: Any) -> np.ndarray[Any, Any]:
    given_instance = AudioInstance(instance) if isinstance(instance, bytes) else instance
    (item,) = task.preprocess([given_instance], [PATH])
    assert isinstance(item, Item), item
    samples = item.tensors["samples"]
    assert (samples.dtype, samples.shape) == (np.float32, (item.length,))
    return samples


def refusal(task: VoiceActivityDetection, instance: Any) -> str:
    given_instance = AudioInstance(instance) if isinstance(instance, bytes) else instance
    (error,) = task.preprocess([given_instance], [PATH])
    assert isinstance(error, InvalidInput), error
    assert error.field.startswith(PATH)
    return error.message


# ── any recording ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "subtype", "off"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "ULAW", 0.05),
        ("WAVEX", "PCM_16", 1e-4),
        ("RF64", "PCM_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_recording_at_the_models_rate_is_unchanged(
    task: VoiceActivityDetection, examples: Path, kind: str, subtype: str, off: float
) -> None:
    samples = speech(examples)
    np.testing.assert_allclose(samples_of(task, encoded(samples, 16_000, kind, subtype)), samples, atol=off)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_file_is_read(task: VoiceActivityDetection, examples: Path, subtype: str) -> None:
    samples = speech(examples)
    read = samples_of(task, encoded(samples, 16_000, "OGG", subtype))
    assert len(read) == len(samples)
    assert np.corrcoef(read, samples)[0, 1] > 0.95


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(task: VoiceActivityDetection, channels: int) -> None:
    rng = np.random.default_rng(0)
    sound = rng.uniform(-0.5, 0.5, (100_000, channels)).astype(np.float32)  # more than one block
    read = samples_of(task, encoded(sound, 16_000, "WAV", "FLOAT"))
    np.testing.assert_allclose(read, sound.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_is_resampled_to_that_of_the_model(task: VoiceActivityDetection, rate: int) -> None:
    seconds = np.arange(rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    read = samples_of(task, encoded(tone, rate, "WAV", "FLOAT"))
    assert abs(len(read) - 16_000) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(read)) / 16_000)
    np.testing.assert_allclose(read[500:-500], expected[500:-500], atol=2e-3)


def test_raw_samples_are_unchanged(task: VoiceActivityDetection) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    np.testing.assert_array_equal(samples_of(task, SamplesInstance(samples, 16_000)), samples)
    assert len(samples_of(task, SamplesInstance(samples, 8000))) == 2000


@pytest.mark.parametrize(("value", "named"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("channels", [1, 2])
def test_invalid_samples_are_refused_with_their_time(
    task: VoiceActivityDetection, value: float, named: str, channels: int
) -> None:
    """A recurrent network would compute NaN for everything that follows."""
    samples = np.zeros((48_000, channels), np.float32)
    samples[24_000, -1] = value
    said = f"{PATH}: expected finite samples, got {named} at 1.500 seconds"
    for subtype in ("FLOAT", "DOUBLE"):
        assert refusal(task, encoded(samples, 16_000, "WAV", subtype)) == said
    assert refusal(task, SamplesInstance(samples[:, -1], 16_000)) == said
    with pytest.raises(InvalidInput, match="samples: expected finite samples"):
        task.row(TensorInstance({task.card.signature.inputs[0].name: samples[:, -1]}), PATH)


def test_sample_whose_power_overflows_is_refused(task: VoiceActivityDetection) -> None:
    samples = np.array([0, 1e30], np.float32)
    assert refusal(task, SamplesInstance(samples, 16_000)).endswith(
        "expected samples between -1 and 1, got 1e+30 at 0.000 seconds"
    )
    assert refusal(task, encoded(np.array([1e300, 0]), 16_000, "WAV", "DOUBLE")).endswith("infinity at 0.000 seconds")


# ── invalid recordings ───────────────────────────────────────────────────────────────────────────────────────────


def test_empty_samples_are_refused(task: VoiceActivityDetection) -> None:
    silence = np.zeros(0, np.float32)
    assert refusal(task, b"") == f"{PATH}: is empty; expected a WAV, FLAC or OGG file"
    assert refusal(task, encoded(silence, 16_000, "WAV")) == f"{PATH}: has no samples; expected at least one"
    assert refusal(task, SamplesInstance(silence, 16_000)) == f"{PATH}: has no samples; expected at least one"


@pytest.mark.parametrize(
    ("kind", "named"), [("MP3", "MP3"), ("AIFF", "AIFF"), ("AU", "AU"), ("CAF", "CAF"), ("W64", "W64")]
)
def test_unsupported_format_is_refused_by_name(task: VoiceActivityDetection, kind: str, named: str) -> None:
    data = encoded(np.zeros(16_000, np.float32), 16_000, kind)
    assert refusal(task, data) == f"{PATH}: expected a WAV, FLAC or OGG file, got {named}"


@pytest.mark.parametrize(
    "data", [b"\x00" * 100, b"hello", b"RIFF", b"fLaC", b"OggS" + b"\x00" * 50, b"\xff\xfb\x90" * 9]
)
def test_input_that_is_no_sound_is_refused(task: VoiceActivityDetection, data: bytes) -> None:
    assert "WAV, FLAC or OGG" in refusal(task, data)


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_file_is_refused_or_read_as_far_as_possible(
    task: VoiceActivityDetection, examples: Path, kind: str, share: float
) -> None:
    samples = speech(examples)
    data = encoded(samples, 16_000, kind)
    (outcome,) = task.preprocess([AudioInstance(data[: int(len(data) * share)])], [PATH])
    if isinstance(outcome, Item):
        assert 0 < outcome.length < len(samples)
    else:
        assert isinstance(outcome, InvalidInput)


def test_truncated_wav_is_read_as_far_as_possible(task: VoiceActivityDetection, examples: Path) -> None:
    samples = speech(examples)
    data = encoded(samples, 16_000, "WAV", "PCM_16")
    np.testing.assert_allclose(samples_of(task, data[: 44 + 2000]), samples[:1000], atol=1e-4)


def test_wav_header_with_a_too_large_length_is_accepted(task: VoiceActivityDetection) -> None:
    data = bytearray(encoded(np.zeros(1000, np.float32), 16_000, "WAV", "PCM_16"))
    struct.pack_into("<I", data, 40, 0xFFFFFFF0)
    assert len(samples_of(task, bytes(data))) == 1000


def test_too_long_recording_is_refused_before_it_is_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.model_copy(update={"max_seconds": 2.0})  # type: ignore[union-attr]
    short = VoiceActivityDetection(CARD.model_copy(update={"recipe": recipe}))
    for rate in (8000, 16_000, 44_100):
        assert len(samples_of(short, encoded(np.zeros(2 * rate, np.float32), rate, "FLAC"))) == 32_000
        over = encoded(np.zeros(2 * rate + 1, np.float32), rate, "FLAC")
        assert "expected at most 2 seconds of sound" in refusal(short, over)
        assert "expected at most 2 seconds" in refusal(short, SamplesInstance(np.zeros(2 * rate + 1, np.float32), rate))
    bomb = encoded(np.zeros(60 * 16_000, np.float32), 16_000, "FLAC")
    assert len(bomb) < 20_000
    assert refusal(short, bomb).endswith("expected at most 2 seconds of sound, got 60")
    with AudioDecoder(bomb) as sound:
        blocks = sound.mono(2.0)
        assert sum(map(len, islice(blocks, 1))) == 32_001, "one over the limit is enough to know"
        with pytest.raises(AudioTooLong):
            next(blocks)


def test_too_high_rate_is_refused(task: VoiceActivityDetection) -> None:
    data = encoded(np.zeros(1000, np.float32), 192_001, "WAV")
    assert refusal(task, data) == f"{PATH}: expected at most 192,000 samples a second, got 192,001"


@pytest.mark.parametrize("rate", [0, -1, -16_000])
def test_invalid_rate_is_refused(task: VoiceActivityDetection, rate: int) -> None:
    message = refusal(task, SamplesInstance(np.zeros(10, np.float32), rate))
    assert message == f"{PATH}.sample_rate_hertz: expected 1 to 192,000, got {rate:,}"


@pytest.mark.parametrize("rate", [1, 7, 15_999, 384_000, 10**8, 2**31 - 1])
@pytest.mark.parametrize("count", [1, 5, 500])
def test_any_rate_gives_samples_or_invalid_input(task: VoiceActivityDetection, rate: int, count: int) -> None:
    (outcome,) = task.preprocess([SamplesInstance(np.zeros(count, np.float32), rate)], [PATH])
    if isinstance(outcome, Item):
        assert 0 < outcome.length <= 9_600_000
    else:
        assert isinstance(outcome, InvalidInput)


@pytest.mark.parametrize(("instance", "what"), [(TextInstance(b"hi"), "text"), (ImageInstance(b"hi"), "image")])
def test_other_kind_of_instance_is_refused_by_name(task: VoiceActivityDetection, instance: Any, what: str) -> None:
    assert refusal(task, instance).endswith(f"expected audio or tensors for model 'silero_vad', got {what}")


def test_bad_recording_fails_alone(task: VoiceActivityDetection) -> None:
    good = SamplesInstance(np.ones(600, np.float32), 16_000)
    outcomes = task.preprocess([good, AudioInstance(b"bad"), good], ["a", "b", "c"])
    assert [type(o) for o in outcomes] == [Item, InvalidInput, Item]
    assert outcomes[1].field == "b"  # type: ignore[union-attr]


# ── together ──────────────────────────────────────────────────────────────────────────────────────────────────────


def items(task: VoiceActivityDetection, *lengths: int) -> list[Item]:
    made = [task.preprocess([SamplesInstance(np.full(n, n, np.float32), 16_000)], [PATH])[0] for n in lengths]
    assert all(isinstance(item, Item) for item in made)
    return made  # type: ignore[return-value]


def test_recordings_of_different_lengths_are_padded_with_silence(task: VoiceActivityDetection) -> None:
    given_items = items(task, 1, 512, 513, 2000)
    batch, padding = task.collate(given_items)
    assert batch["samples"].shape == (4, 2048), "whole frames of the longest"
    for row, item in zip(batch["samples"], given_items, strict=True):
        assert (row[: item.length] == item.length).all()
        assert not row[item.length :].any()
    assert padding == pytest.approx(1 - (1 + 1 + 2 + 4) / 16)


def test_each_recording_keeps_its_own_frames(task: VoiceActivityDetection) -> None:
    given_items = items(task, 1, 512, 513, 2000)
    probabilities = np.random.default_rng(0).uniform(size=(4, 4)).astype(np.float32)
    rows = task.split({"probabilities": probabilities}, given_items)
    for i, count in enumerate([1, 1, 2, 4]):
        np.testing.assert_array_equal(rows[i]["probabilities"], probabilities[i, :count])
        assert rows[i]["frames"].tolist() == [count]
        assert rows[i]["frames"].dtype == np.int64


def test_outputs_with_too_few_rows_are_not_split(task: VoiceActivityDetection) -> None:
    with pytest.raises(RuntimeError, match="1 rows for 2 items"):
        task.split({"probabilities": np.zeros((1, 4), np.float32)}, items(task, 512, 512))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(0, np.float32), "instances[0].samples: is empty"),
        (np.zeros(9_600_001, np.float32), "expected at most 9600000 elements, got 9600001"),
        (np.zeros((2, 512), np.float32), "expected shape [-1] a row, got [2, 512]"),
        (np.zeros(512, np.int16), "expected FP32, got int16"),
    ],
)
def test_wrong_tensors_are_refused_with_the_expected_form(task: VoiceActivityDetection, array: Any, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        task.row(TensorInstance({"samples": array}), PATH)
    assert says in caught.value.message


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────────────────────

BARE = RECIPE.model_copy(update={"pad_seconds": 0.0})  # type: ignore[union-attr]


def find(probabilities: Any, threshold: float = 0.5, recipe: Any = BARE, duration_s: float | None = None) -> list[Any]:
    """Segments in frames."""
    values = np.asarray(probabilities, np.float32)
    length = len(values) * FRAME_S if duration_s is None else duration_s
    found = find_speech(values, FRAME_S, length, threshold, recipe)
    return [(round(s.start_s / FRAME_S, 6), round(s.end_s / FRAME_S, 6)) for s in found]


def test_silence_has_no_speech() -> None:
    assert find([0.0] * 100) == []
    assert find([]) == []


def test_speech_begins_at_the_threshold() -> None:
    assert find([0.0] * 5 + [0.5] * 10 + [0.0] * 10) == [(5, 15)]
    assert find([0.0] * 5 + [0.499] * 10 + [0.0] * 10) == []


def test_speech_continues_until_well_below_the_threshold() -> None:
    assert find([0.9] * 10 + [0.36] * 50) == [(0, 60)]
    assert find([0.9] * 10 + [0.34] * 50) == [(0, 10)]


def test_speech_up_to_the_end_ends_with_the_recording() -> None:
    (segment,) = find_speech(np.full(10, 0.9, np.float32), FRAME_S, 0.3001, 0.5, BARE)
    assert (segment.start_s, segment.end_s) == (0.0, 0.3001)


def test_short_silence_does_not_end_a_segment() -> None:
    """min_silence_seconds is 0.1: four frames of 32 ms."""
    assert find([0.9] * 10 + [0.0] * 3 + [0.9] * 10 + [0.0] * 9) == [(0, 23)]
    assert find([0.9] * 10 + [0.0] * 4 + [0.9] * 10 + [0.0] * 9) == [(0, 10), (14, 24)]


def test_dip_that_recovers_starts_a_new_silence() -> None:
    assert find([0.9] * 10 + [0.0] * 3 + [0.6] + [0.0] * 3 + [0.9] * 10) == [(0, 27)]


def test_too_short_speech_is_dropped() -> None:
    """min_speech_seconds is 0.25: eight frames are 0.256."""
    assert find([0.9] * 7 + [0.0] * 20) == []
    assert find([0.9] * 8 + [0.0] * 20) == [(0, 8)]


def test_segments_are_padded_within_the_recording() -> None:
    recipe = BARE.model_copy(update={"pad_seconds": 0.032})
    assert find([0.0] * 5 + [0.9] * 10 + [0.0] * 10, recipe=recipe) == [(4, 16)]
    assert find([0.9] * 10, recipe=recipe) == [(0, 10)]


def test_overlapping_neighbours_share_the_gap() -> None:
    recipe = BARE.model_copy(update={"pad_seconds": 1.0})
    first, second = find([0.0] * 2 + [0.9] * 10 + [0.0] * 6 + [0.9] * 10 + [0.0] * 4, recipe=recipe)
    assert first == (0, 15)
    assert second == (15, 32)


def test_segment_score_is_the_mean_probability_of_its_frames() -> None:
    (segment,) = find_speech(
        np.array([0] * 5 + [0.6] * 5 + [1.0] * 5 + [0] * 10, np.float32), FRAME_S, 25 * FRAME_S, 0.5, BARE
    )
    assert segment.score == pytest.approx(0.8)


def test_nan_counts_as_silence() -> None:
    assert find([np.nan] * 50) == []
    assert find([0.9] * 10 + [np.nan] * 40) == [(0, 10)]
    (segment,) = find_speech(np.array([0.9] * 10 + [np.nan] * 9, np.float32), FRAME_S, 19 * FRAME_S, 0.5, BARE)
    assert segment.score == pytest.approx(0.9)


@pytest.mark.parametrize("threshold", [0.02, 0.05, 0.1, 0.15])
def test_low_threshold_does_not_find_endless_speech(threshold: float) -> None:
    """Silero's rule: the threshold that ends a segment is never less than 0.01."""
    assert find([0.0] * 5 + [0.9] * 10 + [0.001] * 100, threshold) == [(5, 15)]


def test_threshold_of_0_and_1_are_inclusive() -> None:
    assert find([0.0] * 20, threshold=0.0) == [(0, 20)]
    assert find([0.999] * 20, threshold=1.0) == []
    assert find([1.0] * 20, threshold=1.0) == [(0, 20)]


PROBABILITIES = st.lists(st.one_of(st.floats(0, 1, width=32), st.just(float("nan"))), max_size=120)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PROBABILITIES, st.floats(0, 1), st.floats(0, 0.5), st.integers(0, 511))
def test_segments_are_ordered_disjoint_and_inside_the_recording(
    probabilities: list[float], threshold: float, pad_s: float, missing: int
) -> None:
    recipe = BARE.model_copy(update={"pad_seconds": pad_s})
    duration_s = max(0.0, len(probabilities) * FRAME_S - missing / 16_000)
    found = find_speech(np.array(probabilities, np.float32), FRAME_S, duration_s, threshold, recipe)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(found))
    for segment in found:
        assert 0 <= segment.start_s < segment.end_s <= duration_s + 1e-9
        assert segment.end_s - segment.start_s >= recipe.min_speech_seconds - 1e-9


# ── the real network ──────────────────────────────────────────────────────────────────────────────────────────────


def run(real: Any, instance: Any, **options: Any) -> Segments:
    (item,) = real.task.preprocess([instance], [PATH])
    assert isinstance(item, Item), item
    (row,) = real.task.split(real.runtime.run(real.task.collate([item])[0]), [item])
    answer = real.task.postprocess(row, item, Options(**options))
    assert isinstance(answer, Segments)
    return answer


@pytest.mark.weights
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 2)])
def test_speech_is_found_at_the_same_place_at_any_rate(served: Any, examples: Path, rate: int, channels: int) -> None:
    real, samples = served("silero_vad"), speech(examples)
    expected = run(real, SamplesInstance(samples, 16_000))
    assert expected.segments
    other = np.repeat(at_rate(samples, rate)[:, None], channels, axis=1)
    found = run(real, AudioInstance(encoded(other, rate, "WAV", "PCM_16")))
    assert len(found.segments) == len(expected.segments)
    assert abs(found.duration_s - expected.duration_s) < 0.001
    for a, b in zip(found.segments, expected.segments, strict=True):
        assert abs(a.start_s - b.start_s) < 0.1
        assert abs(a.end_s - b.end_s) < 0.1


@pytest.mark.weights
def test_speech_is_found_in_speech_and_not_in_noise_or_silence(served: Any, examples: Path) -> None:
    real = served("silero_vad")
    assert run(real, AudioInstance((examples / "speech.flac").read_bytes())).segments
    noise = np.random.default_rng(5).standard_normal(48_000).astype(np.float32) * 0.05
    assert run(real, SamplesInstance(noise, 16_000)).segments == ()
    assert run(real, SamplesInstance(np.zeros(48_000, np.float32), 16_000)).segments == ()
