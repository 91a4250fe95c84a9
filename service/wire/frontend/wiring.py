"""Decides whether the frontend serves the inference methods, and connects it with the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from grpc import aio

from service.errors import Unauthenticated, ZooError
from service.inference import Inference
from service.observability.log import logger
from service.observability.printable import shown_id
from service.observability.recorder import Call, Recorder
from service.runtime.memory import trim_heap
from service.settings import Settings
from service.wire.access.guard import Guard
from service.wire.frontend import probe
from service.wire.frontend.calls import AnyCall, UnaryCall
from service.wire.frontend.core import Unsupported
from service.wire.frontend.frontend import Frontend
from service.wire.status import code_of

log = logger(__name__)

MIB = 1024 * 1024
GIVE_BACK_S = 1.0
"""After the end of a flood. The pages that a batch needs are mapped again at its next run."""


class InferenceMethods(Protocol):
    """Methods that a frontend can serve."""

    def add_to_frontend(self, frontend: Frontend) -> None:
        """Adds them."""


async def is_supported(settings: Settings) -> bool:
    """Whether the frontend serves the inference methods: the settings allow it, and it works with this grpcio. Logs why not."""
    if settings.frontend == "aio":
        return False
    problem = await probe.works(settings.home)
    if problem:
        _log_unsupported(problem)
    return not problem


def make_server(make: Callable[[bool], aio.Server], *, use_frontend: bool) -> aio.Server:
    """A server by `make(use_frontend)`. If that raises Unsupported, one without the frontend."""
    if use_frontend:
        try:
            return make(True)
        except Unsupported as error:
            _log_unsupported(str(error))
    return make(False)


def _log_unsupported(problem: str) -> None:
    log.warning("grpc.aio serves the inference methods: the frontend does not work here", reason=problem)


def make_frontend(
    settings: Settings,
    server: aio.Server,
    recorder: Recorder,
    inference: Inference,
    methods: Sequence[InferenceMethods],
    guard: Guard | None = None,
) -> Frontend:
    """The frontend of a server that has not started, on the running event loop.

    Raises Unsupported where a remembered probe was of another build of the same grpcio. The server cannot be used then.
    """

    def refused(method: str, error: ZooError, call: AnyCall) -> None:
        name, code = method.rpartition("/")[2], code_of(error).name
        recorder.call_finished(Call(), name, code, 0.0)  # a name that a caller chose must not become a label
        if recorder.call_log is not None:
            hint = call.hint if isinstance(call, UnaryCall) and call.hint is not None else ("", "")
            model, version = map(shown_id, hint)
            about = Call(model, version, principal=call.principal.name, reason=error.reason)
            if isinstance(error, Unauthenticated):
                about.peer = call.core.name_of_peer()
            recorder.call_log.call_finished(about, name, code, 0.0)

    loop, limit_bytes = asyncio.get_running_loop(), settings.request_memory_mib * MIB

    def relieved() -> None:
        """Returns the memory of a flood, which the heap would keep: soon, and not amid the last replies."""
        loop.call_soon_threadsafe(loop.call_later, GIVE_BACK_S, loop.run_in_executor, None, trim_heap)

    try:
        frontend = Frontend(server, loop, limit_bytes, guard, inference.refuse_unread, refused, relieved)
        for each in methods:
            each.add_to_frontend(frontend)
    except (AttributeError, TypeError) as error:
        raise Unsupported(f"it fails with {type(error).__name__}") from error
    return frontend
