"""The begin and the failure of a load. A failure is kept with its version: later callers get the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from service.errors import IllegalMove, MemoryFull, NotReady
from service.observability.log import logger
from service.registry.model_table import ModelTable
from service.registry.model_version import MemoryShortage, ModelVersion
from service.registry.states import ModelState

log = logger(__name__)


def begin_load(
    table: ModelTable, version: ModelVersion, load: Callable[[ModelVersion], Coroutine[Any, Any, None]]
) -> asyncio.Task[None]:
    """Has a version loaded, unless it is loaded or being loaded; the task ends in every case and never raises.

    Raises IllegalMove for a version that is being deleted, or that is being unloaded.
    """
    if version.deleting:
        raise IllegalMove(f"{version.title} is being deleted")
    if version.loading is None or (version.loading.done() and version.state is not ModelState.READY):
        version.shortage = None
        table.move(version, ModelState.LOADING, "")
        version.loading = asyncio.create_task(load(version), name=f"load-{version.key}")
    return version.loading


@contextmanager
def recording_failure(table: ModelTable, version: ModelVersion) -> Iterator[None]:
    """A load that fails in the block makes its version UNAVAILABLE with the reason; the error goes no further."""
    fields = {"model": version.name, "version": version.number}
    try:
        yield
    except MemoryFull as error:  # there may be memory at the next call
        log.warning("there is no memory for a model", **fields, reason=error.message)
        version.shortage = MemoryShortage(error.message, error.retry_after_s)
        table.move(version, ModelState.UNAVAILABLE, error.message)
    except NotReady as error:
        log.error("model is unavailable", **fields, reason=error.message)
        _fail(table, version, error.message)
    except Exception:  # the loader promises NotReady; a model must not stay LOADING for ever where the loader is wrong
        log.exception("loading failed", **fields)
        _fail(table, version, "loading failed; the server's log has the details")


def _fail(table: ModelTable, version: ModelVersion, reason: str) -> None:
    version.reloads_on_call = False  # a broken model stays unloaded until a user loads it
    table.move(version, ModelState.UNAVAILABLE, reason)
