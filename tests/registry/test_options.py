"""Options of a model: the value in effect, changes while it serves, and the error of a wrong one."""

import asyncio
from typing import Any

import pytest

from model_zoo.catalog import Catalog
from service.errors import InvalidInput, NotFound, QueueFull
from service.registry.options import defaults_for, in_effect, limits_of
from service.registry.states import ModelState
from service.settings import ModelOptions, Settings
from tests.support.registry_fakes import world
from tests.support.scheduler_fakes import until

CNN = Catalog.from_package().get("efficientnet_lite0")


def test_options_not_given_for_a_model_are_the_server_defaults(clean_environment: pytest.MonkeyPatch) -> None:
    defaults = defaults_for(Settings(max_queue_delay_ms=3, default_timeout_ms=500), "cpu", CNN)
    assert (defaults.max_queue_delay_ms, defaults.default_timeout_ms, defaults.weight) == (3, 500, 1)
    assert defaults.max_batch_size == CNN.batching.cpu_batch_size
    limits = limits_of(in_effect(defaults, ModelOptions(weight=2, default_timeout_ms=250)))
    assert (limits.weight, limits.default_timeout_s, limits.max_queue_delay_s) == (2, 0.25, 0.003)
    assert all(value is not None for value in defaults.model_dump().values())


@pytest.mark.parametrize(
    ("wanted", "device", "most"),
    [
        (0, "cpu", CNN.batching.cpu_batch_size),
        (0, "cuda:0", CNN.batching.max_batch_size),
        (4096, "cpu", CNN.batching.max_batch_size),
        (1, "cpu", 1),
    ],
)
def test_batch_size_option_above_the_card_limit_is_refused(
    clean_environment: pytest.MonkeyPatch, wanted: int, device: str, most: int
) -> None:
    assert defaults_for(Settings(max_batch_size=wanted), device, CNN).max_batch_size == most


@pytest.mark.asyncio
async def test_new_batch_limit_applies_to_the_next_batch() -> None:
    async with world(max_batch_size=4) as w:
        w.runtime().gate.clear()
        first = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: w.runtime().batches)
        rest = asyncio.create_task(w.inference.infer(w.request(*"234567")))
        await until(lambda: w.model().queue_depth == 6)
        status, later = w.registry.set_options("adder", {"max_batch_size": 2})
        w.runtime().gate.set()
        await asyncio.gather(first, rest)
        assert [len(batch) for batch in w.runtime().batches] == [1, 2, 2, 2]
        assert (status.max_batch_size, status.options.max_batch_size, later) == (2, 2, ())


@pytest.mark.asyncio
async def test_new_queue_limit_applies_to_the_next_call() -> None:
    async with world(max_queue_size=64) as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: w.runtime().batches)
        w.registry.set_options("adder", {"max_queue_size": 1})
        with pytest.raises(QueueFull, match="limit is 1"):
            await w.inference.infer(w.request("2"))
        w.registry.set_options("adder", {"max_queue_size": None})
        again = asyncio.create_task(w.inference.infer(w.request("2")))
        w.runtime().gate.set()
        await asyncio.gather(inside, again)


@pytest.mark.asyncio
async def test_options_survive_a_reload_and_may_be_set_before_a_load() -> None:
    async with world(load=False) as w:
        w.registry.set_options("adder", {"max_batch_size": 2, "weight": 3})
        await w.registry.load("adder")
        assert (w.model().limits.max_batch_size, w.model().limits.weight) == (2, 3)
        await w.registry.unload("adder")
        await w.registry.load("adder")
        assert w.model().limits.max_batch_size == 2
        status, _ = w.registry.set_options("adder", {"max_batch_size": None})
        assert status.options.max_batch_size == 4
        assert status.options.weight == 3


@pytest.mark.asyncio
async def test_build_option_of_a_loaded_model_takes_effect_at_the_next_load() -> None:
    async with world() as w:
        _, later = w.registry.set_options("adder", {"precision": "bf16", "optimize": "off", "weight": 2})
        assert later == ("precision",), "optimize was off before"
        await w.registry.unload("adder")
        _, later = w.registry.set_options("adder", {"precision": "fp32"})
        assert later == (), "the next load is the first to come"


WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"wieght": 2}, "options.wieght", "no such option; did you mean 'weight'?"),
    ({"qqq": 2}, "options.qqq", "no such option; options are max_batch_size, "),
    ({"weight": 0}, "options.weight", "expected a number greater than 0, got 0"),
    ({"weight": float("nan")}, "options.weight", "got nan"),
    ({"weight": "heavy"}, "options.weight", "expected a valid number, got 'heavy'"),
    ({"max_batch_size": 0}, "options.max_batch_size", "expected a number greater than or equal to 1, got 0"),
    ({"max_batch_size": 5000}, "options.max_batch_size", "expected a number less than or equal to 4096, got 5000"),
    ({"max_batch_size": 5}, "options.max_batch_size", "expected 1 to 4, which is the card's limit, got 5"),
    ({"max_queue_delay_ms": -1}, "options.max_queue_delay_ms", "greater than or equal to 0, got -1"),
    ({"precision": "fp8"}, "options.precision", "expected 'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
    ({"optimize": "on"}, "options.optimize", "expected 'auto' or 'off', got 'on'"),
    ({"pinned": "maybe"}, "options.pinned", "expected a valid boolean, got 'maybe'"),
    ({"precision": "x" * 100_000}, "options.precision", "got 'xxx"),
    ({"x" * 100_000: 1}, "options.xxx", "no such option"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("changes", "field", "problem"), WRONG)
async def test_wrong_option_is_named_and_changes_nothing(changes: dict[str, Any], field: str, problem: str) -> None:
    async with world() as w:
        before = w.registry.status("adder").options
        with pytest.raises(InvalidInput) as caught:
            w.registry.set_options("adder", {"max_queue_size": 7, **changes})
        assert caught.value.field.startswith(field)
        assert problem in caught.value.problem
        assert len(caught.value.message) < 400
        assert w.registry.status("adder").options == before
        assert w.registry.status("adder").state is ModelState.READY


@pytest.mark.asyncio
async def test_options_of_an_unknown_model_are_refused_with_near_names() -> None:
    async with world() as w:
        with pytest.raises(NotFound, match="did you mean 'adder'"):
            w.registry.set_options("ader", {"weight": 2})
