"""An image that upload accepts is accepted by training and serving, and refused by all of them alike."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.media.decode_check import check_image
from service.errors import InvalidInput
from service.tasks.image.image_input import decode_image
from tests.support.paths import DATASET_FILES, REPOSITORY

DATA = DATASET_FILES
PIXELS = 50_000_000
SPEECH = REPOSITORY / "examples" / "speech.flac"


def pixels(data: bytes, shorter: int = 0) -> np.ndarray:
    return np.asarray(decode_image(data, PIXELS, "p", shorter).image)


class InMemory:
    """A path whose content is in memory."""

    def __init__(self, data: bytes) -> None:
        self.stat = lambda: type("S", (), {"st_size": len(data)})()
        self.read_bytes = lambda: data


def refused(data: bytes) -> bool:
    """Whether an image is refused; upload and the server, at every scale, must agree on it."""
    uploaded = bool(check_image(InMemory(data), DatasetLimits())[1])  # type: ignore[arg-type]
    served = []
    for shorter in (0, 8, 64):
        try:
            decode_image(data, PIXELS, "p", shorter)
            served.append(False)
        except InvalidInput:
            served.append(True)
    assert set(served) == {uploaded}
    return uploaded


def photo(size: tuple[int, int] = (97, 61)) -> Image.Image:
    """An asymmetric image: each side has another colour."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def near(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other.astype(int)).mean() < 3


# ── metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["exif_min_xres_as_ascii.jpg", "exif_min_ycbcr_ascii.jpg", "exif_xres_byte_o6.jpg"])
def test_jpeg_with_broken_exif_entries_keeps_pixels_and_orientation(name: str) -> None:
    data = (DATA / name).read_bytes()
    assert not refused(data)
    assert decode_image(data, PIXELS, "p").size == (213, 320), "orientation 6: it stands upright"


def exif(*entries: bytes, order: str = "<") -> bytes:
    """The EXIF segment of a JPEG with these entries of 12 bytes."""
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
def test_jpeg_orientation_is_read_beside_any_damage(order: str, orientation: int) -> None:
    upright = encoded(photo(), "JPEG", quality=95)
    turned = entry(0x112, 3, 1, orientation, order)
    clean = with_note(upright, exif(turned, order=order))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(clean))))
    for bad in (
        entry(0x100, 7, 1 << 30, 1 << 29, order),  # longer than the file; tags must be in ascending order
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
def test_jpeg_with_an_invalid_orientation_is_not_rotated(orientation: int) -> None:
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
def test_jpeg_metadata_of_any_kind_does_not_cost_pixels(marker: int, note: bytes) -> None:
    plain = encoded(photo(), "JPEG")
    data = with_note(plain, note, marker)
    assert not refused(data)
    np.testing.assert_array_equal(pixels(data), pixels(plain))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.booleans())
def test_jpeg_with_random_exif_is_decoded(note: bytes, known: bool) -> None:
    plain = encoded(photo((40, 30)), "JPEG")
    data = with_note(plain, b"Exif\x00\x00" + (b"II*\x00\x08\x00\x00\x00" if known else b"") + note)
    assert not refused(data)
    assert sorted(decode_image(data, PIXELS, "p").size) == [30, 40]


def test_jpeg_with_recursive_exif_takes_no_memory() -> None:
    """Read by the library, 60 KB would become 300 MB, and several such segments gigabytes."""
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


# ── truncated and damaged files ──────────────────────────────────────────────────────────────────────────────────

HOW: list[dict[str, object]] = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"subsampling": 0},
    {"quality": 20},
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("left", [0, 1])
def test_jpeg_without_its_end_marker_is_decoded(how: dict[str, object], left: int) -> None:
    whole = encoded(photo(), "JPEG", **how)
    cut = whole[: len(whole) - 2 + left]
    assert not refused(cut)
    np.testing.assert_array_equal(pixels(cut), pixels(whole))


def test_jpeg_without_its_end_marker_before_other_bytes_is_decoded() -> None:
    whole = encoded(photo(), "JPEG")
    np.testing.assert_array_equal(pixels(whole[:-2] + bytes(100)), pixels(whole))


@pytest.mark.parametrize("how", HOW)
def test_jpeg_with_missing_pixels_is_refused(how: dict[str, object]) -> None:
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
def test_png_with_damaged_metadata_is_decoded(name: bytes, body: bytes, right: bool, late: bool) -> None:
    plain = encoded(photo(), "PNG")
    at = plain.index(b"IEND") - 4 if late else 33
    data = plain[:at] + chunk(name, body, right) + plain[at:]
    assert not refused(data)
    np.testing.assert_array_equal(pixels(data), pixels(plain))


def test_png_with_a_metadata_bomb_is_decoded() -> None:
    plain = encoded(photo(), "PNG")
    body = b"Comment\x00\x00" + zlib.compress(bytes(80_000_000), 9)
    assert not refused(plain[:33] + chunk(b"zTXt", body) + plain[33:])


def test_png_with_damaged_pixels_is_refused() -> None:
    plain = bytearray(encoded(photo(), "PNG"))
    plain[20] ^= 1  # the width, which a checksum covers
    assert refused(bytes(plain))
    assert refused(encoded(photo(), "PNG")[:-400])


def test_png_without_its_end_is_decoded() -> None:
    plain = encoded(photo(), "PNG")
    np.testing.assert_array_equal(pixels(plain[:-12]), pixels(plain))


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_truncated_in_metadata_is_decoded(lossless: bool) -> None:
    plain = encoded(photo(), "WEBP", lossless=lossless)
    data = encoded(photo(), "WEBP", lossless=lossless, exif=b"Exif\x00\x00" + b"rubbish" * 50, icc_profile=b"junk")
    near(pixels(data), pixels(plain))
    cut = data[:-100]
    assert not refused(cut)
    near(pixels(cut), pixels(plain))


@pytest.mark.parametrize("size", [0, 0xFFFFFFF0])
def test_webp_with_a_wrong_length_is_decoded(size: int) -> None:
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
def test_images_in_every_colour_mode_are_decoded(mode: str, form: str, how: dict[str, object]) -> None:
    image = photo().convert("L").convert(mode) if mode == "I;16" else photo().convert(mode)
    data = encoded(image, form, **how)
    assert not refused(data)
    assert pixels(data).shape == (61, 97, 3)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animation_gives_its_first_frame(form: str) -> None:
    first = photo()
    data = encoded(first, form, save_all=True, append_images=[Image.new("RGB", first.size)], lossless=True)
    assert not refused(data)
    near(pixels(data), np.asarray(first))


def test_stereo_image_gives_its_first_picture() -> None:
    data = encoded(photo(), "MPO", save_all=True, append_images=[Image.new("RGB", (97, 61))])
    assert not refused(data)
    near(pixels(data), np.asarray(photo()))


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_unsupported_image_format_is_named_with_advice(tmp_path: Path, form: str) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(photo(), form))
    assert check_image(path, DatasetLimits())[1] == f"is a picture of format {form}; convert it to JPEG, PNG or WebP"
    assert refused(path.read_bytes())


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_upload_and_server_agree_on_any_damaged_image(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    whole = bytearray(
        encoded(photo((40, 30)), form, progressive=True) if form == "JPEG" else encoded(photo((40, 30)), form)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    refused(bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole))
