"""A row's answer does not depend on its neighbours: alone or in a padded batch, within the tolerance on the card."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.types import AudioInstance, ImageInstance, Item, SamplesInstance, TensorInstance, TextInstance
from tests.support.tasks.pictures import encoded, photo
from tests.support.tasks.sounds import speech

pytestmark = pytest.mark.weights

SENTENCES = [
    "Yes.",
    "A cat sleeps on the sofa.",
    "Stocks fell sharply.",
    " ".join(["The quick brown fox jumps over the lazy dog, and then it does so again."] * 8),
    "世界",
    "word " * 600,
    "Colourless green ideas sleep furiously.",
]


def photos(examples: Path) -> list[Any]:
    data = [path.read_bytes() for path in sorted(examples.glob("*.jpg"))]
    assert len(data) >= 3
    cat = photo(examples)
    return [
        ImageInstance(d) for d in [*data, encoded(cat.rotate(90, expand=True), "PNG"), encoded(cat.convert("L"), "PNG")]
    ]


def sentences(examples: Path) -> list[Any]:
    return [TextInstance(text.encode()) for text in SENTENCES]


def recordings(examples: Path) -> list[Any]:
    files = [AudioInstance(path.read_bytes()) for path in sorted(examples.glob("speech*.flac"))]
    assert len(files) >= 2
    samples = speech(examples)
    cuts = [SamplesInstance(samples[a:b], 16_000) for a, b in ((0, 1), (4000, 4000 + 513), (3000, 40_000))]
    noise = np.random.default_rng(0).standard_normal(30_000).astype(np.float32) * 0.1
    return [*files, *cuts, SamplesInstance(noise, 16_000)]


MODELS: list[tuple[str, Callable[[Path], list[Any]]]] = [
    ("efficientnet_lite0", photos),
    ("all_minilm_l6_v2", sentences),
    ("silero_vad", recordings),
    ("mobilenetv2_100", photos),
    ("speaker_lstm", recordings),
    ("char_lstm", sentences),
]
EACH = pytest.mark.parametrize(("name", "instances"), MODELS, ids=[name for name, _ in MODELS])


def prepare(real: Any, instances: Sequence[Any]) -> list[Item]:
    items = real.task.preprocess(instances, [str(i) for i in range(len(instances))])
    assert all(isinstance(item, Item) for item in items)
    return list(items)


def run(real: Any, items: Sequence[Item]) -> list[dict[str, Any]]:
    return list(real.task.split(real.runtime.run(real.task.collate(items)[0]), items))


def assert_same(real: Any, row: dict[str, Any], alone: dict[str, Any]) -> None:
    assert row.keys() == alone.keys()
    for name, expected in alone.items():
        assert row[name].shape == expected.shape
        np.testing.assert_allclose(row[name], expected, rtol=0, atol=real.card.tolerance.max_abs_error, err_msg=name)


@EACH
def test_row_answers_alone_as_in_a_batch(
    served: Callable[[str], Any], examples: Path, name: str, instances: Callable[[Path], list[Any]]
) -> None:
    real = served(name)
    items = prepare(real, instances(examples))
    alone = [run(real, [item])[0] for item in items]
    for order in (range(len(items)), range(len(items) - 1, -1, -1)):
        for i, row in zip(order, run(real, [items[i] for i in order]), strict=True):
            assert_same(real, row, alone[i])


@EACH
def test_whole_batch_answers_as_its_rows_alone(
    served: Callable[[str], Any], examples: Path, name: str, instances: Callable[[Path], list[Any]]
) -> None:
    real = served(name)
    items = prepare(real, instances(examples)[-3:])
    alone = [run(real, [item])[0] for item in items]
    most = real.card.batching.max_batch_size
    chosen = np.random.default_rng(0).integers(0, len(items), most)
    for i, row in zip(chosen, run(real, [items[i] for i in chosen]), strict=True):
        assert_same(real, row, alone[i])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize(("name", "instances"), [MODELS[0], MODELS[2]], ids=["efficientnet_lite0", "silero_vad"])
def test_nan_and_infinity_do_not_affect_other_rows(
    served: Callable[[str], Any], examples: Path, name: str, instances: Callable[[Path], list[Any]], poison: float
) -> None:
    real = served(name)
    items = prepare(real, instances(examples)[-3:])
    alone = [run(real, [item])[0] for item in items]
    (spec,) = real.card.signature.inputs
    shape = [800 if size < 0 else size for size in spec.shape[1:]]
    given = TensorInstance({spec.name: np.full(shape, poison, np.float32)})
    if name == "silero_vad":  # its task refuses such samples; here the network itself is tested
        with pytest.raises(InvalidInput, match=r"^bad\.samples: expected "):
            real.task.row(given, "bad")
        bad = replace(items[0], tensors={spec.name: np.full_like(items[0].tensors[spec.name], poison)})
    else:
        bad = real.task.row(given, "bad")
    rows = run(real, [items[0], bad, items[1], bad, items[2]])
    for i, row in zip((0, 1, 2), rows[::2], strict=True):
        assert_same(real, row, alone[i])
    assert rows[1].keys() == alone[0].keys(), "and it is answered itself, with numbers as they come"


def test_masked_token_does_not_affect_the_answer(served: Callable[[str], Any]) -> None:
    real = served("all_minilm_l6_v2")
    (item,) = prepare(real, [TextInstance(b"A cat sleeps on the sofa.")])
    ids, mask = item.tensors["input_ids"], item.tensors["attention_mask"]
    junk = np.arange(1000, 1100)
    padded = real.task.row(
        TensorInstance({"input_ids": np.concatenate([ids, junk]), "attention_mask": np.concatenate([mask, 0 * junk])}),
        "t",
    )
    assert_same(real, run(real, [padded])[0], run(real, [item])[0])
