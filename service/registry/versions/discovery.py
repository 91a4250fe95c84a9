"""Tuned versions on disk enter the model table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.version_folder import Version
from service.errors import IllegalMove, InvalidInput
from service.registry.loading.background import in_daemon
from service.registry.model_record import ModelRecord
from service.registry.model_table import NO_OPTIONS, ModelTable
from service.registry.model_version import ModelVersion, runs_on_base
from service.registry.versions.version_folders import VersionFolders
from service.settings import ModelOptions


class Discovery:
    """Adds tuned versions to the table. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        folders: VersionFolders,
        defaults: Callable[[Card], ModelOptions],
        given: Mapping[str, ModelOptions],
    ) -> None:
        """`defaults` has a value for every option of a card's model; `given` are the options given for single models."""
        self._table = table
        self._folders = folders
        self._defaults = defaults
        self._given = given

    async def learn(self, name: str, number: int) -> ModelVersion:
        """A version that was published since the start. Raises NotFound, NotReady; IllegalMove for a name of the zoo."""
        record = self._table.get(name)
        if record is not None and not record.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo, and cannot have versions of yours")
        if record is not None and number in record.versions:
            return record.versions[number]
        return self.add(await in_daemon(partial(self._folders.open, name, number), f"open-{name}:{number}"))

    def add(self, published: Version) -> ModelVersion:
        """Adds a version that was read from disk, if it is not known meanwhile."""
        name, number = published.model, published.number
        record = self._table.get(name)
        if record is None:
            record = self.new_record(name, [published])
            self._table.add(record)
        elif number not in record.versions:
            record.versions[number] = self._version(published, record.given)
            self._table.changed(record)
        return record.versions[number]

    def new_record(self, name: str, published: Collection[Version]) -> ModelRecord:
        """The record of a tuned model, which is not in the table yet."""
        given = self._given.get(name, NO_OPTIONS)
        return ModelRecord(name, given, [self._version(one, given) for one in published], tuned=True)

    def _version(self, published: Version, given: ModelOptions) -> ModelVersion:
        source = published.card.source
        assert isinstance(source, TunedSource)
        base = self._table.get(source.base) if runs_on_base(published.card) else None
        return ModelVersion(
            published.card,
            self._defaults(published.card),
            given,
            reloads_on_call=True,
            published=published,
            base=None if base is None or base.tuned else base.primary,
        )

    def remove(self, record: ModelRecord, version: ModelVersion) -> None:
        """Removes a version, and its model with the last one."""
        record.versions.pop(version.number, None)
        self._table.version_removed(version)
        if record.versions:
            self._table.changed(record)
        else:
            self._table.remove(record)

    def note_damage(self) -> None:
        """Tells every record which of its versions are damaged, so that a caller of one learns the reason."""
        for record in self._table.tuned_records():
            record.damaged = {number: one.clause for number, one in self._folders.damaged.of(record.name).items()}

    def damaged_models(self) -> dict[str, str]:
        """Models of which nothing can be read, by name, and why: a card of the catalog, or all versions of a tuned model."""
        return {name: why for name, why in self._folders.damaged.models().items() if name not in self._table}

    def check_new_name(self, name: str, field: str) -> None:
        """Raises InvalidInput for a name that no tuned model may have, since it is one of the zoo's."""
        record = self._table.get(name)
        if record is not None and not record.tuned:
            raise InvalidInput(field, f"{name!r} is a model of the zoo; choose another name for the tuned one")
