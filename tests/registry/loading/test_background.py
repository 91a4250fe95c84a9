"""Background work passes its errors with their traceback, and keeps no other object alive."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import Iterator
from typing import Any, cast

import pytest

from model_zoo.cards.card import Card
from service.errors import NotReady
from service.registry.loading.background import in_daemon
from service.registry.loading.loader import Loader
from service.registry.states import ModelState
from tests.support.registry.fakes import world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

TIMES = 100


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Network:
    """The object that a load had created when it failed."""


class Failing(Loader):
    """The real loader, with files that fail to load."""

    def __init__(self, error: Exception) -> None:
        super().__init__(cast(Any, None), "cpu", True, lambda model: lambda done, total, what: None)
        self.error = type(error), error.args
        self.made: list[weakref.ref[Network]] = []

    def _files(self, card: Card) -> Any:
        network = Network()
        self.made.append(weakref.ref(network))
        kind, said = self.error
        raise kind(*said)


class Erring(Failing):
    """A loader that raises other errors than NotReady."""

    def load(self, card: Card, precision: str | None = None) -> Any:
        return self._files(card)


@pytest.mark.parametrize("loader", [Failing(NotReady("no")), Failing(ValueError("no")), Erring(ValueError("no"))])
async def test_hundred_failed_loads_leave_no_reference_cycles(loader: Failing, no_collector: None) -> None:
    async with world(load=False) as w:
        w.load_with(loader)
        for _ in range(TIMES):
            await w.registry.begin_load("adder")
            assert w.registry.status("adder").state is ModelState.UNAVAILABLE
        assert len(loader.made) == TIMES
        await until(lambda: not any(network() for network in loader.made))


async def test_error_of_background_work_keeps_its_traceback() -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        await in_daemon(work, "work")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "work"


async def test_background_work_with_a_builtin_callable_passes_its_error() -> None:
    with pytest.raises(TypeError):
        await in_daemon(cast(Any, len), "work")


async def test_cancelled_background_work_sets_no_result() -> None:
    done = in_daemon(lambda: 7, "work")
    done.cancel()
    with pytest.raises(asyncio.CancelledError):
        await done
