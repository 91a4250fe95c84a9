"""Options change while a model serves."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidInput, NotFound, QueueFull
from service.registry.states import ModelState
from tests.support.registry.fakes import world
from tests.support.registry.tuned_versions import publish
from tests.support.registry.tuned_worlds import served
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio
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
    ({"precision": "fp8"}, "options.precision", "expected 'auto', 'fp32', 'bf16', 'fp16' or 'int8', got 'fp8'"),
    ({"optimize": "on"}, "options.optimize", "expected 'auto' or 'off', got 'on'"),
    ({"pinned": "maybe"}, "options.pinned", "expected a valid boolean, got 'maybe'"),
    ({"precision": "x" * 100_000}, "options.precision", "got 'xxx"),
    ({"x" * 100_000: 1}, "options.xxx", "no such option"),
]
READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


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


async def test_options_apply_to_all_versions_of_a_model(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        for i in (1, 2):
            await w.registry.take("own", publish(tmp_path, "own", float(i), method="full"), gated=False)
        w.registry.set_options("own", {"max_batch_size": 2, "default_timeout_ms": 5000.0})
        for number in ("1", "2"):
            limits = w.registry.resolve("own", number).limits
            assert (limits.max_batch_size, limits.default_timeout_s) == (2, 5.0)
        await w.registry.take("own", publish(tmp_path, "own", 3.0, method="full"), gated=False)
        assert w.registry.resolve("own", "3").limits.max_batch_size == 2
