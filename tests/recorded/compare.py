"""`python -m tests.recorded.compare A B`: what differs between two recordings, request by request.

Exit code 0: nothing; 1: something differs in substance; 3: sentences alone differ. `--update-wording` then writes the
sentences of B into A.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.recorded.player import CLOSE, EXACT, TRAINED
from tests.recorded.record import read, write

RELATIVE, ABSOLUTE = 2e-3, 2e-4
"""By which numbers of the same network may differ between processors, or between arrangements of its batches."""

TYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "BOOL": "?", "UINT8": "u1"}
SHOWN = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
"""A number in a sentence: figures of networks differ between processors."""
DIGEST = "weights_sha256"
"""Weights that another processor has trained are others; those of the zoo are pinned by their cards."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Difference:
    """One place in one record."""

    record: str
    path: str
    was: str
    now: str
    wording: bool = False

    def __str__(self) -> str:
        kind = "wording" if self.wording else "DIFFERS"
        return f"{kind}  {self.record}  {self.path}\n    was {self.was}\n    now {self.now}"


def compare(
    was: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], *, tolerant: bool = False
) -> list[Difference]:
    """All differences. `tolerant`: floats of networks need only be near each other, as on another processor."""
    old, new = _by_name(was), _by_name(now)
    found: list[Difference] = []
    both = [name for name in old if name in new and old[name]["kind"] != "log"], [name for name in new if name in old]
    order = both[0], [name for name in both[1] if new[name]["kind"] != "log"]
    if order[0] != order[1]:
        at = next(i for i, (a, b) in enumerate(zip(*order, strict=True)) if a != b)
        found.append(Difference("order of records", f"[{at}]", order[0][at], order[1][at]))
    for name in old.keys() - new.keys():
        found.append(Difference(name, "", _short(old[name]), "nothing"))
    for name in new.keys() - old.keys():
        found.append(Difference(name, "", "nothing", _short(new[name])))
    for name, record in old.items():
        if name in new:
            floats = record.get("floats", EXACT)
            how = floats if tolerant or floats == CLOSE else EXACT
            if tolerant and floats == EXACT:
                how = CLOSE
            found += [
                Difference(name, path, a, b, wording)
                for path, a, b, wording in _differences(record, new[name], "", how)
            ]
    return found


def _by_name(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Records by kind and name; those of one name are counted. Kinds of log lines go by their fields, since events are words."""
    counts: Counter[str] = Counter()
    found = {}
    for record in records:
        name = f"{record['kind']} {record['name']}"
        if record["kind"] == "log":
            name += f" {record['level']} {','.join(record['fields'])}"
        counts[name] += 1
        found[name if counts[name] == 1 else f"{name} #{counts[name]}"] = record
    return found


def _differences(was: Any, now: Any, path: str, how: str) -> Iterator[tuple[str, str, str, bool]]:
    if _is_words(was) and _is_words(now):
        if was != now and (how == EXACT or SHOWN.sub("N", was["words"]) != SHOWN.sub("N", now["words"])):
            yield path, _short(was["words"]), _short(now["words"]), True
    elif isinstance(was, dict) and isinstance(now, dict):
        if {"tensor", "data"} == was.keys() == now.keys() and was["tensor"] == now["tensor"]:
            if not _same_tensor(was, now, how):
                yield path, _short(was), _short(now), False
            return
        for name in sorted(was.keys() | now.keys()):
            if name not in was or name not in now:
                missing = "nothing"
                yield f"{path}.{name}", _short(was.get(name, missing)), _short(now.get(name, missing)), False
            elif name == DIGEST and how != EXACT and len(was[name]) == len(now[name]):
                continue
            else:
                yield from _differences(was[name], now[name], f"{path}.{name}", how)
    elif isinstance(was, list) and isinstance(now, list):
        for i, j in _aligned(was, now):
            if i is None or j is None:
                if how != TRAINED:
                    shown = (_short(was[i]), "nothing") if i is not None else ("nothing", _short(now[j or 0]))
                    yield f"{path}[{j if i is None else i}]", *shown, False
            else:
                yield from _differences(was[i], now[j], f"{path}[{i}]", how)
    elif not _same(was, now, how):
        yield path, _short(was), _short(now), False


def _aligned(was: Sequence[Any], now: Sequence[Any]) -> Iterator[tuple[int | None, int | None]]:
    """Positions in both lists that belong together; None where one list has more than the other."""
    if len(was) == len(now):
        yield from ((i, i) for i in range(len(was)))
        return
    texts = [[json.dumps(part, sort_keys=True) for part in each] for each in (was, now)]
    for _, i, i_end, j, j_end in difflib.SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        both = min(i_end - i, j_end - j)
        yield from ((i + k, j + k) for k in range(both))
        yield from ((k, None) for k in range(i + both, i_end))
        yield from ((None, k) for k in range(j + both, j_end))


def _is_words(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"words"}


def _same(was: Any, now: Any, how: str) -> bool:
    if type(was) is type(now) and was == now:
        return True
    if how == EXACT:
        return False
    numbers = (int, float)
    if isinstance(was, numbers) and isinstance(now, numbers) and not isinstance(was, bool):
        return how == TRAINED or math.isclose(was, now, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(was, str) and isinstance(now, str):
        if how == TRAINED:
            return True
        rest = NUMBER.sub("#", was) == NUMBER.sub("#", now)
        pairs = zip(NUMBER.findall(was), NUMBER.findall(now), strict=False)
        return rest and all(math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=ABSOLUTE) for a, b in pairs)
    return False


def _same_tensor(was: Any, now: Any, how: str) -> bool:
    if was["data"] == now["data"]:
        return True
    if how == EXACT:
        return False
    if was["tensor"] not in TYPES:
        return not any(True for _ in _differences(was["data"], now["data"], "", how))
    a, b = (np.frombuffer(base64.b64decode(each["data"]), TYPES[each["tensor"]]) for each in (was, now))
    if a.shape != b.shape:
        return how == TRAINED
    return how == TRAINED or bool(np.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"


def with_words_of(was: Any, now: Any) -> Any:
    """`was` with the sentences of `now` wherever both have one."""
    if _is_words(was) and _is_words(now):
        return now
    if isinstance(was, dict) and isinstance(now, dict):
        return {name: with_words_of(part, now[name]) if name in now else part for name, part in was.items()}
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [with_words_of(a, b) for a, b in zip(was, now, strict=True)]
    return was


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("was", type=Path)
    parser.add_argument("now", type=Path)
    parser.add_argument("--tolerant", action="store_true", help="floats need only be near each other")
    parser.add_argument("--no-wording", action="store_true", help="show no sentences that differ, only how many")
    parser.add_argument("--update-wording", action="store_true", help="write the sentences of NOW into WAS")
    given = parser.parse_args()
    was, now = read(given.was), read(given.now)
    found = compare(was, now, tolerant=given.tolerant)
    wording = [difference for difference in found if difference.wording]
    substance = [difference for difference in found if not difference.wording]
    for difference in [*substance, *([] if given.no_wording else wording)]:
        print(difference)
    print(f"{len(was)} records: {len(substance)} differences in substance, {len(wording)} of wording")
    if given.update_wording:
        new = _by_name(now)
        write([with_words_of(record, new.get(name)) for name, record in _by_name(was).items()], given.was)
        print(f"wrote the sentences of {given.now} into {given.was}")
    raise SystemExit(1 if substance else 3 if wording and not given.update_wording else 0)


if __name__ == "__main__":
    main()
