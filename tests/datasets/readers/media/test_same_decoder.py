"""A picture or sound that upload accepts is accepted by a job and by a served model, and refused by all of them alike."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.media.decode_check import check_audio, check_image
from service.errors import InvalidInput
from service.tasks.audio.audio_input import decode_audio
from service.tasks.image.image_input import decode_image
from tests.support.paths import DATASET_FILES, REPOSITORY

DATA = DATASET_FILES
PIXELS = 50_000_000
SPEECH = REPOSITORY / "examples" / "speech.flac"


def pixels(data: bytes, shorter: int = 0) -> np.ndarray:
    return np.asarray(decode_image(data, PIXELS, "p", shorter).image)


def refused(data: bytes, kind: str = "picture") -> bool:
    """Whether; the server, at every scale, and upload must agree on it."""
    path = Path("unused")

    class Here:
        stat = staticmethod(lambda: type("S", (), {"st_size": len(data)})())
        read_bytes = staticmethod(lambda: data)

    del path
    check = check_image if kind == "picture" else check_audio
    uploaded = bool(check(Here(), DatasetLimits())[1])  # type: ignore[arg-type]
    said = []
    for shorter in (0, 8, 64) if kind == "picture" else (0,):
        try:
            if kind == "picture":
                decode_image(data, PIXELS, "p", shorter)
            elif not len(decode_audio(data, 600.0, "p")[0]):
                raise InvalidInput("p", "has no samples")
            said.append(False)
        except InvalidInput:
            said.append(True)
    assert set(said) == {uploaded}
    return uploaded


def photo(size: tuple[int, int] = (97, 61)) -> Image.Image:
    """Nothing about it is even: each side shows another colour."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def near(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other.astype(int)).mean() < 3


# ── notes beside the pixels ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["exif_min_xres_as_ascii.jpg", "exif_min_ycbcr_ascii.jpg", "exif_xres_byte_o6.jpg"])
def test_broken_exif_entries_do_not_cost_the_pixels_nor_the_orientation(name: str) -> None:
    data = (DATA / name).read_bytes()
    assert not refused(data)
    assert decode_image(data, PIXELS, "p").size == (213, 320), "orientation 6: it stands upright"


def exif(*entries: bytes, order: str = "<") -> bytes:
    """A JPEG's note with such entries of 12 bytes."""
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    body = mark + struct.pack(f"{order}IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\x00\x00" + body


def with_note(jpeg: bytes, note: bytes, marker: int = 0xE1) -> bytes:
    return jpeg[:2] + bytes((0xFF, marker)) + (len(note) + 2).to_bytes(2) + note + jpeg[2:]


def entry(tag: int, kind: int, count: int, value: int, order: str = "<") -> bytes:
    packed = struct.pack(f"{order}HHI", tag, kind, count)
    return packed + (
        struct.pack(f"{order}HH", value, 0) if kind == 3 and value < 1 << 16 else struct.pack(f"{order}I", value)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_beside_any_damage(order: str, orientation: int) -> None:
    upright = encoded(photo(), "JPEG", quality=95)
    turned = entry(0x112, 3, 1, orientation, order)
    clean = with_note(upright, exif(turned, order=order))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(clean))))
    for bad in (
        entry(0x100, 7, 1 << 30, 1 << 29, order),  # longer than the file, before it in order
        entry(0x10F, 2, 9, 9999, order),
        entry(0x8769, 4, 1, 0xFFFFFFF0, order),
        entry(0x100, 77, 1, 1, order),
        entry(0x11A, 5, 1, 0xFFFF, order),
        entry(0x213, 2, 2, 0x4141, order),
    ):
        for entries in ((bad, turned), (turned, bad)):
            data = with_note(upright, exif(*entries, order=order))
            assert not refused(data)
            np.testing.assert_array_equal(pixels(data), expected)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_is_none_leaves_the_picture_as_it_is(orientation: int) -> None:
    upright = encoded(photo(), "JPEG")
    np.testing.assert_array_equal(pixels(with_note(upright, exif(entry(0x112, 3, 1, orientation)))), pixels(upright))


