"""Arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:8001"
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
    if "://" in value or "/" in value or not value.strip():
        raise typer.BadParameter(f"{value!r} is no HOST:PORT, for example {DEFAULT_SERVER}")
    if value.count(":") > 1 and "]" not in value:  # an address of IPv6 without a port
        return f"[{value}]:8001"
    return value if ":" in value.rpartition("]")[2] else f"{value}:8001"


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


def assigned(text: str, example: str) -> tuple[str, str | float | bool]:
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


def verb_follows(ctx: typer.Context) -> bool:
    """Whether a verb follows a group, so that the group itself has nothing to do. Options belong behind the verb then."""
    if ctx.invoked_subcommand is None:
        return False
    given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise typer.BadParameter(f"options belong behind {ctx.invoked_subcommand!r}", ctx=ctx)
    return True
