"""`python -m tests.recorded.record --out FILE [--tree DIR]`: plays the corpus against a server and writes a recording."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.recorded.corpus import CHAPTERS
from tests.recorded.player import Player
from tests.recorded.server import REPOSITORY, Server, link_weights

FORMAT = 1
LARGE = 200
"""Characters of JSON from which on a value that occurs again is written once."""


def record(tree: Path, home: Path, chapters: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All records of a run on an empty home, in their order. `chapters`: only these, for work on the corpus."""
    if not (home / "weights").exists():
        link_weights(home)
    with Server(tree, home) as server:
        player = Player(server)
        try:
            for chapter in CHAPTERS:
                name = chapter.__module__.rpartition(".")[2]
                if chapters and name not in chapters:
                    continue
                begun = time.monotonic()
                chapter(player)
                print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
        except Exception:
            write(player.records, Path(tempfile.gettempdir()) / "zoo-recorded-broken.jsonl")
            raise
        finally:
            player.close()
    return player.records


def write(records: Iterable[dict[str, Any]], out: Path) -> None:
    """One record a line; the first line is the header."""
    kept = list(records)
    counts: Counter[str] = Counter()
    for record in kept:
        _count(record, counts)
    shared: dict[str, Any] = {}
    lines = [_dumped(_with_references(record, counts, shared)) for record in kept]
    header = {"kind": "header", "format": FORMAT, "processor": _processor()}
    tables = [_dumped({"kind": "shared", "name": name, "value": value}) for name, value in shared.items()]
    out.write_text("\n".join([_dumped(header), *tables, *lines]) + "\n", "utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a recording, without its header."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if lines[0].get("format") != FORMAT:
        raise SystemExit(f"{path}: format {lines[0].get('format')}, expected {FORMAT}")
    shared = {line["name"]: line["value"] for line in lines if line["kind"] == "shared"}
    return [_resolved(line, shared) for line in lines[1:] if line["kind"] != "shared"]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _count(value: Any, counts: Counter[str]) -> None:
    """How often each large value occurs."""
    for part in _parts(value):
        if isinstance(part, (dict, list, str)) and len(text := _dumped(part)) >= LARGE:
            counts[text] += 1
            if counts[text] > 1:
                continue
        _count(part, counts)


def _with_references(value: Any, counts: Counter[str], shared: dict[str, Any]) -> Any:
    """`value` with references in place of large values that occur more than once."""

    def put(part: Any) -> Any:
        if isinstance(part, (dict, list, str)) and len(text := _dumped(part)) >= LARGE and counts[text] > 1:
            name = hashlib.sha256(text.encode()).hexdigest()[:12]
            shared.setdefault(name, part)
            return {"shared": name}
        return _with_references(part, counts, shared)

    if isinstance(value, dict):
        return {name: put(part) for name, part in value.items()}
    return [put(part) for part in value] if isinstance(value, list) else value


def _resolved(value: Any, shared: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"shared"} and value["shared"] in shared:
            return shared[value["shared"]]
        return {name: _resolved(part, shared) for name, part in value.items()}
    return [_resolved(part, shared) for part in value] if isinstance(value, list) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--tree", type=Path, default=REPOSITORY, help="checkout whose .venv/bin/zoo is the server")
    parser.add_argument("--home", type=Path, help="empty folder for ZOO_HOME, kept; a temporary one by default")
    parser.add_argument("--chapter", action="append", default=[], help="only this chapter; may be repeated")
    given = parser.parse_args()
    if given.home is not None:
        given.home.mkdir(parents=True, exist_ok=True)
        records = record(given.tree.resolve(), given.home.resolve(), given.chapter)
    else:
        with tempfile.TemporaryDirectory(prefix="zoo-recorded-") as folder:
            records = record(given.tree.resolve(), Path(folder) / "home", given.chapter)
    write(records, given.out)
    print(f"{len(records)} records, {given.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
