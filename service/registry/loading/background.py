"""Work that must not hold up the event loop, in threads that must not hold up the end of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def in_daemon(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Runs `work` in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    threading.Thread(target=_run, args=(work, done, loop), name=name, daemon=True).start()
    return done


def _run(work: Callable[[], T], done: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    try:
        outcome = partial(done.set_result, work())
    except Exception as error:
        outcome = partial(done.set_exception, error)
    with suppress(RuntimeError):  # the loop has closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, done, outcome)
    # An error keeps the frames that it came through, and this one behind them. Did this one keep the error, or the future that
    # it is in, what those frames saw, such as the network of a load, would stay until the collector came by.
    del done, outcome


def _settle(done: asyncio.Future[T], outcome: Callable[[], None]) -> None:
    if not done.done():  # cancelled
        outcome()
