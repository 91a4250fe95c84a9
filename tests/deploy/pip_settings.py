"""What pip was told on this machine, for a build in a container that cannot see this machine's files.

    python pip_settings.py PORT [PYTHON]

Writes one line `build NAME=VALUE` for each of pip's settings that decide where packages come from, of `PYTHON -m pip`
(this Python by default). An index or a folder of wheels that is local to this machine is served on loopback at PORT,
and its value names that address, which a build on the host's network can use; nothing else of the disk is served. A
line `run NAME=VALUE` has only what a running container can use as well. The line `serving` ends the output; then it
serves until the process is ended. `PORT` 0 takes a free port.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

NAMES = ("index-url", "extra-index-url", "find-links", "trusted-host")
SECTIONS = ("global", "install", ":env:")  # pip lets the later win


def configured(python: str) -> dict[str, list[str]]:
    """pip's settings among NAMES, as it would use them for `pip install`."""
    listing = subprocess.run(
        [python, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    found: dict[str, list[str]] = {}
    for section in SECTIONS:
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            name = key.removeprefix(f"{section}.")
            if name != key and name in NAMES:
                found[name] = str(ast.literal_eval(value)).split()
    return found


def is_local(name: str, value: str) -> bool:
    """Whether a value of pip's setting `name` means files of this machine."""
    return name != "trusted-host" and urlsplit(value).scheme in ("", "file")


class Folders:
    """Local folders and the addresses at which they are served."""

    def __init__(self) -> None:
        self.roots: list[Path] = []

    def address(self, name: str, value: str, base: str) -> str:
        """`value` as a container on the host's network can use it. `name` is pip's setting."""
        parts = urlsplit(value)
        if not is_local(name, value):
            return value
        folder = Path(url2pathname(unquote(parts.path))) if parts.scheme else Path(value)
        # The pages of an index link to files beside its folder, as a rule.
        root = folder if name == "find-links" else folder.parent
        if root not in self.roots:
            self.roots.append(root)
        inner = folder.relative_to(root)
        return f"{base}/{self.roots.index(root)}/{'' if inner == Path() else f'{inner}/'}"


class Handler(SimpleHTTPRequestHandler):
    """Files of the folders; the first part of a path is the folder's number."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folders: Folders, *args: object) -> None:
        self.folders = folders
        super().__init__(*args)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        number, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        if not number.isdigit() or int(number) >= len(self.folders.roots):
            return "/nonexistent"
        root = self.folders.roots[int(number)]
        wanted = (root / rest).resolve()
        inside = wanted.is_relative_to(root.resolve())
        return (str(wanted) + ("/" if path.endswith("/") else "")) if inside else "/nonexistent"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


def main() -> None:
    port, python = int(sys.argv[1]), (sys.argv[2:] or [sys.executable])[0]
    folders = Folders()
    with ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, folders)) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        for name, values in configured(python).items():
            variable = f"PIP_{name.upper().replace('-', '_')}"
            print(f"build {variable}={' '.join(folders.address(name, value, base) for value in values)}")
            print(f"run {variable}={' '.join(value for value in values if not is_local(name, value))}")
        print("serving", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
