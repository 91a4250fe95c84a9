"""Tables and texts out of an installed package of R, without R: its database of lazily loaded data, ``Rdata.rdx`` and
``Rdata.rdb``.

The index names for each object where its serialised form begins in the database, and how long it is. Each part is compressed by
itself; the serialisation is that of "R Internals", section 1.8, in its binary form with big-endian numbers (XDR), of version 2
or 3. Only what tables are made of is read; anything else is an error. The files must be checked by their digests before.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "read_table", "read_texts"]

Column = NDArray[np.float64] | list[str | None]
"""Numbers with NaN for empty cells, or texts with None for them; factors are texts."""

_NA_INTEGER = -(2**31)
_HAS_ATTRIBUTES, _HAS_TAG = 0x200, 0x400
_ENDS = frozenset({241, 242, 247, 251, 252, 253, 254})
"""NULL, the environments that every R has, and a missing argument."""
_LZMA2 = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


@dataclass
class _Vector:
    values: Any
    attributes: dict[str, Any] = field(default_factory=dict)


def read_table(index: bytes, database: bytes, name: str) -> Mapping[str, Column]:
    """A data frame as columns by name.

    Args:
        index, database: contents of ``Rdata.rdx`` and ``Rdata.rdb``.

    Raises:
        KeyError: the package has no table of that name.
        ValueError: the object is no table, or the files are in another form than the one above.
    """
    return {column: _column(cells) for column, cells in _named(_object(index, database, name)).items()}


def read_texts(index: bytes, database: bytes, name: str) -> list[str]:
    """A vector of texts, without its empty cells.

    Args:
        index, database: contents of ``Rdata.rdx`` and ``Rdata.rdb``.

    Raises:
        KeyError: the package has no object of that name.
        ValueError: the object is no vector of texts, or the files are in another form than the one above.
    """
    found = _object(index, database, name)
    if not isinstance(found, _Vector) or not isinstance(found.values, list):
        raise ValueError("expected a vector of texts")
    texts = [text for text in found.values if text is not None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("expected a vector of texts")
    return texts


def _object(index: bytes, database: bytes, name: str) -> Any:
    """An object of the database by its name. Raises KeyError, ValueError."""
    known = _Reader(_inflated(index)).document()
    parts = _named(_named(known)["variables"])
    if name not in parts:
        raise KeyError(name)
    offset, length = (int(number) for number in parts[name].values)
    return _Reader(_part(database[offset : offset + length])).document()


def _inflated(index: bytes) -> bytes:
    """The index, of which R writes one compressed stream."""
    if index[:2] == b"\x1f\x8b":
        return zlib.decompress(index, wbits=31)
    return index if index[:2] == b"X\n" else zlib.decompress(index)


def _part(part: bytes) -> bytes:
    """One object of the database: its length in four bytes, perhaps a letter for the compression, and the rest."""
    (length,) = struct.unpack(">i", part[:4])
    match part[4:5]:
        case b"Z":
            found = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA2).decompress(part[5:])
        case b"2":
            found = bz2.decompress(part[5:])
        case b"1":
            found = zlib.decompress(part[5:])
        case b"0":
            found = part[5:]
        case _:
            found = zlib.decompress(part[4:])
    if len(found) != length:
        raise ValueError("an object of the database is not as long as it says")
    return found


def _named(vector: Any) -> dict[str, Any]:
    if not isinstance(vector, _Vector) or not isinstance(vector.values, list) or "names" not in vector.attributes:
        raise ValueError("expected a list with names")
    return dict(zip(vector.attributes["names"].values, vector.values, strict=True))


def _column(vector: Any) -> Column:
    if not isinstance(vector, _Vector):
        raise ValueError("a column is no vector")
    if "levels" in vector.attributes:
        levels = vector.attributes["levels"].values
        return [None if code == _NA_INTEGER else levels[code - 1] for code in vector.values.tolist()]
    if isinstance(vector.values, list):
        return vector.values
    numbers: NDArray[np.float64] = vector.values.astype(np.float64)
    if vector.values.dtype.kind == "i":
        numbers[vector.values == _NA_INTEGER] = np.nan
    return numbers


class _Reader:
    """A serialised object, read from its beginning to its end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0
        self._references: list[Any] = []

    def document(self) -> Any:
        if self._take(2) != b"X\n":
            raise ValueError("expected a serialised object in binary form")
        version = self._integer()
        self._take(8)  # the versions of R that wrote it, and that can read it
        if version == 3:
            self._take(self._integer())  # the encoding of the writer's machine; texts have flags of their own
        elif version != 2:
            raise ValueError(f"a serialisation of version {version}")
        return self._item()

    def _take(self, count: int) -> bytes:
        found = self._content[self._at : self._at + count]
        if count < 0 or len(found) != count:
            raise ValueError("the object ends too early")
        self._at += count
        return found

    def _integer(self) -> int:
        return int(struct.unpack(">i", self._take(4))[0])

    def _numbers(self, kind: str) -> NDArray[Any]:
        dtype = np.dtype(kind)
        return np.frombuffer(self._take(dtype.itemsize * self._integer()), dtype)

    def _item(self) -> Any:
        flags = self._integer()
        match flags & 0xFF:
            case kind if kind in _ENDS:
                return None
            case 255:
                return self._references[(flags >> 8 or self._integer()) - 1]
            case 1:  # a symbol
                self._references.append(self._item())
                return self._references[-1]
            case 2:
                return self._pairs(flags)
            case 9:
                length = self._integer()
                return None if length == -1 else self._take(length).decode("latin-1" if flags & 0x4000 else "utf-8")
            case 10 | 13:
                return self._with_attributes(flags, self._numbers(">i4"))
            case 14:
                return self._with_attributes(flags, self._numbers(">f8"))
            case 16 | 19:
                return self._with_attributes(flags, [self._item() for _ in range(self._integer())])
            case 238:
                return self._compact()
            case kind:
                raise ValueError(f"an object of kind {kind}, of which tables are not made")

    def _with_attributes(self, flags: int, values: Any) -> _Vector:
        attributes = self._item() if flags & _HAS_ATTRIBUTES else None
        return _Vector(values, {name: value for name, value in attributes or [] if name is not None})

    def _pairs(self, flags: int) -> list[tuple[str | None, Any]]:
        """A list of pairs, as attributes are kept: name and value."""
        found = []
        while flags & 0xFF == 2:
            if flags & _HAS_ATTRIBUTES:
                self._item()
            tag = self._item() if flags & _HAS_TAG else None
            found.append((tag, self._item()))
            flags = self._integer()
        if flags & 0xFF not in _ENDS:
            raise ValueError("a list of pairs does not end")
        return found

    def _compact(self) -> Any:
        """An object in a form of its own (ALTREP): a sequence of numbers by its ends, or a vector in a wrapper."""
        (_, kind), *_ = self._item()
        state, attributes = self._item(), self._item()
        if kind in ("compact_intseq", "compact_realseq"):
            count, first, step = state.values
            values: Any = (first + step * np.arange(int(count))).astype(">i4" if kind == "compact_intseq" else ">f8")
        elif isinstance(kind, str) and kind.startswith("wrap_"):
            wrapped = state.values[0] if isinstance(state, _Vector) else state[0][1]
            values = wrapped.values
        else:
            raise ValueError(f"a vector in the form {kind}")
        return _Vector(values, {name: value for name, value in attributes or [] if name is not None})
