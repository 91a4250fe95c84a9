"""Finds out whose call it is, before anything of the call is read.

The guard knows most tokens by memory, and answers on the frontend's thread. A token that it does not know is looked up in the
database by the event loop; the call waits unread meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from service.access.authenticator import UnknownToken
from service.access.principal import Principal
from service.errors import NotReady, ServerBusy, ZooError
from service.observability.recorder import Call
from service.wire.access.guard import Guard
from service.wire.calls import to_zoo_error
from service.wire.frontend.calls import AnyCall

MAX_WAITING = 256
"""Calls whose tokens are looked up at once; more are refused."""
RETRY_S = 0.5
"""When a call that was refused for this may try again."""


class Admission:
    """Admits or refuses each call once. Its methods belong to the frontend's thread, unless they say otherwise."""

    def __init__(
        self,
        guard: Guard,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Callable[[Any], None], Any], None],
        refuse: Callable[[AnyCall, ZooError], None],
    ) -> None:
        """`deliver(function, argument)` has the event loop call a function."""
        self._guard = guard
        self._loop = loop
        self._deliver = deliver
        self._refuse = refuse
        self._waiting: set[AnyCall] = set()
        self._found: deque[tuple[AnyCall, Principal | ZooError]] = deque()  # from the event loop to the thread
        self._lookups: set[asyncio.Task[None]] = set()  # on the event loop

    @property
    def due(self) -> bool:
        """Whether a lookup has ended, so that `settle` has work."""
        return bool(self._found)

    def admit(self, call: AnyCall) -> None:
        """Calls the call's `admitted` or refuses it, now or in `settle`."""
        core = call.core
        try:
            call.principal = self._guard.identify_now(call.method, core.metadata, core.name_of_peer)
            self._guard.check_scope(call.method, call.principal)
        except UnknownToken:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.add(call)
                self._deliver(self._look_up, call)
            else:
                self._refuse(call, ServerBusy(RETRY_S))
        except Exception as error:  # must not leave the call without an answer
            self._refuse(call, to_zoo_error(error, call.method, Call()))
        else:
            call.admitted()

    def settle(self) -> None:
        """Admits or refuses the calls whose lookups have ended."""
        while self._found:
            call, found = self._found.popleft()
            if call not in self._waiting:  # the caller has left
                continue
            self._waiting.discard(call)
            if isinstance(found, ZooError):
                self._refuse(call, found)
            else:
                call.principal = found
                call.admitted()

    def forget(self, call: AnyCall) -> bool:
        """The caller has left. Returns whether the call was waiting here."""
        waited = call in self._waiting
        self._waiting.discard(call)
        return waited

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    def _look_up(self, call: AnyCall) -> None:
        task = self._loop.create_task(self._find(call))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _find(self, call: AnyCall) -> None:
        core = call.core
        found: Principal | ZooError = NotReady("the server ended the request; try again")  # where the task is cancelled
        try:
            found = await self._guard.identify(call.method, core.metadata, core.name_of_peer)
            self._guard.check_scope(call.method, found)
        except Exception as error:
            found = to_zoo_error(error, call.method, Call())
        finally:
            self._found.append((call, found))
