"""`zoo probe`: whether the server of this machine is ready, for the health check of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from service.cli.commands.status import NOT_LIVE, NOT_READY
from service.cli.rendering.console import print_error, print_line

if TYPE_CHECKING:
    from service.settings import Settings

TIMEOUT_S = 4.0
"""Of each of two attempts, which the health check of the image gives ten seconds."""
BAD_REQUEST = 400
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a probe calls in place of these


def probe() -> None:
    """Show whether the server that has this environment's settings is ready: exit code 0, else 1; 2 if none answers.

    It asks /readyz on this machine, over TLS where the port has it, and needs no token.
    """
    from service.settings import load_settings

    settings = load_settings()
    status = _ask(settings)
    if status is None:
        print_error(f"no server answers at port {settings.http_port} of this machine; ZOO_HTTP_PORT is its HTTP port")
        raise typer.Exit(NOT_LIVE)
    print_line("ready" if status == 200 else "not ready")
    if status != 200:
        raise typer.Exit(NOT_READY)


def _ask(settings: Settings) -> int | None:
    """The status of /readyz; None if there is no answer. Without the server's settings of TLS it finds out."""
    by_tls = settings.tls_cert_file is not None
    status = _asked(settings, by_tls)
    if status in (None, BAD_REQUEST):  # as a port answers that expects the other one
        return _asked(settings, not by_tls) or status
    return status


def _asked(settings: Settings, by_tls: bool) -> int | None:
    import http.client
    import ssl

    host = _EVERYWHERE.get(settings.http_host, settings.http_host)
    connection: http.client.HTTPConnection
    if not by_tls:
        connection = http.client.HTTPConnection(host, settings.http_port, timeout=TIMEOUT_S)
    else:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing secret is sent or read
        connection = http.client.HTTPSConnection(host, settings.http_port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
