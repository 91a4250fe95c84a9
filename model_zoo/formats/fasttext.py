"""A classifier of texts that fastText wrote (``.bin`` or ``.ftz``) → a state dict, and the vocabulary that its input needs.

The file holds the settings, a dictionary, the vectors of words and of hashed character n-grams, and the weights of the output
(fastText, ``src/fasttext.cc``, ``dictionary.cc``, ``quantmatrix.cc``; version 12). A compressed file keeps the n-grams that
matter, and its vectors by product quantisation (Joulin et al., FastText.zip, arXiv:1612.03651); they are unpacked here.

Everything is read by offset: no code is run, and every length is checked against the bytes that are there.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo import strict_json

__all__ = ["Classifier", "read_classifier", "word_paths"]

_MAGIC, _VERSION = 793_712_314, 12
_SUPERVISED = 3
_HIERARCHICAL, _SOFTMAX = 1, 3
_WORD, _LABEL = 0, 1
_LABEL_PREFIX = "__label__"
_CENTROIDS = 256
"""Of each part of a quantised vector."""
_MOST_ENTRIES = 10_000_000
_WIDEST, _LONGEST_GRAM = 10_000, 100
_MOST_NUMBERS = 1 << 27
"""Of an unpacked matrix."""


@dataclass(frozen=True)
class Classifier:
    """A classifier of texts.

    Attributes:
        state: ``embedding.weight`` (words and n-grams, width) and ``output.weight``; where the classes are the leaves of a tree
            also ``tree.right`` and ``tree.left`` (classes, inner nodes), 1 where the way to a class goes that way at a node.
        labels: in the order of the classes, without fastText's prefix.
        vocabulary: JSON that `service.tasks.text.subword_input` reads.
    """

    state: dict[str, torch.Tensor]
    labels: tuple[str, ...]
    vocabulary: bytes


@dataclass(frozen=True)
class _Settings:
    width: int
    word_grams: int
    loss: int
    model: int
    buckets: int
    shortest: int
    longest: int


class _Reader:
    """Reads numbers and texts from a file one after another. Raises ValueError where it ends early."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = memoryview(content), 0

    def numbers(self, kinds: str) -> tuple[Any, ...]:
        """Little-endian numbers, as `struct` writes the kinds."""
        layout = struct.Struct(f"<{kinds}")
        return layout.unpack(self._taken(layout.size))

    def array(self, count: int, dtype: str) -> NDArray[Any]:
        """`count` numbers."""
        kind = np.dtype(dtype)
        return np.frombuffer(self._taken(count * kind.itemsize), kind)

    def text(self) -> bytes:
        """Up to the next zero byte, which is skipped."""
        end = bytes(self._content[self._at : self._at + 10_000]).find(b"\0")
        if end < 0:
            raise ValueError("a word of the dictionary does not end")
        return bytes(self._taken(end + 1)[:-1])

    def _taken(self, size: int) -> memoryview:
        if not 0 <= size <= len(self._content) - self._at:
            raise ValueError("the file ends early")
        self._at += size
        return self._content[self._at - size : self._at]


def read_classifier(content: bytes) -> Classifier:
    """Raises ValueError for a damaged file, another version, word vectors without classes, and settings that are not supported:
    pairs of words as features, and losses other than softmax and hierarchical softmax."""
    reader = _Reader(content)
    if reader.numbers("ii") != (_MAGIC, _VERSION):
        raise ValueError(f"it is no file of fastText of version {_VERSION}")
    settings = _settings(reader)
    words, labels, counts, kept = _dictionary(reader)
    vectors = _matrix(reader)
    (quantised_output,) = reader.numbers("?")
    output = _matrix(reader, quantised_output)
    rows = len(words) + (settings.buckets if kept is None else len(kept))
    if vectors.shape != (rows, settings.width):
        raise ValueError(f"the vectors have the shape {vectors.shape}, and the dictionary has {rows:,} entries")
    state = {"embedding.weight": torch.from_numpy(vectors), "output.weight": torch.from_numpy(output)}
    wanted = len(labels)
    if settings.loss == _HIERARCHICAL:
        right, left = word_paths(counts)
        state |= {"tree.right": torch.from_numpy(right), "tree.left": torch.from_numpy(left)}
        wanted = len(labels) - 1
        output = output[:wanted]  # fastText allocates a row more than the tree has inner nodes
        state["output.weight"] = torch.from_numpy(np.ascontiguousarray(output))
    if output.shape != (wanted, settings.width):
        raise ValueError(f"the output has the shape {output.shape}, and there are {len(labels)} classes")
    vocabulary = {
        "words": words,
        "shortest": settings.shortest,
        "longest": settings.longest,
        "buckets": settings.buckets,
        "kept": kept,
    }
    return Classifier(state, tuple(labels), strict_json.text(vocabulary).encode())


