"""The ledger: measured memory, estimates where nothing can be measured, and the choice of victims."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from model_zoo.cards.card import Card
from service.registry.loading.memory_ledger import (
    BYTES,
    MIB,
    NOISE,
    Holding,
    Ledger,
    Measurement,
    freed,
)
from service.runtime.network import SharedPart
from tests.support.registry.fakes import card


class Device:
    """A reading that a test sets."""

    def __init__(self, mib: int | None = 1000) -> None:
        self.now = None if mib is None else mib * MIB

    def grows(self, mib: int) -> None:
        assert self.now is not None
        self.now += mib * MIB

    def __call__(self) -> int | None:
        return self.now


@pytest.fixture
def device() -> Device:
    return Device()


def test_load_is_measured_by_the_growth_of_the_device_reading(device: Device) -> None:
    ledger = Ledger(device)
    load = Measurement(ledger)
    device.grows(70)
    held = ledger.loaded("m", 50 * MIB, load.end(), load.libraries)
    assert (held.weights, held.beside, held.growth, held.total) == (50 * MIB, 20 * MIB, 70 * MIB, 70 * MIB)
    assert (ledger.total, ledger.weights) == (70 * MIB, 50 * MIB)


def test_load_without_a_device_reading_counts_the_weights() -> None:
    ledger = Ledger(Device(None))
    load = Measurement(ledger)
    held = ledger.loaded("m", 500, load.end(), load.libraries)
    assert (held.total, held.growth) == (500, None)


def test_holding_is_never_below_the_weights(device: Device) -> None:
    """Other memory was freed during the load."""
    ledger = Ledger(device)
    load = Measurement(ledger)
    device.grows(-60)
    assert ledger.loaded("m", 500, load.end(), load.libraries).total == 500


def test_growth_below_the_resolution_is_not_counted(device: Device) -> None:
    assert Ledger(device).loaded("m", 500, 500 + NOISE - 1, False).total == 500


@pytest.fixture
def new_library() -> Iterator[None]:
    yield
    sys.modules.pop("library_of_a_test", None)


def test_load_that_imports_a_library_does_not_count_its_memory(device: Device, new_library: None) -> None:
    ledger = Ledger(device)
    load = Measurement(ledger)
    sys.modules["library_of_a_test"] = ModuleType("library_of_a_test")
    device.grows(80)
    held = ledger.loaded("m", 50 * MIB, load.end(), load.libraries)
    assert (held.total, held.growth) == (50 * MIB, 80 * MIB)


def test_overlapping_measurements_are_unknown_and_the_next_one_is_known(device: Device) -> None:
    ledger = Ledger(device)
    first = Measurement(ledger)
    second = Measurement(ledger)
    device.grows(8)
    assert first.end() is None
    assert second.end() is None
    third = Measurement(ledger)
    device.grows(1)
    assert third.end() == MIB


def test_need_is_estimated_by_the_card_first_and_by_measurement_later(device: Device) -> None:
    ledger = Ledger(device)
    small = card("small", parameters=MIB)
    assert ledger.need(small).total == 4 * MIB, "fp32"
    ledger.loaded("small", 4 * MIB, 7 * MIB, False)
    assert ledger.need(small).total == 7 * MIB
    assert ledger.unloaded("small", 6 * MIB) == 7 * MIB
    assert ledger.need(small).total == 6 * MIB, "what came back is what is taken again"
    ledger.loaded("small", 4 * MIB, 7 * MIB, False)
    ledger.unloaded("small", 10)
    assert ledger.need(small).total == 4 * MIB, "a network has its weights, whatever came back"
    assert (ledger.total, ledger.holding("small")) == (0, None)


def test_measured_need_of_one_precision_is_not_used_for_another(device: Device) -> None:
    ledger = Ledger(device)
    net = card("net", parameters=MIB)
    assert ledger.need(net, precision="bf16").total == 2 * MIB
    ledger.loaded("net", 4 * MIB, 7 * MIB, False)
    assert ledger.need(net, precision="bf16").total == 2 * MIB, "loaded in fp32 so far"
    ledger.unloaded("net", None)
    ledger.loaded("net", 2 * MIB, 5 * MIB, False, precision="bf16")
    ledger.unloaded("net", None)
    assert [ledger.need(net, precision=p).total // MIB for p in ("bf16", "auto", "fp32")] == [5, 4, 4]


def test_reweighed_holding_keeps_the_memory_beside_the_weights(device: Device) -> None:
    ledger = Ledger(device)
    ledger.loaded("m", 5 * MIB, 7 * MIB, False)
    held = ledger.reweighed("m", 3 * MIB)
    assert (held.weights, held.total, ledger.total) == (3 * MIB, 5 * MIB, 5 * MIB)


def test_model_swapped_for_a_smaller_tier_needs_its_full_size_at_the_next_load(device: Device) -> None:
    ledger = Ledger(device)
    net = card("net")
    ledger.loaded("net", 90 * MIB, 95 * MIB, False)
    ledger.reweighed("net", 45 * MIB)  # a form in bf16 was swapped in
    ledger.unloaded("net", 50 * MIB)
    assert ledger.need(net).total == 95 * MIB
    ledger.loaded("net", 90 * MIB, 95 * MIB, False)
    ledger.reweighed("net", 90 * MIB)  # looked at, and found as it was
    ledger.unloaded("net", 93 * MIB)
    assert ledger.need(net).total == 93 * MIB


def test_ledger_without_a_budget_misses_nothing(device: Device) -> None:
    ledger = Ledger(device)
    ledger.loaded("m", 10**15, None, False)
    assert ledger.missing(Holding(10**15)) == 0
    assert ledger.to_evict(Holding(10**15), ["m"]) == []


def test_eviction_takes_as_few_models_as_needed_and_none_in_vain(device: Device) -> None:
    ledger = Ledger(device, budget_mib=10)
    for name in ("a", "b", "c"):
        ledger.loaded(name, 3 * MIB, None, False)
    assert ledger.to_evict(Holding(MIB), ["b", "a"]) == []
    assert ledger.to_evict(Holding(2 * MIB), ["b", "a"]) == ["b"]
    assert ledger.to_evict(Holding(5 * MIB), ["b", "a", "c"]) == ["b", "a"]
    assert ledger.to_evict(Holding(10 * MIB), ["b", "a", "c"]) == ["b", "a", "c"]
    assert ledger.to_evict(Holding(10 * MIB), ["b", "a"]) is None
    assert ledger.to_evict(Holding(11 * MIB), ["b", "a", "c"]) is None


def test_unload_reports_the_measured_bytes(device: Device) -> None:
    unload = Measurement(Ledger(device))
    device.grows(-70)
    assert freed(unload, 70 * MIB) == 70 * MIB


def test_weights_in_a_reference_cycle_are_freed_by_the_collector(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.registry.loading.memory_ledger.gc.collect", lambda: device.grows(-70))
    assert freed(Measurement(Ledger(device)), 70 * MIB) == 70 * MIB


def test_load_during_a_collection_does_not_count_collected_memory(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(device)
    loads: list[Measurement] = []

    def collect() -> None:
        loads.append(Measurement(ledger))
        device.grows(-70)

    monkeypatch.setattr("service.registry.loading.memory_ledger.gc.collect", collect)
    unload = Measurement(ledger)
    assert freed(unload, 70 * MIB) is None, "the load may have taken some of it"
    assert loads[0].end() is None
    assert Measurement(ledger).end() == 0, "a measurement after both is known again"


def test_unload_that_frees_nothing_reports_zero_bytes(device: Device) -> None:
    unload = Measurement(Ledger(device))
    device.grows(20)
    assert freed(unload, 70 * MIB) == 0


def test_shared_weights_count_once_until_their_last_model_is_unloaded() -> None:
    ledger = Ledger(budget_mib=100)
    shared = SharedPart("d" * 64, 80 * MIB)
    for name in ("base", "lora1", "lora2"):
        ledger.loaded(name, 82 * MIB, None, False, shared)
    assert ledger.total == ledger.weights == (80 + 3 * 2) * MIB
    assert [ledger.holding(name).own for name in ("base", "lora1")] == [2 * MIB, 2 * MIB]  # type: ignore[union-attr]
    assert ledger.missing(Holding(20 * MIB)) == 6 * MIB
    assert ledger.to_evict(Holding(18 * MIB), ["base", "lora1", "lora2"]) == ["base", "lora1"]
    assert ledger.to_evict(Holding(20 * MIB), ["base", "lora1"]) is None, "the last of them still holds what they share"
    assert ledger.to_evict(Holding(20 * MIB), ["base", "lora1", "lora2"]) == ["base", "lora1", "lora2"]
    ledger.unloaded("base", None)
    assert ledger.total == (80 + 2 * 2) * MIB
    ledger.reweighed("lora1", 82 * MIB, None)  # it holds a copy of its own now
    assert ledger.total == (80 + 2 + 82) * MIB


def lora(mib: int) -> Card:
    """A version that was tuned by LoRA on the base whose weights have the digest dd…d."""
    source = {"kind": "tuned", "base": "base", "base_digest": "d" * 64, "method": "lora", "files": {}}
    return card("lora", parameters=mib * MIB // BYTES["fp32"], source=source)


def test_lora_version_needs_only_its_own_weights_beside_its_base() -> None:
    ledger = Ledger(budget_mib=100)
    version, shared = lora(91), SharedPart("d" * 64, 90 * MIB)
    assert ledger.added(ledger.need(version)) == 91 * MIB, "its base is away"
    ledger.loaded("base", 90 * MIB, None, False, shared)
    assert ledger.added(ledger.need(version)) == MIB, "never loaded before"
    assert ledger.missing(ledger.need(version)) == 0
    ledger.loaded("lora", 91 * MIB, None, False, shared)
    ledger.unloaded("lora", MIB)
    assert ledger.added(ledger.need(version)) == MIB, "loaded before"
    ledger.reweighed("base", 45 * MIB)  # compiled, it has no weights left to share
    assert ledger.missing(ledger.need(version)) == (45 + 91 - 100) * MIB


def test_lora_version_in_reduced_precision_shares_no_weights() -> None:
    ledger = Ledger(budget_mib=100)
    ledger.loaded("base", 90 * MIB, None, False, SharedPart("d" * 64, 90 * MIB))
    assert ledger.added(ledger.need(lora(92), precision="bf16")) == 46 * MIB
    assert ledger.missing(ledger.need(lora(92), precision="bf16")) == 36 * MIB


def test_base_of_a_lora_version_is_evicted_last() -> None:
    ledger = Ledger(budget_mib=100)
    ledger.loaded("base", 90 * MIB, None, False, SharedPart("d" * 64, 88 * MIB))
    ledger.loaded("other", 9 * MIB, None, False)
    need = ledger.need(lora(92))
    assert (ledger.added(need), ledger.missing(need)) == (4 * MIB, 3 * MIB)
    assert ledger.to_evict(need, ["base", "other"]) == ["other"]
    assert ledger.to_evict(need, ["base"]) is None, "what they share stays"


def test_memory_of_heads_counts_in_the_ledger_total() -> None:
    ledger = Ledger(budget_mib=10, heads=lambda: 3 * MIB)
    ledger.loaded("base", 5 * MIB, None, False)
    assert ledger.total == 8 * MIB
    assert ledger.missing(Holding(4 * MIB)) == 2 * MIB
    assert ledger.to_evict(Holding(4 * MIB), ["base"]) == ["base"]
