"""Files of fastText with a few words, written as ``src/fasttext.cc`` writes them."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUPERVISED, SOFTMAX, HIERARCHICAL = 3, 3, 1


def fasttext_file(
    words: Sequence[str],
    labels: Mapping[str, int],
    vectors: NDArray[np.float32] | bytes,
    output: NDArray[np.float32],
    *,
    buckets: int = 0,
    kept: Mapping[int, int] | None = None,
    grams: tuple[int, int] = (0, 0),
    **changed: int,
) -> bytes:
    """
    Args:
        labels: with how often each occurred, greatest first.
        vectors: of words and n-grams; bytes for a matrix that is written already.
        kept: n-grams by bucket; None for all.
        changed: settings by name.
    """
    settings = {
        "width": output.shape[1],
        "window": 5,
        "epochs": 5,
        "least": 1,
        "negatives": 5,
        "word_grams": 1,
        "loss": SOFTMAX,
        "model": SUPERVISED,
        "buckets": buckets,
        "shortest": grams[0],
        "longest": grams[1],
        "rate": 100,
    } | changed
    parts = [struct.pack("<ii", 793_712_314, 12), struct.pack("<12id", *settings.values(), 0.0001)]
    parts.append(
        struct.pack("<iiiqq", len(words) + len(labels), len(words), len(labels), 100, -1 if kept is None else len(kept))
    )
    for word in words:
        parts.append(word.encode() + b"\0" + struct.pack("<qb", 3, 0))
    for label, count in labels.items():
        parts.append(f"__label__{label}".encode() + b"\0" + struct.pack("<qb", count, 1))
    for bucket, row in (kept or {}).items():
        parts.append(struct.pack("<ii", bucket, row))
    parts.append(vectors if isinstance(vectors, bytes) else b"\0" + dense(vectors))
    parts.append(b"\0" + dense(output))
    return b"".join(parts)


def dense(matrix: NDArray[np.float32]) -> bytes:
    """A matrix as numbers."""
    return struct.pack("<qq", *matrix.shape) + matrix.astype("<f4").tobytes()


def quantised(
    codes: NDArray[np.uint8], centroids: Sequence[NDArray[np.float32]], norms: NDArray[np.float32] | None = None
) -> bytes:
    """A matrix by product quantisation: `codes` (rows, parts), the centroids (256, length) of each part, and perhaps norms of
    up to 256 rows."""
    width = sum(part.shape[1] for part in centroids)
    parts: list[Any] = [b"\1", b"\0" if norms is None else b"\1", struct.pack("<qqi", len(codes), width, codes.size)]
    parts += [codes.astype("u1").tobytes(), _centroids(centroids)]
    if norms is not None:
        table = np.zeros((256, 1), np.float32)
        table[: len(norms), 0] = norms
        parts += [np.arange(len(norms), dtype="u1").tobytes(), _centroids([table])]
    return b"".join(parts)


def _centroids(parts: Sequence[NDArray[np.float32]]) -> bytes:
    sizes = sum(part.shape[1] for part in parts), len(parts), parts[0].shape[1], parts[-1].shape[1]
    return struct.pack("<iiii", *sizes) + b"".join(part.astype("<f4").tobytes() for part in parts)
