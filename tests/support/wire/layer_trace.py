"""Records which modules of `service/` a request runs through, in every thread, and by which layer each of them is called."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from tests.support.paths import REPOSITORY

ROOT = f"{REPOSITORY}/service/"
LEAVES = frozenset(
    ("errors", "types", "settings", "observability", "rounding", "disk", "folder_walk", "processes", "pb")
)


def module_of(code: CodeType) -> str | None:
    """`wire.calls`; None for code of others, of leaf modules and of generated code. A test's task stands for one of `tasks/`."""
    path = code.co_filename
    if path.startswith(ROOT):
        module = path[len(ROOT) : -len(".py")].replace("/", ".")
        return None if module.partition(".")[0] in LEAVES else module
    return "tasks.fake" if code.co_qualname.startswith("FakeTask.") else None


def layer_of(module: str) -> str:
    return module.partition(".")[0]


@dataclass(frozen=True)
class ModuleCall:
    caller: str | None
    """The nearest module of the service up the stack; None where the event loop, a thread or gRPC called."""
    module: str

    @property
    def crosses(self) -> bool:
        return self.caller is None or layer_of(self.caller) != layer_of(self.module)


@dataclass
class LayerTrace:
    calls: list[ModuleCall] = field(default_factory=list)
    on: bool = False

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        if not self.on or event != "call" or (module := module_of(frame.f_code)) is None:
            return
        above = frame.f_back
        while above is not None and module_of(above.f_code) is None:
            above = above.f_back
        self.calls.append(ModuleCall(None if above is None else module_of(above.f_code), module))

    @property
    def modules(self) -> list[str]:
        """All modules, by first entry."""
        return list(dict.fromkeys(call.module for call in self.calls))

    @property
    def entrances(self) -> list[str]:
        """Modules that were called at least once from outside their layer, by first entry."""
        return list(dict.fromkeys(call.module for call in self.calls if call.crosses))

    @property
    def first_entries(self) -> dict[str, str | None]:
        """Layer → the layer from which it was first entered."""
        found: dict[str, str | None] = {}
        for call in self.calls:
            found.setdefault(layer_of(call.module), None if call.caller is None else layer_of(call.caller))
        return found


@contextmanager
def traced() -> Iterator[LayerTrace]:
    """Watches this thread, and threads that are started within."""
    trace = LayerTrace()
    before = sys.getprofile()
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