def _settings(reader: _Reader) -> _Settings:
    width, _, _, _, _, word_grams, loss, model, buckets, shortest, longest, _ = reader.numbers("12i")
    reader.numbers("d")
    if model != _SUPERVISED:
        raise ValueError("it holds vectors of words without classes")
    if word_grams > 1:
        raise ValueError(f"it reads {word_grams} words together, which is not supported")
    if loss not in (_HIERARCHICAL, _SOFTMAX):
        raise ValueError("its classes are scored by a loss other than softmax and hierarchical softmax")
    if not 0 < width <= _WIDEST or min(buckets, shortest) < 0 or longest > _LONGEST_GRAM:
        raise ValueError("its settings are out of bounds")
    return _Settings(width, word_grams, loss, model, buckets, shortest, longest)


def _dictionary(reader: _Reader) -> tuple[list[str], list[str], list[int], dict[int, int] | None]:
    """Words, labels, how often each label occurred, and the n-grams that were kept: hash → row behind the words; None for all."""
    size, word_count, label_count, _, kept_count = reader.numbers("iiiqq")
    if not 0 <= size <= _MOST_ENTRIES or kept_count > _MOST_ENTRIES or size != word_count + label_count:
        raise ValueError("the dictionary claims more entries than a file holds")
    words: list[str] = []
    labels: list[str] = []
    counts: list[int] = []
    for _ in range(size):
        text = reader.text()
        count, kind = reader.numbers("qb")
        if kind not in (_WORD, _LABEL) or (kind == _WORD and labels):
            raise ValueError("the dictionary does not list words before labels")
        if kind == _WORD:
            words.append(text.decode("utf-8", "surrogateescape"))
        else:
            labels.append(text.decode("utf-8").removeprefix(_LABEL_PREFIX))
            counts.append(count)
    if len(labels) < 2 or len(labels) != label_count:
        raise ValueError("the dictionary has fewer than two labels")
    if kept_count < 0:
        return words, labels, counts, None
    pairs = reader.array(2 * kept_count, "<i4").reshape(-1, 2).tolist()
    kept = dict(pairs)
    if sorted(kept.values()) != [*range(kept_count)]:
        raise ValueError("the n-grams that were kept are not numbered one after another")
    return words, labels, counts, kept


def _matrix(reader: _Reader, quantised: bool | None = None) -> NDArray[np.float32]:
    """A matrix, unpacked. `quantised`: None to read it from the file."""
    if quantised is None:
        (quantised,) = reader.numbers("?")
    if not quantised:
        rows, width = _sides(reader)
        return reader.array(rows * width, "<f4").reshape(rows, width).astype(np.float32)
    (with_norms,) = reader.numbers("?")
    rows, width = _sides(reader)
    (code_count,) = reader.numbers("i")
    codes = reader.array(code_count, "u1")
    matrix = _unpacked(codes, rows, width, _centroids(reader))
    if with_norms:
        norm_codes = reader.array(rows, "u1")
        matrix *= _unpacked(norm_codes, rows, 1, _centroids(reader))
    return matrix


def _sides(reader: _Reader) -> tuple[int, int]:
    rows, width = reader.numbers("qq")
    if min(rows, width) < 1 or rows * width > _MOST_NUMBERS:
        raise ValueError("a matrix has no size, or an unreasonable one")
    return int(rows), int(width)


def _centroids(reader: _Reader) -> list[NDArray[np.float32]]:
    """The centroids of each part of a vector, ``(256, length of the part)``."""
    width, parts, length, last = reader.numbers("iiii")
    if not (0 < parts <= width <= _WIDEST and 0 < last <= length and (parts - 1) * length + last == width):
        raise ValueError("the parts of a quantised vector do not add up")
    flat = reader.array(width * _CENTROIDS, "<f4").astype(np.float32)
    found = []
    for part in range(parts):
        start, size = part * _CENTROIDS * length, last if part == parts - 1 else length
        found.append(flat[start : start + _CENTROIDS * size].reshape(_CENTROIDS, size))
    return found


def _unpacked(
    codes: NDArray[np.uint8], rows: int, width: int, centroids: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    if codes.size != rows * len(centroids) or sum(part.shape[1] for part in centroids) != width:
        raise ValueError("the codes of a quantised matrix do not fit its size")
    by_row = codes.reshape(rows, len(centroids))
    return np.concatenate([part[by_row[:, i]] for i, part in enumerate(centroids)], axis=1)


def word_paths(counts: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The ways to the leaves of fastText's Huffman tree: two matrices ``(leaves, inner nodes)`` with 1 where the way to a leaf
    turns right at a node, or left.

    Args:
        counts: of the leaves, which fastText sorts: greatest first.
    """
    leaves = len(counts)
    weights = [*counts] + [10**15] * (leaves - 1)
    parent, turns_right = [-1] * len(weights), [False] * len(weights)
    leaf, inner = leaves - 1, leaves
    for node in range(leaves, len(weights)):
        smallest = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[inner]:
                smallest.append(leaf)
                leaf -= 1
            else:
                smallest.append(inner)
                inner += 1
        weights[node] = weights[smallest[0]] + weights[smallest[1]]
        parent[smallest[0]] = parent[smallest[1]] = node
        turns_right[smallest[1]] = True
    right, left = (np.zeros((leaves, leaves - 1), np.float32) for _ in range(2))
    for start in range(leaves):
        node = start
        while parent[node] >= 0:
            (right if turns_right[node] else left)[start, parent[node] - leaves] = 1.0
            node = parent[node]
    return right, left
