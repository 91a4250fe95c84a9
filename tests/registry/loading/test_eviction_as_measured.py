"""The memory budget with models whose memory changes after the load: by a smaller tier, or by shared weights."""

from typing import Any, cast

import pytest

from service.errors import MemoryFull
from service.registry.loading.memory_ledger import MIB, Ledger
from service.registry.states import ModelState
from service.runtime.network import SharedPart
from service.settings import ModelOptions
from tests.support.registry.fakes import FakeRuntime, World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


class Device:
    """A reading of the runtimes of a world, the swapped ones included."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.swapped: list[FakeRuntime] = []

    def __call__(self) -> int:
        made = [] if self.world is None else [self.world.runtime(name) for name in self.world.loader.loaded]
        return sum(runtime.memory_bytes for runtime in [*made, *self.swapped])


async def test_evicted_model_with_a_smaller_tier_is_reloaded_only_if_its_full_size_fits() -> None:
    device = Device()
    given = {"other": ModelOptions(pinned=True)}
    sizes = {"net": 95, "other": 40}
    async with world(mib=sizes, load=False, ledger=Ledger(device, 100), given=given) as w:
        device.world = w
        await w.registry.load("net")
        device.swapped.append(FakeRuntime(45 * MIB))
        w.model("net").use(cast(Any, device.swapped[0]))
        w.registry.refresh("net")
        assert w.registry.ledger.total == 45 * MIB
        gone = await w.registry.unload("net")
        assert (gone.held_bytes, gone.freed_bytes) == (45 * MIB, 45 * MIB)
        await w.registry.load("other")
        with pytest.raises(MemoryFull, match=r"needs 95.0 MiB of the memory budget of 100 MiB"):
            await w.registry.load("net")
        assert w.registry.ledger.total == 40 * MIB


async def test_base_swapped_to_a_faster_tier_evicts_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code shares no weights: the fp32 weights stay in memory for the version."""
    monkeypatch.setattr(FakeRuntime, "shared", SharedPart("d" * 64, 40 * MIB), raising=False)
    sizes = {"base": 40, "lora": 41, "other": 50}
    async with world(mib=sizes, load=False, ledger=Ledger(budget_mib=100)) as w:
        await w.registry.load("lora")
        await w.registry.unload("lora")
        await w.registry.load("other")
        w.runtime("other").shared = None  # type: ignore[attr-defined]
        w.registry.refresh("other")
        for name in ("base", "lora"):
            await w.registry.load(name)
        assert w.registry.ledger.total == 91 * MIB
        compiled: Any = FakeRuntime(40 * MIB)
        compiled.shared = None
        w.model("base").use(compiled)
        w.registry.refresh("base")
        await until(lambda: w.registry.ledger.holding("other") is None)
        assert w.registry.ledger.total == 81 * MIB
        assert w.registry.status("lora").state is ModelState.READY


async def test_version_sharing_the_weights_of_its_base_fits_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier load shows which weights it shares."""
    monkeypatch.setattr(FakeRuntime, "shared", SharedPart("d" * 64, 90 * MIB), raising=False)
    given = {"base": ModelOptions(pinned=True)}
    async with world(mib={"base": 90, "lora": 91}, load=False, ledger=Ledger(budget_mib=100), given=given) as w:
        await w.registry.load("lora")
        await w.registry.unload("lora")
        await w.registry.load("base")
        assert (await w.registry.load("lora")).state is ModelState.READY
        assert w.registry.status("base").state is ModelState.READY
        assert w.registry.ledger.total == 91 * MIB
