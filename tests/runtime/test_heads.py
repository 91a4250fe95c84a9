"""Heads in NumPy equal the trained networks, and the pool evicts the least recently used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from model_zoo.architectures import tuned
from model_zoo.cards.tuned_parts import HeadSpec
from model_zoo.errors import ConversionFailed
from service.runtime.heads import FeatureHead, HeadPool, PooledHead, read_head
from service.types import Item

WIDTH, CLASSES = 48, 7


def spec(kind: str = "linear", columns: int = 0, inputs: int = WIDTH) -> HeadSpec:
    hidden = 16 if kind == "mlp" else None
    return HeadSpec.model_validate(
        {"kind": kind, "inputs": inputs, "outputs": CLASSES, "hidden": hidden, "columns": columns}
    )


def trained(path: Path, of: HeadSpec, seed: int = 0) -> tuned.Head:
    """A head in torch, and its file."""
    torch.manual_seed(seed)
    head = tuned.Head(of)
    head.mean.normal_()
    head.scale.uniform_(0.5, 2.0)
    save_file({f"head.{name}": tensor for name, tensor in head.state_dict().items()}, path)
    return head.eval()


def items(count: int, **tensors: Any) -> list[Item]:
    return [Item({name: array[i] for name, array in tensors.items()}) for i in range(count)]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("rows", [1, 2, 8, 64])
def test_pooled_head_equals_the_torch_head(tmp_path: Path, kind: str, rows: int) -> None:
    head = trained(tmp_path / "w", spec(kind), seed=rows)
    features = np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32)
    served = PooledHead("mood", spec(kind), tmp_path / "w", HeadPool(1 << 20))
    got = served.run(features, items(rows))["logits"]
    with torch.inference_mode():
        expected = head(torch.from_numpy(features)).numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_columns_follow_the_features(tmp_path: Path) -> None:
    of = spec(columns=3, inputs=WIDTH + 3)
    head = trained(tmp_path / "w", of)
    draw = np.random.default_rng(1)
    features, columns = (draw.normal(size=(4, n)).astype(np.float32) for n in (WIDTH, 3))
    got = PooledHead("mood", of, tmp_path / "w", HeadPool(1 << 20)).run(features, items(4, columns=columns))["logits"]
    with torch.inference_mode():
        expected = head(torch.from_numpy(np.concatenate([features, columns], axis=1))).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_batched_rows_of_a_head_equal_single_rows(tmp_path: Path) -> None:
    trained(tmp_path / "w", spec("mlp"))
    head = PooledHead("mood", spec("mlp"), tmp_path / "w", HeadPool(1 << 20))
    features = np.random.default_rng(2).normal(size=(32, WIDTH)).astype(np.float32)
    together = head.run(features, items(32))["logits"]
    alone = np.concatenate([head.run(features[i : i + 1], items(1))["logits"] for i in range(32)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_pool_keeps_the_most_recently_used_heads_within_its_limit(tmp_path: Path) -> None:
    trained(tmp_path / "w", spec())
    size = read_head("mood", spec(), tmp_path / "w").bytes
    pool = HeadPool(3 * size)
    heads = [PooledHead(f"head{i}", spec(), tmp_path / "w", pool) for i in range(5)]
    for head in heads:
        pool.get(head)
    assert [bool(head.memory_bytes) for head in heads] == [False, False, True, True, True]
    pool.get(heads[2])
    pool.get(heads[0])
    assert [bool(head.memory_bytes) for head in heads] == [True, False, True, False, True]
    assert pool.bytes == 3 * size
    for head in heads:
        head.free()
        head.free()
    assert pool.bytes == 0


def test_head_larger_than_the_limit_is_served(tmp_path: Path) -> None:
    trained(tmp_path / "w", spec())
    pool = HeadPool(1)
    head = PooledHead("mood", spec(), tmp_path / "w", pool)
    assert head.run(np.zeros((1, WIDTH), np.float32), items(1))["logits"].shape == (1, CLASSES)


@pytest.mark.parametrize("fault", ["gone", "text", "missing", "extra", "shape"])
def test_head_file_that_does_not_fit_its_card_is_rejected(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "w"
    trained(path, spec())
    arrays = {
        "head.mean": np.zeros(WIDTH, np.float32),
        "head.scale": np.ones(WIDTH, np.float32),
        "head.out.weight": np.zeros((CLASSES, WIDTH), np.float32),
        "head.out.bias": np.zeros(CLASSES, np.float32),
    }
    if fault == "gone":
        path.unlink()
    elif fault == "text":
        path.write_text("no tensors")
    else:
        if fault == "missing":
            del arrays["head.out.bias"]
        elif fault == "extra":
            arrays["head.more"] = np.zeros(1, np.float32)
        else:
            arrays["head.out.bias"] = np.zeros(CLASSES + 1, np.float32)
        save_arrays(arrays, path)
    with pytest.raises(ConversionFailed, match="its head does not fit its card, or cannot be read") as caught:
        read_head("mood", spec(), path)
    assert str(tmp_path) not in str(caught.value)


def test_feature_head_returns_the_features() -> None:
    features = np.ones((2, 3), np.float32)
    assert FeatureHead().run(features, items(2))[FeatureHead.OUTPUT] is features
