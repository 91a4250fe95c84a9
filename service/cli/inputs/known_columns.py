"""The columns that a model knows, compared with the columns of a file."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from service.cli.inputs.input_source import UnreadableInput
from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.client import ModelInfo

_MOST_SHOWN = 8
"""Columns that a sentence names."""
_MOST_HEADERS = 1000
"""Headers whose mapping is cached: rows of JSON may differ without end."""
_TYPO_SIMILARITY = 0.7
"""Ratio of difflib from which an unknown name counts as a misspelt one."""


class KnownColumns:
    """The columns of a model's training table. A name matches exactly, or by normal form and case if the match is unique."""

    def __init__(self, model: ModelInfo, version: str) -> None:
        columns = model.columns
        self.inputs = tuple(column.name for column in columns if column.kind in ("number", "category"))
        """Of a row or record; of a series its channels, in order."""
        self._roles = {column.kind: column.name for column in columns if column.kind not in ("number", "category")}
        self._target = model.target_column
        self._ignored = frozenset(filter(None, model.ignored_columns))
        self.exact = bool(self.inputs) and not version
        """Whether the inputs are known for certain; another version may have others."""
        self._noted = set[str]()
        """Columns that a note has named already."""
        self._mappings: dict[tuple[str, ...], dict[str, str]] = {}

    def column_of_role(self, role: str, names: Sequence[str]) -> str:
        """The column of a file that is the model's `text`, `image`, `time` or `series`; empty if it is unknown or missing."""
        known = self._roles.get(role, "")
        return next((name for name, match in _matches(names, (known,)).items() if match), "") if known else ""

    def channels(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of a file that are the channels of a series, in the model's order. Raises UnreadableInput if one is
        missing. Empty if the model's channels are not known."""
        if not self.exact:
            return ()
        by_channel = {match: name for name, match in _matches(names, self.inputs).items()}
        for channel in self.inputs:
            if channel not in by_channel:
                raise UnreadableInput(
                    f"the file has no column {channel!r}, which the model forecasts; it has {_listed(names)}"
                )
        return tuple(by_channel[channel] for channel in self.inputs)

    def check(self, header: Sequence[str]) -> None:
        """Checks the header of a table once, rather than every row. Raises UnreadableInput if the model cannot use the table.
        A note names each column that is not sent. A missing column counts as empty, and each answer notes it."""
        self._mapping(tuple(header))

    def select_inputs(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The cells of a row that are inputs, under the model's names. Raises UnreadableInput."""
        mapping = self._mapping(tuple(row))
        return {mapping[name]: cell for name, cell in row.items() if name in mapping}

    def _mapping(self, header: tuple[str, ...]) -> dict[str, str]:
        """Column of the file → the model's name for it, for the columns that are sent."""
        if header in self._mappings:
            return self._mappings[header]
        no_inputs = {self._target, *self._ignored} - {""}
        known = (*self.inputs, *(name for name in no_inputs if name not in self.inputs))
        matches = _matches(header, known)
        mapping: dict[str, str] = {}
        unknown: list[str] = []
        for name in header:
            match = matches.get(name, "")
            if match in no_inputs and match not in self.inputs:
                self._note_left_out(name, match)
            elif match or not self.exact:
                mapping[name] = match or name
            else:
                unknown.append(name)
        if self.exact:
            self._check_unknown(mapping, unknown)
        if len(self._mappings) < _MOST_HEADERS:
            self._mappings[header] = mapping
        return mapping

    def _check_unknown(self, mapping: Mapping[str, str], unknown: Sequence[str]) -> None:
        """Refuses an unknown column that looks like a missing one; notes the others."""
        missing = [name.casefold() for name in self.inputs if name not in mapping.values()]
        for name in unknown:
            if not mapping or difflib.get_close_matches(name.strip().casefold(), missing, 1, _TYPO_SIMILARITY):
                raise UnreadableInput(f"the model has no column {name!r}; it takes {_listed(self.inputs)}")
        for name in unknown:
            self._note(name, f"the model does not know column {name!r}; it is not sent")

    def _note_left_out(self, name: str, match: str) -> None:
        reason = "is what the model predicts" if match == self._target else "was ignored when the model was trained"
        self._note(name, f"column {name!r} {reason}; it is left out")

    def _note(self, column: str, sentence: str) -> None:
        if column not in self._noted:
            self._noted.add(column)
            print_note(sentence)


def _matches(names: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """Name → the known column that it matches: the same name, or the only one of the same normal form."""
    names = tuple(names)
    found = {name: name for name in names if name in known}
    rest = [column for column in known if column not in found]
    for name in names:
        if name not in found:
            candidates = [column for column in rest if _normalized(column) == _normalized(name)]
            same_form = [other for other in names if other not in found and _normalized(other) == _normalized(name)]
            if len(candidates) == 1 and len(same_form) == 1:
                found[name] = candidates[0]
    return found


def _normalized(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + (" …" if len(names) > _MOST_SHOWN else "")
