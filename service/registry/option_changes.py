"""Options of a model that change while it serves."""

from __future__ import annotations

from collections.abc import Mapping

from service.observability.log import logger
from service.registry.model_status import ModelStatus
from service.registry.model_table import ModelTable
from service.registry.model_version import fp32_name
from service.registry.options import AT_NEXT_LOAD, changed, changed_names, in_effect, limits_of
from service.registry.states import ModelState
from service.settings import ModelOptions

log = logger(__name__)

NOT_SHARED = ("precision", "pinned")
"""Options that an fp32 runtime does not take from its base."""


class OptionChanges:
    """Owns the options that were given for single models. All methods belong to the event loop."""

    def __init__(self, table: ModelTable, given: dict[str, ModelOptions]) -> None:
        self._table = table
        self._given = given

    def set(self, name: str, changes: Mapping[str, object]) -> tuple[ModelStatus, tuple[str, ...]]:
        """Changes options of all versions of a model while it serves; None returns an option to its default.

        Returns the status, and the names of those options that take effect only at the next load.
        Raises NotFound; InvalidInput that names the option, and then nothing has changed.
        """
        record = self._table.record(name)
        given = record.given
        for version in record.versions.values():  # an option that one version's card forbids is refused for all
            given = changed(version.card, record.given, changes)
        record.given = self._given[name] = given
        before = record.primary.options
        for version in record.versions.values():
            version.options = in_effect(version.defaults, given)
            if version.served is not None:
                version.served.set_limits(limits_of(version.options))
        self._table.refresh(record)
        beside = self._table.get(fp32_name(name))
        if beside is not None:
            self.set(beside.name, {option: value for option, value in changes.items() if option not in NOT_SHARED})
        primary = record.primary
        log.info("options changed", model=name, options=primary.options.model_dump())
        loaded = primary.state is not ModelState.UNAVAILABLE
        later = changed_names(before, primary.options, AT_NEXT_LOAD) if loaded else ()
        return self._table.status(name), later
