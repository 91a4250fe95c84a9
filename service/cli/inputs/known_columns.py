"""The columns that a model knows of, beside those of a file."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.client import ModelInfo

_SHOWN = 8
"""Columns that a sentence names."""


class Unreadable(Exception):
    """One sentence for people."""


class Known:
    """What the columns of a model's training table meant. Names match as they are, or by form and case where that is unique."""

    def __init__(self, model: ModelInfo, version: str) -> None:
        columns = model.columns
        self.inputs = tuple(column.name for column in columns if column.kind in ("number", "category"))
        """Of a row or record; of a series its channels, in order."""
        self._roles = {column.kind: column.name for column in columns if column.kind not in ("number", "category")}
        self._target = model.target_column
        self._ignored = frozenset(filter(None, model.ignored_columns))
        self.exact = bool(self.inputs) and not version  # another version may know others
        self._told = set[str]()
        self._names: dict[tuple[str, ...], dict[str, str]] = {}

    def role(self, kind: str, names: Sequence[str]) -> str:
        """The column of a file that is the model's `text`, `image`, `time` or `series`; empty where it is not known or there."""
        known = self._roles.get(kind, "")
        return next((name for name, meant in _matched(names, (known,)).items() if meant), "") if known else ""

    def channels(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of a file that are a series' numbers, in the model's order. Raises Unreadable where one is missing."""
        if not self.exact:
            return ()
        there = {meant: name for name, meant in _matched(names, self.inputs).items()}
        for channel in self.inputs:
            if channel not in there:
                raise Unreadable(
                    f"the file has no column {channel!r}, which the model forecasts; it has {_some(names)}"
                )
        return tuple(there[channel] for channel in self.inputs)

    def check(self, header: Sequence[str]) -> None:
        """Raises Unreadable for a table that the model cannot be asked with: once, rather than for every row. Remarks tell of
        columns that are passed over; those that are missing count as empty, and each answer notes them."""
        self._meant(tuple(header))

    def inputs_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row's cells under the names that the model has for them, without what is no input. Raises Unreadable."""
        meant = self._meant(tuple(row))
        return {meant[name]: cell for name, cell in row.items() if name in meant}

    def _meant(self, header: tuple[str, ...]) -> dict[str, str]:
        """The columns that are sent, with the model's names for them."""
        if header in self._names:
            return self._names[header]
        no_inputs = {self._target, *self._ignored} - {""}
        known = (*self.inputs, *(name for name in no_inputs if name not in self.inputs))
        found = _matched(header, known)
        meant: dict[str, str] = {}
        strange: list[str] = []
        for name in header:
            known_as = found.get(name, "")
            if known_as in no_inputs and known_as not in self.inputs:
                self._pass_over(name, known_as)
            elif known_as or not self.exact:
                meant[name] = known_as or name
            else:
                strange.append(name)
        if self.exact:
            self._judge(meant, strange)
        if len(self._names) < 1000:  # rows of JSON may differ without end
            self._names[header] = meant
        return meant

    def _judge(self, meant: Mapping[str, str], strange: Sequence[str]) -> None:
        missing = [name for name in self.inputs if name not in meant.values()]
        folded = [name.casefold() for name in missing]
        for name in strange:
            if not meant or difflib.get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.7):
                raise Unreadable(f"the model has no column {name!r}; it takes {_some(self.inputs)}")
        for name in strange:
            self._once(name, f"column {name!r} is none that the model knows; it is passed over")

    def _pass_over(self, name: str, known_as: str) -> None:
        why = "is what the model tells" if known_as == self._target else "was ignored when the model was trained"
        self._once(name, f"column {name!r} {why}; it is left out")

    def _once(self, about: str, sentence: str) -> None:
        if about not in self._told:
            self._told.add(about)
            print_note(sentence)


def _matched(names: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """Which known column each name is: the same, or the only one of the same form."""
    names = tuple(names)
    found = {name: name for name in names if name in known}
    left = [column for column in known if column not in found]
    for name in names:
        if name not in found:
            alike = [column for column in left if _form(column) == _form(name)]
            rivals = [other for other in names if other not in found and _form(other) == _form(name)]
            if len(alike) == 1 and len(rivals) == 1:
                found[name] = alike[0]
    return found


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")
