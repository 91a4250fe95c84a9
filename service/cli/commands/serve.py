"""`zoo serve`."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="NAME", help="Model to load at start; may be repeated. Default: the zoo's set."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="H", help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(metavar="P", help="gRPC port; 0 picks one. Default: 8001.")] = None,
    http_port: Annotated[
        int | None, typer.Option(metavar="P", help="Port of /metrics and /healthz; 0 picks one. Default: 8002.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="MODEL.OPTION=VALUE",
            help="Option of one model, for example silero_vad.weight=2; may be repeated. `zoo show` lists options.",
        ),
    ] = None,
) -> None:
    """Start a server here. Every other setting is an environment variable, ZOO_ and its name."""
    from service.settings import load_settings, with_options

    # Before the server is imported: a wrong setting is told at once, not after torch has been loaded.
    given = {"models": tuple(model) if model else None, "host": host, "port": port, "http_port": http_port}
    settings = load_settings(**given)
    if assignments:
        settings = load_settings(**given, model_options=with_options(settings.model_options, assignments))

    # Importing torch takes seconds, in which nothing is served yet. A process that is a container's first ignores SIGTERM
    # unless somebody handles it; the server takes over with a drain.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))

    from service import server

    server.run(settings)
