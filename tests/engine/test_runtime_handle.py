"""A runtime may be exchanged while batches run: none meets a network that was freed, and none is freed too late."""

from service.engine.runtime_handle import RuntimeHandle


class Runtime:
    device, precision, memory_bytes = "cpu", "fp32", 1

    def __init__(self) -> None:
        self.freed = 0

    def run(self, tensors: object) -> dict[str, object]:
        assert not self.freed
        return {}

    def free(self) -> None:
        self.freed += 1


def test_the_next_batch_runs_in_the_new_runtime() -> None:
    old, new = Runtime(), Runtime()
    slot = RuntimeHandle(old)
    slot.swap(new)
    assert slot.current is new
    with slot.borrow() as runtime:
        assert runtime is new
    assert (old.freed, new.freed) == (1, 0)


def test_old_runtime_is_freed_when_its_last_batch_has_ended() -> None:
    old, new = Runtime(), Runtime()
    slot = RuntimeHandle(old)
    with slot.borrow() as first:
        with slot.borrow() as second:
            slot.swap(new)
            second.run({})
        assert old.freed == 0
        first.run({})
        with slot.borrow() as third:
            assert third is new
    assert (old.freed, new.freed) == (1, 0)


def test_failed_batch_returns_the_borrowed_runtime() -> None:
    old = Runtime()
    slot = RuntimeHandle(old)
    try:
        with slot.borrow():
            raise ValueError
    except ValueError:
        pass
    assert old.freed == 0
    slot.swap(Runtime())
    assert old.freed == 1


def test_runtime_swapped_for_itself_is_not_freed() -> None:
    runtime = Runtime()
    slot = RuntimeHandle(runtime)
    slot.swap(runtime)
    assert runtime.freed == 0
