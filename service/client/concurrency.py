"""The operations that differ between asyncio and threads, in pairs of the same signature.

`_async/` uses the first of each pair. The generator of `_sync/` replaces it by the second (`scripts/sync_client.py`):

    AsyncLock, AsyncSemaphore   SyncLock, SyncSemaphore
    async_channel               sync_channel
    async_sleep                 sync_sleep
    run_in_thread               run_here             blocking work, such as reading a file
    as_async_iterator           as_iterator          of what a caller gives
    anext                       next                 both are builtins
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

import grpc
import grpc.aio

P = ParamSpec("P")
T = TypeVar("T")

AsyncLock, AsyncSemaphore = asyncio.Lock, asyncio.Semaphore
SyncLock, SyncSemaphore = threading.Lock, threading.Semaphore

async_sleep = asyncio.sleep
sync_sleep = time.sleep


def async_channel(
    target: str, options: list[tuple[str, str | int]], credentials: grpc.ChannelCredentials | None
) -> Any:
    """A channel whose calls are awaited; with credentials it speaks TLS. It belongs to the event loop in which it is made."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


def sync_channel(target: str, options: list[tuple[str, str | int]], credentials: grpc.ChannelCredentials | None) -> Any:
    """A channel whose calls block; with credentials it speaks TLS. Threads may share it."""
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs blocking work beside the event loop."""
    return await asyncio.to_thread(function, *args, **kwargs)


def run_here(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs blocking work in the caller's thread."""
    return function(*args, **kwargs)


async def as_async_iterator(values: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The values of either kind of iterable."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


def as_iterator(values: Iterable[T]) -> Iterator[T]:
    """The values one by one."""
    return iter(values)
