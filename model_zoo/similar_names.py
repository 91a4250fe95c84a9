"""Names that a user may have meant: the order of every "did you mean" about models."""

import difflib
from collections.abc import Iterable

__all__ = ["similar_names"]

_MOST, _LONGEST, _SHORTEST_PART = 3, 64, 3
_LIKENESS = 0.5


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names: first those that contain the name, then those that are spelt like it, the most similar first.
    Equally similar names are in alphabetical order.

    Names are compared without separators and case, so that "MiniLM" and "all-minilm-l6-v2" find their model.
    """
    names = {_compact(one): one for one in sorted(known)}
    wanted = _compact(name[:_LONGEST])
    containing = [key for key in names if len(wanted) >= _SHORTEST_PART and wanted in key]
    like = difflib.get_close_matches(wanted, names, n=max(1, len(names)), cutoff=_LIKENESS)
    like.sort(key=lambda key: (-difflib.SequenceMatcher(None, key, wanted).ratio(), key))
    return [names[key] for key in dict.fromkeys([*containing, *like])][:_MOST]


def _compact(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
