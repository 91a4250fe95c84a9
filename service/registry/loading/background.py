"""Blocking work outside the event loop, in threads that do not keep the process from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from model_zoo.errors import panics_as_errors

T = TypeVar("T")


def in_daemon(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Runs `work` in a daemon thread: the end of the process does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    threading.Thread(target=_run, args=(work, done, loop), name=name, daemon=True).start()
    return done


def _run(work: Callable[[], T], done: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    try:
        with panics_as_errors():
            outcome = partial(done.set_result, work())
    except Exception as error:
        outcome = partial(done.set_exception, error)
    with suppress(RuntimeError):  # the loop has closed: the result is not needed any more
        loop.call_soon_threadsafe(_settle, done, outcome)
    # An error keeps the frames that it passed through, this frame among them. If this frame kept the error, or the future
    # with the error, objects of those frames, such as the network of a load, would stay in memory until the collector runs.
    del done, outcome


def _settle(done: asyncio.Future[T], outcome: Callable[[], None]) -> None:
    if not done.done():  # it may be cancelled
        outcome()
