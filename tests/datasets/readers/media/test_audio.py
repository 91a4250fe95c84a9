"""A sound that upload accepts is accepted by training and serving, and refused by all of them alike."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.media.decode_check import check_audio
from service.errors import InvalidInput
from service.tasks.audio.audio_input import decode_audio
from tests.support.paths import DATASET_FILES, REPOSITORY

DATA = DATASET_FILES
PIXELS = 50_000_000
SPEECH = REPOSITORY / "examples" / "speech.flac"


class InMemory:
    """A path whose content is in memory."""

    def __init__(self, data: bytes) -> None:
        self.stat = lambda: type("S", (), {"st_size": len(data)})()
        self.read_bytes = lambda: data


def refused(data: bytes) -> bool:
    """Whether a sound is refused; upload and the server must agree on it."""
    uploaded = bool(check_audio(InMemory(data), DatasetLimits())[1])  # type: ignore[arg-type]
    try:
        served = not len(decode_audio(data, 600.0, "p")[0])
    except InvalidInput:
        served = True
    assert served == uploaded
    return uploaded


def speech() -> np.ndarray:
    return soundfile.read(SPEECH, dtype="float32")[0]


def wav(samples: np.ndarray, subtype: str = "PCM_16", form: str = "WAV", rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def heard(data: bytes) -> np.ndarray:
    assert not refused(data)
    return decode_audio(data, 600.0, "p")[0]


def test_wav_that_cannot_seek_is_decoded_whole() -> None:
    samples, rate = decode_audio((DATA / "wav_GSM610.wav").read_bytes(), 600.0, "p")
    assert (len(samples), rate) == (53_120, 8000)
    assert not refused((DATA / "wav_GSM610.wav").read_bytes())


@pytest.mark.parametrize(
    "subtype",
    [
        "PCM_U8",
        "PCM_24",
        "PCM_32",
        "FLOAT",
        "DOUBLE",
        "ULAW",
        "ALAW",
        "IMA_ADPCM",
        "MS_ADPCM",
        "GSM610",
        "G721_32",
        "NMS_ADPCM_32",
    ],
)
def test_sounds_in_every_sample_format_are_decoded(subtype: str) -> None:
    samples = speech()[:16_000]
    found = heard(wav(samples, subtype))
    assert 16_000 <= len(found) <= 18_000, "whole blocks"
    assert np.corrcoef(found[:16_000], samples)[0, 1] > 0.8


@pytest.mark.parametrize("form", ["WAVEX", "RF64"])
def test_wav_with_other_headers_is_decoded(form: str) -> None:
    assert len(heard(wav(speech(), "PCM_16", form))) == len(speech())


@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF, 36, 0x7FFFFFFF])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFF00, 0x80000000])
def test_wav_written_into_a_pipe_is_decoded_by_its_actual_length(size: int, whole: int) -> None:
    plain = wav(speech())
    data = bytearray(plain)
    struct.pack_into("<I", data, 4, whole)
    struct.pack_into("<I", data, 40, size)
    np.testing.assert_array_equal(heard(bytes(data)), heard(plain))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_wav_with_chunks_before_the_samples_is_decoded(size: int) -> None:
    plain = wav(speech())
    notes = b"LIST" + struct.pack("<I", 7) + b"INFOabc\x00" + b"bext" + struct.pack("<I", 20) + bytes(20)
    data = bytearray(plain[:36] + notes + plain[36:])
    struct.pack_into("<I", data, 40 + len(notes), size)
    assert len(heard(bytes(data))) == len(speech())


@pytest.mark.parametrize("size", [0, 0xFFFFFFFFFFFFFFFF])
def test_rf64_written_into_a_pipe_is_decoded(size: int) -> None:
    data = bytearray(wav(speech(), "PCM_16", "RF64"))
    at = data.index(b"ds64")
    struct.pack_into("<QQQ", data, at + 8, size, size, size)
    assert abs(len(heard(bytes(data))) - len(speech())) <= 1


def test_wav_chunks_after_the_samples_are_ignored() -> None:
    plain = wav(speech())
    assert len(heard(plain + b"LIST" + struct.pack("<I", 4) + b"INFO")) == len(speech())


def test_wav_without_samples_is_refused() -> None:
    plain = wav(np.zeros(0, np.float32))
    assert refused(plain)
    assert refused(plain + b"LIST" + struct.pack("<I", 4) + b"INFO")


def test_flac_of_unknown_length_is_decoded_whole() -> None:
    data = bytearray(wav(speech(), "PCM_16", "FLAC"))
    data[21] &= 0xF0  # the number of samples, 36 bits: 0 means unknown
    data[22:26] = bytes(4)
    np.testing.assert_array_equal(heard(bytes(data)), heard(wav(speech())))


def test_truncated_flac_is_refused() -> None:
    data = wav(speech(), "PCM_16", "FLAC")
    for share in (0.3, 0.7, 0.95):
        assert refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_truncated_ogg_is_decoded_as_far_as_possible(subtype: str) -> None:
    data = wav(speech(), subtype, "OGG")
    assert len(heard(data)) == len(speech())
    assert 0 < len(heard(data[: len(data) * 2 // 3])) < len(speech())


@pytest.mark.parametrize("seconds", [601.0, 600.01, 600 + 1 / 8000, 900.0, 3599.5])
@pytest.mark.parametrize("form", ["FLAC", "WAV"])
def test_sound_slightly_too_long_is_refused_with_different_numbers(seconds: float, form: str) -> None:
    data = wav(np.zeros(round(seconds * 8000), np.float32), "PCM_16", form, 8000)
    with pytest.raises(InvalidInput) as caught:
        decode_audio(data, 600.0, "p")
    assert caught.value.problem == f"expected at most 600 seconds of sound, got {int(np.ceil(seconds)):,}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_upload_names_an_invalid_sample(tmp_path: Path, value: float) -> None:
    samples = speech().copy()
    samples[16_000] = value
    path = tmp_path / "a.wav"
    path.write_bytes(wav(samples, "FLOAT"))
    assert check_audio(path, DatasetLimits())[1].endswith("at 1.000 seconds")
    assert refused(path.read_bytes())


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_upload_and_server_agree_on_any_damaged_sound(data: st.DataObject) -> None:
    form, subtype = data.draw(
        st.sampled_from([("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "GSM610")])
    )
    whole = bytearray(wav(speech()[:4000], subtype, form))
    chance = random.Random(data.draw(st.integers(0, 1 << 20)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[chance.randrange(min(len(whole), 200))] = chance.randrange(256)
    refused(bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole))
