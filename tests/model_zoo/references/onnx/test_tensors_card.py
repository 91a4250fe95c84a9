"""The axes that a file states decide the rows that callers send, and what of them is not stated is asked for."""

from __future__ import annotations

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import Given
from model_zoo.references.onnx.facts import OnnxFacts, OnnxTensor
from model_zoo.references.onnx.tensors_card import output_specs, plan_inputs

Axes = tuple[int | str, ...] | None


def facts(*inputs: Axes, outputs: tuple[Axes, ...] = (("n", 2),)) -> OnnxFacts:
    def tensors(prefix: str, axes: tuple[Axes, ...]) -> tuple[OnnxTensor, ...]:
        return tuple(OnnxTensor(name=f"{prefix}{i}", datatype="FP32", axes=one) for i, one in enumerate(axes))

    return OnnxFacts(
        inputs=tensors("x", inputs), outputs=tensors("y", outputs), parameters=1, family="mlp", opset=20, producer=""
    )


LONG = Given(settings={"max_length": "9"})


@pytest.mark.parametrize(
    ("inputs", "shapes", "because"),
    [
        ((("n", 4),), [(-1, 4)], ""),
        ((("n",), ("m", 2)), [(-1,), (-1, 2)], ""),
        (((1, 4),), [(-1, 4)], "the file fixes the first axis of 'x0' at 1"),
        ((("n", 4), (1, 3)), [(-1, 4), (-1, 3)], "the file fixes the first axis of 'x1' at 1"),
        ((("n", "steps"),), [(-1, -1)], "the size of the axis 'steps' may differ from row to row"),
    ],
)
def test_first_axis_counts_rows(inputs: tuple[Axes, ...], shapes: list[tuple[int, ...]], because: str) -> None:
    plan = plan_inputs("onnx:file", facts(*inputs), LONG)
    assert [spec.shape for spec in plan.specs] == shapes
    assert plan.single_rows_because == because


def test_only_axes_that_vary_have_a_bound() -> None:
    assert plan_inputs("onnx:file", facts(("n", 4)), LONG).recipe.max_length is None
    recipe = plan_inputs("onnx:file", facts(("n", 4, "steps"), ("n", 4)), LONG).recipe
    assert (recipe.max_length, recipe.axes) == (9, {"x0": ("", "steps")})


@pytest.mark.parametrize(
    ("inputs", "outputs", "cut"),
    [
        ({"ids": ("n", "t"), "attention_mask": ("n", "t")}, (("n", 2),), ()),
        ({"ids": ("n", "t", 3), "attention_mask": ("m", "t"), "level": ("n", 3)}, (("n", "t", 2), ("n",)), ("y0",)),
        ({"ids": ("n", "t"), "attention_mask": ("n", "u")}, (("n", 2),), None),
        ({"ids": ("n", "t", "t"), "attention_mask": ("n", "t")}, (("n", 2),), None),
        ({"ids": ("n", "t"), "attention_mask": ("n", "t")}, (("n", 2, "t"),), None),
        ({"ids": ("n", "t"), "mask": ("n", "t")}, (("n", 2),), None),
        ({"ids": (1, "t"), "attention_mask": (1, "t")}, (("n", 2),), None),
    ],
)
def test_rows_may_be_padded_where_all_have_the_length_of_the_mask(
    inputs: dict[str, Axes], outputs: tuple[Axes, ...], cut: tuple[str, ...] | None
) -> None:
    named = tuple(OnnxTensor(name=name, datatype="INT64", axes=axes) for name, axes in inputs.items())
    plan = plan_inputs("onnx:file", facts(outputs=outputs).model_copy(update={"inputs": named}), LONG)
    assert (plan.recipe.mask, plan.recipe.cut) == (("", ()) if cut is None else ("attention_mask", cut))
    assert (plan.single_rows_because == "") == (cut is not None)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((None,), "has axes that the file does not state"),
        (((),), "has no axis"),
        (((2, 4),), "is fixed at 2"),
        ((("n", 4), ("m", "n")), "'n' counts rows and is a further axis of the input 'x1'"),
    ],
)
def test_axes_that_no_rows_fit_are_refused(inputs: tuple[Axes, ...], words: str) -> None:
    with pytest.raises(NotDerivable, match=words):
        plan_inputs("onnx:file", facts(*inputs), LONG)


def test_greatest_size_of_an_axis_is_asked_for() -> None:
    with pytest.raises(NotDerivable) as asked:
        plan_inputs("onnx:file", facts(("n", "steps")), Given())
    assert asked.value.option == "its greatest size by --set max_length=N"


def test_outputs_have_the_sizes_that_are_stated_and_seen() -> None:
    stated = facts(("n", 4), outputs=(("n", 2), ("n", "steps"), None, ("n", 3)))
    seen = [
        {"y0": (1, 2), "y1": (1, 8), "y2": (1, 5, 6), "y3": (1, 4)},
        {"y0": (1, 2), "y1": (1, 8), "y2": (1, 5, 6), "y3": (1, 4)},
    ]
    assert [spec.shape for spec in output_specs(stated, seen)] == [(-1, 2), (-1, -1), (-1, -1, -1), (-1, -1)]
