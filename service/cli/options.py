"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from service.addresses import is_balanced, is_unix, target_problem, unix_address
from service.cli.rendering.console import quoted

DEFAULT_PORT = "8001"
DEFAULT_SERVER = f"127.0.0.1:{DEFAULT_PORT}"
HIGHEST_PORT = 65535
EXAMPLES = {
    "image": "photo.jpg",
    "audio": "speech.wav",
    "video": "film.mp4",
    "text": "'any sentence'",
    "row": "rows.csv",
    "series": "steps.csv",
    "record": "records.csv",
    "": "row.json",
}
"""An argument for `zoo predict MODEL`, by the kind of input that the model takes."""


def _address(value: str) -> str:
    """An address as gRPC takes it: `::1` → `[::1]:8001`; a Unix socket by its absolute path."""
    if is_unix(value.strip()):
        try:
            return unix_address(value.strip())
        except ValueError as error:
            raise typer.BadParameter(f"{error}, got {quoted(value)}") from None
    if is_balanced(value.strip()):
        if problem := target_problem(value.strip()):
            raise typer.BadParameter(problem)
        return value.strip()
    host, port = _split_address(value.strip())
    if not _is_host(host) or not _is_port(port):
        raise typer.BadParameter(
            f"expected HOST:PORT, for example {DEFAULT_SERVER} or [::1]:8001, or unix:PATH, got {quoted(value)}"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def optional_address(value: str) -> str:
    """An address as gRPC takes it; empty for none. Raises BadParameter."""
    return _address(value) if value else ""


def _split_address(value: str) -> tuple[str, str]:
    """Host and port. An IPv6 address has brackets if a port follows."""
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        return (host, rest[1:] or DEFAULT_PORT) if bracket and rest[:1] in ("", ":") and ":" in host else ("", "")
    if value.count(":") > 1:
        return value, DEFAULT_PORT
    host, colon, port = value.partition(":")
    return host, port if colon else DEFAULT_PORT


def _is_host(host: str) -> bool:
    if ":" in host:
        from ipaddress import IPv6Address

        try:
            IPv6Address(host)
        except ValueError:
            return False
        return True
    try:
        return (
            host.encode("idna") != b""
            and not any(character in "/[]@?#% \\" for character in host)
            and host.isprintable()
        )
    except UnicodeError:  # too long, or not a host name
        return False


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and 0 < len(port) <= 5 and 0 < int(port) <= HIGHEST_PORT


Server = Annotated[
    str,
    typer.Option("--server", metavar="HOST:PORT", envvar="ZOO_SERVER", callback=_address, help="Server to call."),
]
Owner = Annotated[
    str,
    typer.Option(
        "--owner", metavar="NAME", envvar="ZOO_OWNER", help="Name of the caller, where the server counts jobs by owner."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, as `zoo models` lists it.")]


def parse_assignment(text: str, example: str) -> tuple[str, str | float | bool]:
    """`weight=2` → ("weight", 2). Numbers and booleans are recognised here; the server checks the value."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise typer.BadParameter(f"expected {example}, got {text!r}")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def has_subcommand(ctx: typer.Context) -> bool:
    """Whether a command follows its group, so that the group itself does nothing. Options then belong after the command."""
    if ctx.invoked_subcommand is None:
        return False
    given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise typer.BadParameter(f"options belong after {ctx.invoked_subcommand!r}", ctx=ctx)
    return True
