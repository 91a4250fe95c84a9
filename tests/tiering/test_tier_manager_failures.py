"""Failures and unloads while networks are made faster harm neither the next candidate nor other models."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from service.registry.loading.memory_ledger import MIB, Ledger
from service.registry.states import ModelState
from service.runtime.compilers.compiled_cache import CannotCompile
from tests.support.registry.fakes import PATIENCE_S
from tests.support.registry.tier_fakes import (
    Clock,
    Network,
    Processes,
    TieredWorld,
    tiered,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

FAILED = "the attempt failed; the server's log says why"


# ── candidates that raise ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_failed_attempt_keeps_the_network() -> None:
    async with tiered(start=False) as it:
        it.compiler.offers["fp32"] = RuntimeError("secret in /a/path")
        it.tiers.start()
        got = await it.outcome()
        assert (got.candidate, got.reason) == ("fake fp32", FAILED)
        assert await it.ask("1") == 3.0


async def test_candidate_with_failing_batches_is_followed_by_the_next() -> None:
    async with tiered(has_bf16=True, start=False) as it:
        it.compiler.offers["bf16"] = broken = Network(it.clock, 0.002, "bf16")
        broken.fails = RuntimeError("the compiled network failed at Run; standard error says why")
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert it.report.precision == "fp32"
        assert broken.freed
        assert await it.ask("1") == 3.0


async def test_candidate_with_failing_batches_lets_the_network_move_to_processes() -> None:
    there = Network(Clock(), 0.010)
    async with tiered(start=False, processes=Processes(there)) as it:
        it.after.fails = RuntimeError("the compiled network failed at Run; standard error says why")
        it.tiers.start()
        await until(lambda: it.report.processes == 2)
        got = it.report
        assert (got.tier, got.candidate, got.compile_s, got.reason) == ("eager", "fake fp32", 12.5, FAILED)
        assert it.after.freed
        assert await it.ask("1") == 3.0


async def test_failed_move_keeps_the_network_and_its_report() -> None:
    there = Network(Clock(), 0.010)
    there.fails = RuntimeError("a lane's process is no more")
    async with tiered(start=False, processes=Processes(there)) as it:
        it.compiler.offers["fp32"] = CannotCompile("no compiler")
        it.tiers.start()
        await until(lambda: there.freed)
        assert (it.report.reason, it.report.processes) == ("no compiler", 0)
        assert await it.ask("1") == 3.0


async def test_attempt_that_the_stop_of_the_server_ends_is_not_logged_as_an_error() -> None:
    there = Network(Clock(), 0.010)
    with capture_logs() as lines:
        async with tiered(start=False, processes=Processes(there)) as it:

            def end(*_: object) -> dict[str, Any]:
                it.tiers.stop()
                raise RuntimeError("the process was killed")

            there.run = end  # type: ignore[method-assign]
            it.compiler.offers["fp32"] = CannotCompile("no compiler")
            it.tiers.start()
            await until(lambda: there.freed)
            await until(lambda: not it.tiers._thread.is_alive())
    assert not [line for line in lines if line["log_level"] == "error"]


# ── models that come and go ───────────────────────────────────────────────────────────────────────────────────────────


async def test_model_tried_immediately_moves_to_processes() -> None:
    """The tiering thread may be faster than the event loop that passes it the model."""
    asked = threading.Event()

    class Told(Processes):
        def open(self, card: Any, precision: str) -> Any:
            asked.set()
            return super().open(card, precision)

    there = Network(Clock(), 0.010)
    async with tiered(optimize="off", processes=Told(there)) as it:
        await until(lambda: it.report.processes == 2)
        asked.clear()
        put = it.tiers._work.put

        class Slow:
            get = it.tiers._work.get

            def put(self, work: Any) -> None:
                put(work)
                if work is not None:
                    assert asked.wait(PATIENCE_S)

        cast(Any, it.tiers)._work = Slow()
        it.before = Network(it.clock, 0.010)
        await it.world.registry.unload("adder")
        assert (await it.world.registry.load("adder")).state is ModelState.READY


async def test_model_unloaded_before_its_turn_is_freed() -> None:
    async with tiered(start=False) as it:
        it.compiler.gate.clear()
        it.tiers.start()
        await until(lambda: bool(it.compiler.asked))  # the first load's turn, which takes long
        await it.world.registry.unload("adder")
        await it.world.registry.load("adder")
        waits = weakref.ref(it.world.model())
        await it.world.registry.unload("adder")
        await until(lambda: waits() is None)


# ── measured memory of other models ───────────────────────────────────────────────────────────────────────────────────


class Device:
    """Its memory, as the ledger reads it."""

    def __init__(self) -> None:
        self.held = 1000 * MIB

    def __call__(self) -> int:
        return self.held

    def grows(self, mib: int) -> None:
        self.held += mib * MIB


async def load_meanwhile(it: TieredWorld, device: Device, meanwhile: Callable[[], Any], mib: int = 0) -> int:
    """Loads "second", which takes `mib` beside its weights, around something else. Returns the memory beside the weights
    according to the ledger."""
    loader, registry = it.world.loader, it.world.registry
    loader.gate.clear()
    loading = asyncio.create_task(registry.load("second"))
    await asyncio.to_thread(loader.entered.acquire, timeout=PATIENCE_S)
    await meanwhile()
    device.grows(mib)
    loader.gate.set()
    await loading
    held = registry.ledger.holding("second")
    assert held is not None
    return held.beside


async def test_load_during_a_compiled_load_does_not_count_its_memory() -> None:
    device = Device()
    async with tiered(start=False, names=("adder", "second"), ledger=Ledger(device)) as it:
        it.compiler.loads = lambda: device.grows(70)

        async def meanwhile() -> None:
            it.tiers.start()
            await it.outcome()

        assert await load_meanwhile(it, device, meanwhile) == 0


async def test_load_during_checks_and_swap_does_not_count_their_memory() -> None:
    device = Device()
    async with tiered(start=False, names=("adder", "second"), ledger=Ledger(device)) as it:
        it.after.gate.clear()
        it.tiers.start()
        await until(it.after.entered.is_set)

        async def meanwhile() -> None:
            device.grows(70)

        assert await load_meanwhile(it, device, meanwhile) == 0
        it.after.gate.set()
        assert (await it.outcome()).tier == "compiled"


async def test_load_during_a_move_does_not_count_freed_memory() -> None:
    device = Device()
    there = Network(Clock(), 0.010)
    there.gate.clear()
    async with tiered(
        optimize="off", names=("adder", "second"), ledger=Ledger(device), processes=Processes(there)
    ) as it:
        await until(there.entered.is_set)

        async def meanwhile() -> None:
            device.grows(70)
            there.gate.set()
            await until(lambda: it.report.processes == 2)

        assert await load_meanwhile(it, device, meanwhile) == 0


async def test_load_during_a_compilation_is_measured() -> None:
    device = Device()
    async with tiered(start=False, names=("adder", "second"), ledger=Ledger(device)) as it:
        it.compiler.gate.clear()
        it.tiers.start()

        async def meanwhile() -> None:
            await until(lambda: bool(it.compiler.asked))

        assert await load_meanwhile(it, device, meanwhile, mib=70) > 69 * MIB


@pytest.mark.parametrize("offer", [CannotCompile("no compiler"), RuntimeError("broken")])
async def test_load_after_a_failed_attempt_is_measured(offer: Exception) -> None:
    device = Device()
    async with tiered(start=False, names=("adder", "second"), ledger=Ledger(device)) as it:
        it.compiler.offers["fp32"] = offer
        it.tiers.start()
        await it.outcome()

        async def meanwhile() -> None:
            pass

        assert await load_meanwhile(it, device, meanwhile, mib=70) > 69 * MIB
