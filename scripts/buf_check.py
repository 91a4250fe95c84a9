"""Lints the protos and checks their compatibility with the released ones.

    python scripts/buf_check.py              # buf lint, then buf breaking against protos/released.binpb
    python scripts/buf_check.py --release    # at a release: rewrites protos/released.binpb

buf reads a descriptor set rather than the sources, since `google/rpc/status.proto` comes from an installed Python package and
not from buf's registry. Paths in its findings are the names in descriptors: `zoo/v1/models.proto` is `protos/models.proto`.
Only Zoo's own package is linted; `inference` follows the protocol and is checked for breaking changes only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from protos import PROTOS, descriptor_set

BUF = Path(sys.executable).parent / "buf"
CONFIG = PROTOS / "buf.yaml"
RELEASED = PROTOS / "released.binpb"


def buf(*arguments: str | Path) -> bool:
    """Run buf with the configuration of the repository; its findings go to the terminal. Returns whether there are none."""
    command = [str(BUF), *map(str, arguments), "--config", str(CONFIG)]
    return subprocess.run(command, check=False).returncode == 0


def main() -> None:
    """The command line; exits with 1 on any finding."""
    parser = argparse.ArgumentParser(description="Lint the protos and compare them with protos/released.binpb.")
    parser.add_argument("--release", action="store_true", help="rewrite protos/released.binpb from the protos")
    if parser.parse_args().release:
        descriptor_set(RELEASED)
        return
    with tempfile.TemporaryDirectory() as temporary:
        current = Path(temporary, "current.binpb")
        descriptor_set(current)
        linted = buf("lint", current, "--path", "zoo")
        compatible = buf("breaking", current, "--against", RELEASED)
    if not (linted and compatible):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