@pytest.mark.parametrize("marker", [*range(0xE1, 0xEE), 0xEF, 0xFE])
@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"x",
        b"Exif\x00\x00",
        b"MPF\x00MM\x00*\x00",
        b"ICC_PROFILE\x00\x09\x01junk",
        b"Photoshop 3.0\x00" + b"8BIM" * 99,
    ],
)
def test_no_note_of_a_jpeg_costs_its_pixels(marker: int, note: bytes) -> None:
    plain = encoded(photo(), "JPEG")
    data = with_note(plain, note, marker)
    assert not refused(data)
    np.testing.assert_array_equal(pixels(data), pixels(plain))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_an_exif_note_holds_a_whole_picture_is_answered(note: bytes, known: bool) -> None:
    plain = encoded(photo((40, 30)), "JPEG")
    data = with_note(plain, b"Exif\x00\x00" + (b"II*\x00\x08\x00\x00\x00" if known else b"") + note)
    assert not refused(data)
    assert sorted(decode_image(data, PIXELS, "p").size) == [30, 40]


def test_a_note_whose_entries_all_name_the_whole_of_it_takes_no_memory() -> None:
    """Read as the library reads it, 60 KB would become 300 MB, and several such notes gigabytes."""
    import tracemalloc

    entries = [entry(0x9000 + i, 7, 60_000, 8) for i in range(5000)]
    data = with_note(encoded(photo(), "JPEG"), exif(*entries))
    decode_image(data, PIXELS, "p")
    tracemalloc.start()
    decode_image(data, PIXELS, "p")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_orientation_in_xmp_alone_is_read() -> None:
    note = b'http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decode_image(with_note(encoded(photo(), "JPEG"), note), PIXELS, "p").size == (61, 97)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_orientation_of_other_formats_is_read(form: str) -> None:
    note = Image.Exif()
    note[0x112] = 6
    data = encoded(photo(), form, exif=note.tobytes(), **({"lossless": True} if form == "WEBP" else {}))
    assert decode_image(data, PIXELS, "p").size == (61, 97)


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

HOW: list[dict[str, object]] = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"subsampling": 0},
    {"quality": 20},
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("left", [0, 1])
def test_a_jpeg_without_its_end_mark_is_answered(how: dict[str, object], left: int) -> None:
    whole = encoded(photo(), "JPEG", **how)
    cut = whole[: len(whole) - 2 + left]
    assert not refused(cut)
    np.testing.assert_array_equal(pixels(cut), pixels(whole))


def test_a_jpeg_without_its_end_mark_before_rubbish_is_answered() -> None:
    whole = encoded(photo(), "JPEG")
    np.testing.assert_array_equal(pixels(whole[:-2] + bytes(100)), pixels(whole))


@pytest.mark.parametrize("how", HOW)
def test_a_jpeg_whose_last_pixels_are_missing_is_refused(how: dict[str, object]) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (61, 97, 3), np.uint8))
    for image in (photo(), noise):
        whole = encoded(image, "JPEG", **how)
        for missing in (12, 20, 60, 150, len(whole) // 3, len(whole) // 2):
            assert refused(whole[:-missing])


def chunk(name: bytes, body: bytes, right: bool = True) -> bytes:
    check = zlib.crc32(name + body) ^ (0 if right else 1)
    return len(body).to_bytes(4) + name + body + check.to_bytes(4)


@pytest.mark.parametrize(
    "name", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"pHYs", b"tIME", b"eXIf", b"cHRM", b"prVt", b"sRGB"]
)
@pytest.mark.parametrize("body", [b"", b"x", b"Comment\x00hello", b"a\x00\x00" + b"junk" * 20])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("late", [False, True])
def test_a_damaged_note_of_a_png_does_not_cost_its_pixels(name: bytes, body: bytes, right: bool, late: bool) -> None:
    plain = encoded(photo(), "PNG")
    at = plain.index(b"IEND") - 4 if late else 33
    data = plain[:at] + chunk(name, body, right) + plain[at:]
    assert not refused(data)
    np.testing.assert_array_equal(pixels(data), pixels(plain))


def test_a_png_note_that_unpacks_to_gigabytes_is_left_alone() -> None:
    plain = encoded(photo(), "PNG")
    body = b"Comment\x00\x00" + zlib.compress(bytes(80_000_000), 9)
    assert not refused(plain[:33] + chunk(b"zTXt", body) + plain[33:])


