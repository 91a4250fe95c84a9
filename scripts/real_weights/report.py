"""Converts all networks, pulls them as `local:`, serves and asks them, and prints a table in Markdown.

python -m scripts.real_weights.report [NAME …]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_zoo import strict_json
from model_zoo.references.reference import parse_reference
from service.client import Client
from service.references.footprint import Footprint, Room
from service.references.publishing import Pulled
from service.references.pull import pull_reference

from .__main__ import DOWNLOADS
from .asked import ASKED, Answered
from .networks import NETWORKS, write


@dataclass(frozen=True)
class Measured:
    """One network.

    Attributes:
        predicted: before it was pulled.
        disk: bytes of its folder in the home.
        memory: bytes that its weights take in the server.
    """

    pulled: Pulled
    predicted: Footprint
    disk: int
    memory: int
    answered: Answered

    def row(self) -> str:
        """A line of the table."""
        card, found = self.pulled.card, self.pulled.card.verification
        assert found is not None
        cells = (
            f"`{card.name}`",
            card.task,
            f"{card.parameters / 1e6:.1f} M",
            f"{self.predicted.disk / 1e6:.0f} MB, {self.predicted.disk / self.disk:.2f}",
            f"{self.predicted.memory / 1e6:.0f} MB, {self.predicted.memory / self.memory:.2f}",
            f"{found.library}: {found.max_difference:.1g} of {found.bound:g}",
            f"{self.answered.right} of {self.answered.of}",
            self.answered.example.replace("|", "\\|"),
        )
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| network | task | parameters | disk predicted, ÷ seen | memory predicted, ÷ seen | differs from | right | example |",
    "|---|---|---|---|---|---|---|---|",
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.real_weights.report", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NETWORKS)} (default: all)")
    parser.add_argument(
        "--downloads", type=Path, default=DOWNLOADS, help="keeps the packages (default: .cache/real-weights)"
    )
    asked = parser.parse_args()
    names = asked.names or list(NETWORKS)
    if unknown := sorted({*names} - {*NETWORKS}):
        parser.error(f"there is no network {unknown[0]!r}")
    with tempfile.TemporaryDirectory(prefix="zoo-real-") as scratch:
        folder = Path(scratch)
        home = folder / "home"
        pulled = {name: _pulled(name, folder / name, home, asked.downloads) for name in names}
        with _server(home, names) as zoo:
            print("\n".join(HEADER))
            for name, (found, predicted) in pulled.items():
                answered = ASKED[name](zoo, name)
                model = zoo.model(name)
                disk = sum(path.stat().st_size for path in found.files.folder.iterdir())
                print(Measured(found, predicted, disk, model.memory_bytes, answered).row(), flush=True)


def _pulled(name: str, folder: Path, home: Path, downloads: Path) -> tuple[Pulled, Footprint]:
    """Pulls a network; gives what was predicted beside it."""
    predicted: list[Footprint] = []
    write(name, folder, downloads)
    room = Room(limit=predicted.append)
    reference = parse_reference(f"local:{folder}")
    found = pull_reference(reference, home, room=room, say=lambda line: print(line, file=sys.stderr, flush=True))
    return found, predicted[0]


@contextmanager
def _server(home: Path, names: Sequence[str]) -> Iterator[Client]:
    """A server of these models, on a free port, once they are loaded."""
    environment = {**os.environ, "ZOO_LOG_FORMAT": "json", "ZOO_HOME": str(home), "ZOO_DATABASE_URL": ""}
    command = [str(Path(sys.executable).with_name("zoo")), "serve", "--port", "0", "--http-port", "0"]
    command += [word for name in names for word in ("--model", name)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    port = 0
    try:
        for line in process.stderr:
            event = strict_json.parsed_object(line.encode()) or {}
            port = event.get("grpc_port", port)
            if event.get("event") == "ready":
                break
            if "model" in event:
                print(f"{event['model']}: {event['event']}", file=sys.stderr, flush=True)
        else:
            raise SystemExit("the server ended before its models were loaded")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would hold the server's log up
        with Client(f"127.0.0.1:{port}") as zoo:
            yield zoo
        process.terminate()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()


if __name__ == "__main__":
    main()
