"""Which requests are traced: settings that can change while the server runs, for all models and for single ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from service.observability.tracing.trace_context import (
    Metadata,
    TraceContext,
    has_traceparent,
    new_trace_id,
    trace_context,
)

UNLIMITED = -1
"""A count that never ends."""


class Remaining:
    """How many traces may still be made; counts down. Models without a count of their own share one."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def take(self) -> bool:
        """Takes one, if there is one."""
        if not self.count:
            return False
        if self.count > 0:
            self.count -= 1
        return True


@dataclass(frozen=True, slots=True)
class TracePolicy:
    """The settings in effect for a model."""

    on: bool
    """Whether requests are traced at all."""
    ratio: float
    """Share of the requests without `traceparent` that are traced, 0..1. The others follow the flag that their caller sent."""
    remaining: Remaining = field(default_factory=lambda: Remaining(UNLIMITED))


@dataclass(frozen=True, slots=True)
class TraceChanges:
    """New values; None leaves a setting as it is."""

    on: bool | None = None
    ratio: float | None = None
    count: int | None = None


SETTINGS = tuple(each.name for each in fields(TraceChanges))
"""Names of the settings, for `clear`."""


class TraceSettings:
    """Belongs to the event loop, which reads it after every request.

    A model has the values that were set for it, else those that were set for all models, else those of the start.
    """

    def __init__(self, *, on: bool, ratio: float) -> None:
        self._start = TracePolicy(on, ratio)
        self._default = self._start
        self._changes: dict[str, dict[str, bool | float | Remaining]] = {}  # by model; "" are those of all models
        self._models: dict[str, TracePolicy] = {}  # of models with settings of their own

    def policy(self, model: str = "") -> TracePolicy:
        """The settings in effect for a model, or for those without settings of their own."""
        return self._models.get(model, self._default)

    def update(self, model: str, changes: TraceChanges, clear: tuple[str, ...] = ()) -> None:
        """Sets values for a model, or for all with an empty name; `clear` names those that return to what they were without."""
        own = self._changes.setdefault(model, {})
        for name in clear:
            own.pop(_FIELDS[name], None)
        for name, key in _FIELDS.items():
            value = getattr(changes, name)
            if value is not None:
                own[key] = Remaining(value) if name == "count" else value
        if not own:
            del self._changes[model]
        self._default = _changed(self._start, self._changes.get("", {}))
        self._models = {name: _changed(self._default, theirs) for name, theirs in self._changes.items() if name}

    def sample(self, metadata: Metadata, model: str, *, follow: bool = True) -> TraceContext | None:
        """The trace that a request of this model belongs to, and its parent there; None where it is not traced. Without `follow`
        a caller that asks for a trace has a part in the ratio alone, and the trace is a new one."""
        policy = self._models.get(model, self._default) if self._models else self._default
        if not policy.on:
            return None
        context: TraceContext | None = None
        if has_traceparent(metadata):
            context = trace_context(metadata)  # None where it is malformed: as if there were none
            if context is not None and not context.sampled:
                return None
        if context is None or not follow:
            if random.random() >= policy.ratio:  # noqa: S311
                return None
            context = TraceContext(new_trace_id())
        return context if policy.remaining.take() else None


_FIELDS = {"on": "on", "ratio": "ratio", "count": "remaining"}
"""Name of a setting → field of TracePolicy."""


def _changed(policy: TracePolicy, changes: Mapping[str, bool | float | Remaining]) -> TracePolicy:
    return replace(policy, **changes)  # type: ignore[arg-type]  # the keys are its fields