def test_a_png_whose_pixels_are_damaged_is_refused() -> None:
    plain = bytearray(encoded(photo(), "PNG"))
    plain[20] ^= 1  # the width, under a checksum
    assert refused(bytes(plain))
    assert refused(encoded(photo(), "PNG")[:-400])


def test_a_png_without_its_end_is_answered() -> None:
    plain = encoded(photo(), "PNG")
    np.testing.assert_array_equal(pixels(plain[:-12]), pixels(plain))


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_that_breaks_off_in_a_note_is_answered(lossless: bool) -> None:
    plain = encoded(photo(), "WEBP", lossless=lossless)
    data = encoded(photo(), "WEBP", lossless=lossless, exif=b"Exif\x00\x00" + b"rubbish" * 50, icc_profile=b"junk")
    near(pixels(data), pixels(plain))
    cut = data[:-100]
    assert not refused(cut)
    near(pixels(cut), pixels(plain))


@pytest.mark.parametrize("size", [0, 0xFFFFFFF0])
def test_a_webp_with_a_wrong_length_is_answered(size: int) -> None:
    plain = encoded(photo(), "WEBP", lossless=True)
    np.testing.assert_array_equal(pixels(plain[:4] + struct.pack("<I", size) + plain[8:]), pixels(plain))


# ── colours ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("mode", "form", "how"),
    [
        ("CMYK", "JPEG", {}),
        ("L", "JPEG", {}),
        ("1", "PNG", {}),
        ("L", "PNG", {"transparency": 3}),
        ("LA", "PNG", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": b"\x00" * 256}),
        ("P", "PNG", {"transparency": 0}),
        ("RGB", "PNG", {"transparency": (1, 2, 3)}),
        ("RGBA", "PNG", {}),
        ("I;16", "PNG", {}),
        ("RGBA", "WEBP", {}),
        ("L", "WEBP", {}),
        ("RGB", "JPEG", {"icc_profile": b"no profile"}),
        ("RGB", "PNG", {"icc_profile": b"no profile"}),
    ],
)
def test_every_way_to_store_colours_is_answered(mode: str, form: str, how: dict[str, object]) -> None:
    image = photo().convert("L").convert(mode) if mode == "I;16" else photo().convert(mode)
    data = encoded(image, form, **how)
    assert not refused(data)
    assert pixels(data).shape == (61, 97, 3)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_a_film_the_first_picture_is_taken(form: str) -> None:
    first = photo()
    data = encoded(first, form, save_all=True, append_images=[Image.new("RGB", first.size)], lossless=True)
    assert not refused(data)
    near(pixels(data), np.asarray(first))


def test_of_two_pictures_of_a_stereo_camera_the_first_is_taken() -> None:
    data = encoded(photo(), "MPO", save_all=True, append_images=[Image.new("RGB", (97, 61))])
    assert not refused(data)
    near(pixels(data), np.asarray(photo()))


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_a_format_that_is_not_taken_is_named_with_the_cure(tmp_path: Path, form: str) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(photo(), form))
    assert check_image(path, DatasetLimits())[1] == f"is a picture of format {form}; convert it to JPEG, PNG or WebP"
    assert refused(path.read_bytes())


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_upload_and_server_agree_on_any_damage(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    whole = bytearray(
        encoded(photo((40, 30)), form, progressive=True) if form == "JPEG" else encoded(photo((40, 30)), form)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    refused(bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole))


# ── sounds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def speech() -> np.ndarray:
    return soundfile.read(SPEECH, dtype="float32")[0]


def wav(samples: np.ndarray, subtype: str = "PCM_16", form: str = "WAV", rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def heard(data: bytes) -> np.ndarray:
    assert not refused(data, "sound")
    return decode_audio(data, 600.0, "p")[0]


def test_a_wav_that_cannot_be_sought_in_is_heard_whole() -> None:
    samples, rate = decode_audio((DATA / "wav_GSM610.wav").read_bytes(), 600.0, "p")
    assert (len(samples), rate) == (53_120, 8000)
    assert not refused((DATA / "wav_GSM610.wav").read_bytes(), "sound")


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
def test_every_way_to_store_samples_is_heard(subtype: str) -> None:
    samples = speech()[:16_000]
    found = heard(wav(samples, subtype))
    assert 16_000 <= len(found) <= 18_000, "whole blocks"
    assert np.corrcoef(found[:16_000], samples)[0, 1] > 0.8


@pytest.mark.parametrize("form", ["WAVEX", "RF64"])
def test_other_headers_of_wav_are_heard(form: str) -> None:
    assert len(heard(wav(speech(), "PCM_16", form))) == len(speech())


@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF, 36, 0x7FFFFFFF])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFF00, 0x80000000])
def test_a_wav_written_into_a_pipe_is_heard_by_the_bytes_that_are_there(size: int, whole: int) -> None:
    plain = wav(speech())
    data = bytearray(plain)
    struct.pack_into("<I", data, 4, whole)
    struct.pack_into("<I", data, 40, size)
    np.testing.assert_array_equal(heard(bytes(data)), heard(plain))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_chunks_before_the_samples_do_not_matter(size: int) -> None:
    plain = wav(speech())
    notes = b"LIST" + struct.pack("<I", 7) + b"INFOabc\x00" + b"bext" + struct.pack("<I", 20) + bytes(20)
    data = bytearray(plain[:36] + notes + plain[36:])
    struct.pack_into("<I", data, 40 + len(notes), size)
    assert len(heard(bytes(data))) == len(speech())


