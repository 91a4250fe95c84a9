"""Arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:8001"


def _host_and_port(value: str) -> str:
    if "://" in value or "/" in value or not value.strip():
        raise typer.BadParameter(f"{value!r} is no HOST:PORT, for example {DEFAULT_SERVER}")
    if value.count(":") > 1 and "]" not in value:  # an address of IPv6 without a port
        return f"[{value}]:8001"
    return value if ":" in value.rpartition("]")[2] else f"{value}:8001"


Server = Annotated[
    str,
    typer.Option("--server", metavar="HOST:PORT", envvar="ZOO_SERVER", callback=_host_and_port, help="Server to call."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, as `zoo models` lists it.")]
