"""The device that serves, and the division of its cores into lanes."""

import pytest
import torch

from service.runtime.device import DevicePlan, DeviceUnavailable, plan_device


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
@pytest.mark.parametrize("lanes", range(6))
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 64])
def test_cpu_lanes_use_at_most_as_many_threads_as_cores(
    monkeypatch: pytest.MonkeyPatch, wanted: str, lanes: int, cores: int
) -> None:
    gpus(monkeypatch, 0)
    plan = plan_device(wanted, lanes, cores)
    assert plan.name == "cpu"
    assert 1 <= plan.lanes * plan.threads_per_lane <= cores
    if lanes:
        assert plan.lanes == min(lanes, cores)


def test_auto_device_is_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert plan_device("auto", 0, 8).name == "cuda:0"
    assert plan_device("auto", 0, 8).lanes == 1
    assert plan_device("cuda", 2, 8).lanes == 2


def test_cpu_device_is_used_even_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert plan_device("cpu", 1, 4) == DevicePlan("cpu", 1, 4)


@pytest.mark.parametrize(("wanted", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:7", 4)])
def test_missing_gpu_is_rejected_with_the_number_of_gpus(
    monkeypatch: pytest.MonkeyPatch, wanted: str, count: int
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(DeviceUnavailable, match=f"this machine has {count} GPUs"):
        plan_device(wanted, 0, 2)


def test_last_gpu_index_is_one_less_than_the_number_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert plan_device("cuda:1", 0, 2).name == "cuda:1"
