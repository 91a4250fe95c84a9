"""All models by name: lookup, state changes and the notification of listeners. Nothing is loaded here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from model_zoo.cards.card import Card
from model_zoo.similar_names import similar_names
from service.engine.served_head import Served
from service.engine.served_model import ServedModel
from service.errors import IllegalMove, InvalidInput, NotFound
from service.observability.recorder import Recorder
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_record import ModelRecord
from service.registry.model_status import ModelStatus
from service.registry.model_version import ModelVersion, not_ready
from service.registry.states import ModelState, check_move
from service.settings import ModelOptions

NO_OPTIONS = ModelOptions()


class ModelTable:
    """Owns the records of all models. All methods belong to the event loop, except where they say otherwise."""

    def __init__(
        self,
        recorder: Recorder,
        ledger: Ledger,
        why_damaged: Callable[[str], str | None] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`why_damaged` says why nothing can be read of a model that is not in the table. `clock` is the event loop's."""
        self._recorder = recorder
        self._ledger = ledger
        self._why_damaged = why_damaged
        self._clock = clock
        self._records: dict[str, ModelRecord] = {}
        self._statuses: dict[str, ModelStatus] = {}  # computed at every change, read at every call
        self.on_change: list[Callable[[str, ModelState], None]] = []
        """Called on the loop after a model has entered a state."""

    # ── lookup ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def get(self, name: str) -> ModelRecord | None:
        """A model's record; None for an unknown name. From any thread."""
        return self._records.get(name)

    def record(self, name: str) -> ModelRecord:
        """A model's record. Raises NotFound."""
        record = self._records.get(name)
        if record is None:
            raise self._unknown(name)
        return record

    def tuned(self, name: str) -> ModelRecord:
        """The record of a tuned model. Raises NotFound, and IllegalMove for a model of the zoo."""
        record = self.record(name)
        if not record.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo: it has version 1, which is 'stable'")
        return record

    def version(self, name: str, version: str = "") -> ModelVersion:
        """The version of a number or an alias, the primary version without one; the canary's share does not count."""
        record = self.record(name)
        return record.find(version) if version else record.primary

    def records(self) -> list[ModelRecord]:
        """All models, in order of name."""
        return list(self._records.values())

    def tuned_records(self) -> list[ModelRecord]:
        """All tuned models, in order of name."""
        return [record for record in self._records.values() if record.tuned]

    def versions(self) -> Iterator[ModelVersion]:
        """All versions of all models."""
        return (version for record in self._records.values() for version in record.versions.values())

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, name: str, version: str = "") -> Served:
        """The loaded model that answers a call (number, alias, or empty for `stable`, or for the canary in its turn).

        Raises NotFound for an unknown name or version, NotReady where it does not answer now.
        """
        return self.admit(self.record(name).pick(version))

    def admit(self, version: ModelVersion) -> Served:
        """What serves a version; the version counts as used now. Raises NotReady."""
        if version.served is None:
            raise not_ready(version)
        version.last_used = self._clock()
        if version.base is not None:
            version.base.last_used = version.last_used
        return version.served

    def splits(self, name: str) -> bool:
        """Whether calls that name no version are split between two versions: each call may be resolved once only."""
        record = self._records.get(name)
        return record is not None and record.active.canary_share > 0.0

    def default_deadline(self, version: ModelVersion) -> float:
        """The deadline of a call without one that arrives now, on the registry's clock."""
        return self._clock() + (version.options.default_timeout_ms or 0.0) / 1000.0

    def serves(self, served: Served) -> bool:
        """Whether this load of its version answers now. From any thread."""
        version = self.version_of(served)
        return version is not None and version.served is served

    def version_of(self, served: Served) -> ModelVersion | None:
        """The version that a loaded model was loaded for. From any thread."""
        record = self._records.get(served.name)
        return None if record is None else record.versions.get(served.version)

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def status(self, name: str, version: str = "") -> ModelStatus:
        """The state of a model, or of one version of it. Raises NotFound for an unknown name or version.

        Without a version, a model without a stable version has a status as well.
        """
        record = self.record(name)
        if not version:
            return self._statuses[name]
        found = record.find(version)
        return self._statuses[name] if found is record.primary else record.status(self._ledger, found)

    def statuses(self) -> list[ModelStatus]:
        """All models, in order of name."""
        return [self._statuses[name] for name in self._records]

    @property
    def rows_in_flight(self) -> int:
        """Rows inside all networks, those of heads on them included."""
        return sum(v.served.rows_in_flight for v in self.versions() if isinstance(v.served, ServedModel))

    # ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, record: ModelRecord) -> None:
        """Adds a model. Listeners are not told of its first state."""
        self._records[record.name] = record
        self._records = dict(sorted(self._records.items()))
        self.refresh(record)
        self._notify(record)

    def remove(self, record: ModelRecord) -> None:
        """Removes a model, if this record is still the model's."""
        if self._records.get(record.name) is record:
            del self._records[record.name], self._statuses[record.name]
            self._recorder.model_gone(record.name, tuple(ModelState))

    def version_removed(self, version: ModelVersion) -> None:
        """A version was removed from its record."""
        self._recorder.version_gone(version.name, version.number)

    def move(self, version: ModelVersion, state: ModelState, reason: str) -> None:
        """Moves a version to a state. The states of the heads that it carries change with it."""
        check_move(version.name, version.state, state)
        if version.state is ModelState.LOADING and state is ModelState.UNAVAILABLE:
            self._recorder.model_load_failed(version.name, version.number)
        version.state, version.reason = state, reason
        for name in dict.fromkeys([version.name, *(head.name for head in version.heads)]):
            self.changed(self._records[name])

    def changed(self, record: ModelRecord) -> None:
        """Something of a model has changed: observers follow, then the status, then listeners."""
        if record.observer is not None:  # a version that was loaded again is observed again
            record.observer.attach()
        self.refresh(record)
        self._notify(record)

    def refresh(self, record: ModelRecord) -> None:
        """Computes a model's status again."""
        self._statuses[record.name] = record.status(self._ledger)

    def _notify(self, record: ModelRecord) -> None:
        """Tells listeners the model's state if they know another one."""
        state = self._statuses[record.name].state
        if state is record.reported_state:
            return
        first, record.reported_state = record.reported_state is None, state
        self._recorder.model_state(record.name, str(state), tuple(ModelState))
        if not first:
            for listener in self.on_change:
                listener(record.name, state)

    def _unknown(self, name: str) -> NotFound:
        why = self._why_damaged(name)
        if why is not None:
            return NotFound("model", name, known=why)
        return NotFound(
            "model", name[:64], similar_names(name, self._records), known=f"models are {', '.join(self._records)}"
        )


def numbered(record: ModelRecord, number: int, field: str = "version") -> ModelVersion:
    """The version of a number that a caller gave in `field`. Raises InvalidInput, and NotFound, which lists the versions."""
    if number not in record.versions:
        if number < 1:
            raise InvalidInput(field, f"expected the number of a version, got {number}")
        return record.find(str(number))
    return record.versions[number]


def catalog_records(
    cards: Mapping[str, Card],
    defaults: Callable[[Card], ModelOptions],
    given: Mapping[str, ModelOptions],
    *,
    reloads_on_call: bool,
) -> Iterator[ModelRecord]:
    """Records of the catalog's models, in order of name."""
    for name, card in sorted(cards.items()):
        options = given.get(name, NO_OPTIONS)
        version = ModelVersion(card, defaults(card), options, reloads_on_call)
        yield ModelRecord(name, options, [version], tuned=False)
