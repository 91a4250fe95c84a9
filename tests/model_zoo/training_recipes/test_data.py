"""Readers of data in packages: tables of R without R, and arrays of bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from model_zoo.training_recipes.data.idx import read_idx
from model_zoo.training_recipes.data.jane_austen import paragraphs
from model_zoo.training_recipes.data.r_tables import read_table, read_texts

HEADER = b"X\n" + struct.pack(">iii", 3, 0x40201, 0x30500) + struct.pack(">i", 5) + b"UTF-8"
LZMA2 = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


# ── a writer of what R writes ─────────────────────────────────────────────────────────────────────────────────────────


def text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">ii", 9, -1)
    data = value.encode()
    return struct.pack(">ii", 9 | 0x8000, len(data)) + data


def symbol(name: str) -> bytes:
    return struct.pack(">i", 1) + text(name)


def attributes(pairs: Mapping[str, bytes]) -> bytes:
    return b"".join(struct.pack(">i", 2 | 0x400) + symbol(n) + v for n, v in pairs.items()) + struct.pack(">i", 254)


def vector(kind: int, values: Any, **named: bytes) -> bytes:
    flags = kind | (0x200 if named else 0)
    body = {
        13: lambda: np.array(values, ">i4").tobytes(),
        14: lambda: np.array(values, ">f8").tobytes(),
        16: lambda: b"".join(map(text, values)),
        19: lambda: b"".join(values),
    }[kind]()
    return struct.pack(">ii", flags, len(values)) + body + (attributes(named) if named else b"")


def sequence(count: int) -> bytes:
    """1, 2, … as R keeps it since version 3.5."""
    kind = struct.pack(">i", 2) + symbol("compact_intseq") + struct.pack(">i", 254)
    return struct.pack(">i", 238) + kind + vector(14, [count, 1, 1]) + struct.pack(">i", 254)


def wrapped(inner: bytes) -> bytes:
    kind = struct.pack(">i", 2) + symbol("wrap_real") + struct.pack(">i", 254)
    return struct.pack(">i", 238) + kind + vector(19, [inner, vector(13, [0, 0])]) + struct.pack(">i", 254)


TABLE = HEADER + vector(
    19,
    [
        vector(14, [1.5, math.nan, -3.0]),
        vector(13, [4, -(2**31), 6]),
        vector(13, [2, 1, -(2**31)], levels=vector(16, ["low", "high"])),
        vector(16, ["a", None, "ü"]),
        sequence(3),
        wrapped(vector(14, [7.0, 8.0, 9.0])),
    ],
    names=vector(16, ["price", "rooms", "zone", "note", "number", "area"]),
    **{"row.names": sequence(3)},
)


def package(part: bytes, name: str = "houses") -> tuple[bytes, bytes]:
    """Index and database with one object after some other bytes."""
    known = vector(19, [vector(13, [4, len(part)])], names=vector(16, [name]))
    index = HEADER + vector(
        19, [known, vector(19, []), vector(13, [3])], names=vector(16, ["variables", "references", "c"])
    )
    return zlib.compress(index), b"junk" + part


def lzma2(content: bytes) -> bytes:
    return b"Z" + lzma.compress(content, lzma.FORMAT_RAW, filters=LZMA2)


@pytest.mark.parametrize(
    "compress",
    [lzma2, lambda c: b"2" + bz2.compress(c), lambda c: b"0" + c, zlib.compress],
    ids=["lzma", "bzip2", "plain", "zlib"],
)
def test_table_of_an_r_package_is_read_column_by_column(compress: Callable[[bytes], bytes]) -> None:
    table = read_table(*package(struct.pack(">i", len(TABLE)) + compress(TABLE)), "houses")
    np.testing.assert_array_equal(table["price"], [1.5, math.nan, -3.0])
    np.testing.assert_array_equal(table["rooms"], [4.0, math.nan, 6.0])
    assert table["zone"] == ["high", "low", None]
    assert table["note"] == ["a", None, "ü"]
    np.testing.assert_array_equal(table["number"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(table["area"], [7.0, 8.0, 9.0])


def test_texts_of_an_r_package_are_read_without_empty_cells() -> None:
    def files(kind: int, values: Any) -> tuple[bytes, bytes]:
        plain = HEADER + vector(kind, values)
        return package(struct.pack(">i", len(plain)) + b"0" + plain)

    assert read_texts(*files(16, ["It is", None, "", "a truth"]), "houses") == ["It is", "", "a truth"]
    with pytest.raises(ValueError, match="a vector of texts"):
        read_texts(*files(14, [1.0]), "houses")
    with pytest.raises(ValueError, match="a vector of texts"):
        read_texts(*files(19, [vector(14, [1.0])]), "houses")


def test_paragraph_of_a_book_is_one_line() -> None:
    lines = ["", "It is a  truth", "universally acknowledged.", "", "", "  However", ""]
    assert paragraphs(lines) == "It is a truth universally acknowledged.\nHowever"


def test_absent_table_and_object_that_is_no_table_are_errors() -> None:
    plain = HEADER + vector(14, [1.0])
    files = package(struct.pack(">i", len(plain)) + b"0" + plain)
    with pytest.raises(KeyError, match="flats"):
        read_table(*files, "flats")
    with pytest.raises(ValueError, match="a list with names"):
        read_table(*files, "houses")


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_damaged_table_is_an_error(cut: int) -> None:
    damaged = TABLE[:-cut]
    with pytest.raises(ValueError, match=r"ends too early|not as long as it says"):
        read_table(*package(struct.pack(">i", len(TABLE) - cut) + b"0" + damaged), "houses")
    with pytest.raises(ValueError, match="not as long"):
        read_table(*package(struct.pack(">i", len(TABLE)) + b"0" + damaged), "houses")


def test_array_of_bytes_has_the_shape_of_its_header() -> None:
    content = gzip.compress(struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6)))
    np.testing.assert_array_equal(read_idx(content), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("header", "problem"), [((0, 0x0D, 1, 1), "unsigned bytes"), ((0, 8, 1, 9), "expected 9 bytes, got 1")]
)
def test_array_of_another_kind_or_size_is_an_error(header: tuple[int, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_idx(gzip.compress(struct.pack(">HBBI", *header) + b"\0"))
