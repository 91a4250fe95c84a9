"""Arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.rendering.console import quoted

DEFAULT_PORT = "8001"
DEFAULT_SERVER = f"127.0.0.1:{DEFAULT_PORT}"
HIGHEST_PORT = 65535
EXAMPLES = {
    "image": "photo.jpg",
    "audio": "speech.wav",
    "text": "'any sentence'",
    "row": "rows.csv",
    "series": "steps.csv",
    "record": "records.csv",
}
"""What stands behind `zoo predict MODEL`, by what the model takes."""


def _host_and_port(value: str) -> str:
    """The address with its port, as gRPC takes it: `::1` → `[::1]:8001`."""
    host, port = _parts(value.strip())
    if not _is_host(host) or not _is_port(port):
        raise typer.BadParameter(f"{quoted(value)} is no HOST:PORT, for example {DEFAULT_SERVER} or [::1]:8001")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parts(value: str) -> tuple[str, str]:
    """Host and port; an address of IPv6 has brackets where a port follows."""
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
    except UnicodeError:  # too long, or no name
        return False


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and 0 < len(port) <= 5 and 0 < int(port) <= HIGHEST_PORT


Server = Annotated[
    str,
    typer.Option("--server", metavar="HOST:PORT", envvar="ZOO_SERVER", callback=_host_and_port, help="Server to call."),
]
Owner = Annotated[
    str,
    typer.Option("--owner", metavar="NAME", envvar="ZOO_OWNER", help="Who asks, where the server tells callers apart."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, as `zoo models` lists it.")]


def parse_assignment(text: str, example: str) -> tuple[str, str | float | bool]:
    """`weight=2` → ("weight", 2). What a value must be the server knows; here only words are told from numbers."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise typer.BadParameter(f"{text!r} is no {example}")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def has_subcommand(ctx: typer.Context) -> bool:
    """Whether a verb follows a group, so that the group itself has nothing to do. Options belong behind the verb then."""
    if ctx.invoked_subcommand is None:
        return False
    given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise typer.BadParameter(f"options belong behind {ctx.invoked_subcommand!r}", ctx=ctx)
    return True
