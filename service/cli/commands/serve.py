"""`zoo serve`: starts a server."""

from __future__ import annotations

import gc
import os
import signal
from typing import Annotated

import typer


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Model to load at start, or a reference as `zoo pull` takes it; may be repeated. Default: the default set.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="H", help="Address to listen on, or unix:PATH. Default: 127.0.0.1.")
    ] = None,
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
    """Start a server on this machine. Other settings are environment variables: ZOO_ and the name."""
    from model_zoo.references.reference import is_reference
    from service.cli.commands.pull import pull_one
    from service.settings import load_settings, with_options

    # Before the server is imported: a wrong setting is an error at once, not after torch has been loaded.
    flags = {"models": tuple(model) if model else None, "host": host, "port": port, "http_port": http_port}
    settings = load_settings(**flags)
    if any(is_reference(name) for name in settings.models):
        flags["models"] = tuple(pull_one(name, settings) if is_reference(name) else name for name in settings.models)
        settings = load_settings(**flags)
    if assignments:
        settings = load_settings(**flags, model_options=with_options(settings.model_options, assignments))

    # gRPC's own log would have a line for every connection that fails its TLS handshake, which strangers can make at will.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

    # The import of torch takes seconds. The first process of a container ignores SIGTERM unless it has a handler, so this one
    # ends the process until the server installs its own, which drains.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))

    # The objects of an import stay: the collector would only search them, again and again, for a seventh of the time.
    gc.disable()
    from service import server

    gc.freeze()
    gc.enable()
    server.run(settings)
