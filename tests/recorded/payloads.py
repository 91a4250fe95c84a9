"""Inputs of the corpus. All bytes are made from seeds, without compression that could differ between library versions."""

from __future__ import annotations

import io
import random
import struct
import wave
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
RATE = 16_000

CAT = (EXAMPLES / "cat.jpg").read_bytes()
COFFEE = (EXAMPLES / "coffee.jpg").read_bytes()
SPEECH = (EXAMPLES / "speech.flac").read_bytes()


def png(pixels: np.ndarray, colour_type: int = 2) -> bytes:
    """A PNG of stored (not compressed) pixels: `[height, width, 3]` for colour type 2, `[height, width]` for 0 and 3."""
    deep = pixels.dtype == np.uint16
    rows = b"".join(b"\0" + (row.astype(">u2") if deep else row).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16 if deep else 8, colour_type, 0, 0, 0)
    palette = _chunk(b"PLTE", bytes(i * 7 % 256 for i in range(768))) if colour_type == 3 else b""
    body = _chunk(b"IDAT", zlib.compress(rows, 0))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + body + _chunk(b"IEND", b"")


def photo(seed: int, colour: Sequence[int] = (128, 128, 128), size: int = 48) -> bytes:
    """A small noisy picture around one colour."""
    noise = np.random.default_rng(seed).integers(-60, 60, (size, size, 3))
    return png((noise + np.asarray(colour)).clip(0, 255).astype(np.uint8))


def gradient(dtype: type = np.uint8, size: int = 64) -> np.ndarray:
    """A grey ramp `[size, size]`."""
    most = np.iinfo(dtype).max
    return np.tile(np.linspace(0, most, size).astype(dtype), (size, 1))


def bomb() -> bytes:
    """A PNG whose header promises 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = _chunk(b"IDAT", zlib.compress(b"\0", 0))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + body + _chunk(b"IEND", b"")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Seeded noise, float32."""
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.05).astype(np.float32)


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """A tone in a little noise, float32."""
    at = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * at)).astype(np.float32) + noise(seconds, seed)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """Float samples as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A stored archive; its bytes depend on nothing but its files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return packed.getvalue()


def lines(header: str, rows: Sequence[str]) -> bytes:
    """A CSV file."""
    return "\n".join([header, *rows, ""]).encode()


# ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────────────

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
WORDS = {
    "sea": ("wave", "harbour", "sailor", "tide", "island", "fish", "storm", "anchor"),
    "wood": ("tree", "moss", "owl", "path", "deer", "leaf", "cabin", "fern"),
}


def photo_folder(each: int = 8) -> bytes:
    """A folder of pictures for each colour."""
    return zipped(
        {
            f"{name}/{i}.png": photo(100 * n + i, colour)
            for n, (name, colour) in enumerate(COLOURS.items())
            for i in range(each)
        }
    )


def sound_folder(each: int = 6) -> bytes:
    """A folder of sounds for each pitch."""
    pitches = {"low": 220.0, "high": 1760.0}
    return zipped(
        {
            f"{name}/{i}.wav": wav(tone(hertz * (1 + i / 50), 0.6, i))
            for name, hertz in pitches.items()
            for i in range(each)
        }
    )


def topics(each: int = 20) -> bytes:
    """Texts of two topics."""
    dice = random.Random(1)
    rows = [
        f"the {' and the '.join(dice.sample(words, 3))} of day {i},{name}"
        for name, words in WORDS.items()
        for i in range(each)
    ]
    return lines("text,topic", rows)


def flats(rows: int = 120, seed: int = 0) -> bytes:
    """What flats cost by size, age and place."""
    dice = random.Random(seed)
    made = []
    for _ in range(rows):
        size, age, part = dice.uniform(20, 160), dice.uniform(0, 90), dice.choice(["harbour", "centre", "hills"])
        rent = 9 * size * {"harbour": 1.2, "centre": 1.5, "hills": 0.9}[part] - 2 * age
        made.append(f"{size:.1f},{age:.0f},{part},{rent + dice.gauss(0, 30):.0f}")
    return lines("size,age,part,rent", made)


def iris(rows: int = 90) -> bytes:
    """A table with classes to tell."""
    dice = random.Random(2)
    kinds = {"short": 1.0, "middle": 2.0, "long": 3.0}
    made = []
    for i in range(rows):
        name = list(kinds)[i % 3]
        made.append(f"{kinds[name] + dice.gauss(0, 0.2):.3f},{dice.uniform(0, 1):.3f},{name}")
    return lines("length,width,kind", made)


def sales(steps: int = 160) -> bytes:
    """A daily series with a weekly season."""
    dice = random.Random(3)
    made = []
    for i in range(steps):
        day = np.datetime64("2021-01-01") + np.timedelta64(i, "D")
        made.append(f"{day},{100 + i * 0.3 + 20 * (i % 7 in (5, 6)) + dice.gauss(0, 2):.2f}")
    return lines("day,sold", made)


def poems(count: int = 10, verses: int = 12) -> bytes:
    """Plain text, a file for each poem."""
    dice = random.Random(4)
    texts = [
        "".join(
            f"The {dice.choice(WORDS['sea'])} meets the {dice.choice(WORDS['wood'])} by the {dice.choice(WORDS['sea'])}.\n"
            for _ in range(verses)
        )
        for _ in range(count)
    ]
    return zipped({f"{i}.txt": text.encode() for i, text in enumerate(texts)})


def houses(each: int = 8) -> bytes:
    """Pictures and a table that names them."""
    dice = random.Random(5)
    files, rows = {}, []
    for i in range(3 * each):
        colour = list(COLOURS.values())[i % 3]
        area = dice.uniform(50, 150)
        files[f"pictures/{i}.png"] = photo(i, colour)
        rows.append(f"pictures/{i}.png,{area:.0f},{2 * area + colour[0] + dice.gauss(0, 5):.1f}")
    return zipped({"houses.csv": lines("image,area,price", rows), **files})


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