@pytest.mark.parametrize("size", [0, 0xFFFFFFFFFFFFFFFF])
def test_an_rf64_written_into_a_pipe_is_heard(size: int) -> None:
    data = bytearray(wav(speech(), "PCM_16", "RF64"))
    at = data.index(b"ds64")
    struct.pack_into("<QQQ", data, at + 8, size, size, size)
    assert abs(len(heard(bytes(data))) - len(speech())) <= 1


def test_what_follows_the_samples_is_not_heard() -> None:
    plain = wav(speech())
    assert len(heard(plain + b"LIST" + struct.pack("<I", 4) + b"INFO")) == len(speech())


def test_a_wav_of_no_samples_is_refused() -> None:
    plain = wav(np.zeros(0, np.float32))
    assert refused(plain, "sound")
    assert refused(plain + b"LIST" + struct.pack("<I", 4) + b"INFO", "sound")


def test_a_flac_of_unknown_length_is_heard_whole() -> None:
    data = bytearray(wav(speech(), "PCM_16", "FLAC"))
    data[21] &= 0xF0  # the number of samples, 36 bits: 0 says that it is not known
    data[22:26] = bytes(4)
    np.testing.assert_array_equal(heard(bytes(data)), heard(wav(speech())))


def test_a_flac_that_breaks_off_is_refused() -> None:
    data = wav(speech(), "PCM_16", "FLAC")
    for share in (0.3, 0.7, 0.95):
        assert refused(data[: int(len(data) * share)], "sound")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_is_heard_as_far_as_it_goes(subtype: str) -> None:
    data = wav(speech(), subtype, "OGG")
    assert len(heard(data)) == len(speech())
    assert 0 < len(heard(data[: len(data) * 2 // 3])) < len(speech())


@pytest.mark.parametrize("seconds", [601.0, 600.01, 600 + 1 / 8000, 900.0, 3599.5])
@pytest.mark.parametrize("form", ["FLAC", "WAV"])
def test_a_sound_that_is_too_long_is_refused_by_two_figures_that_differ(seconds: float, form: str) -> None:
    data = wav(np.zeros(round(seconds * 8000), np.float32), "PCM_16", form, 8000)
    with pytest.raises(InvalidInput) as caught:
        decode_audio(data, 600.0, "p")
    assert caught.value.problem == f"expected at most 600 seconds of sound, got {int(np.ceil(seconds)):,}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_upload_names_a_sample_that_is_no_number(tmp_path: Path, value: float) -> None:
    samples = speech().copy()
    samples[16_000] = value
    path = tmp_path / "a.wav"
    path.write_bytes(wav(samples, "FLOAT"))
    assert check_audio(path, DatasetLimits())[1].endswith("at 1.000 seconds")
    assert refused(path.read_bytes(), "sound")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_upload_and_server_agree_on_any_damage_to_a_sound(data: st.DataObject) -> None:
    form, subtype = data.draw(
        st.sampled_from([("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "GSM610")])
    )
    whole = bytearray(wav(speech()[:4000], subtype, form))
    chance = random.Random(data.draw(st.integers(0, 1 << 20)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[chance.randrange(min(len(whole), 200))] = chance.randrange(256)
    refused(
        bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole), "sound"
    )
