"""The client of a command: the server that it names, with the options of `zoo` about TLS and the token."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client import Client
    from service.client.security import Tls


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Options before the command. What is empty comes from the environment (`service/client/security.py`)."""

    tls: bool = False
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    server_name: str = ""
    token_file: str = ""


_options: ContextVar[ConnectionOptions | None] = ContextVar("connection_options", default=None)


def set_options(options: ConnectionOptions) -> None:
    """Sets the options of the command that runs now."""
    _options.set(options)


def tls_in_use() -> Tls | bool | None:
    """TLS as the options of this command or the environment ask for it; false or None for plain text. Raises BadInput."""
    import os

    from service.client.security import tls_of_environment

    given = _options.get() or ConnectionOptions()
    named = {
        "ZOO_TLS": "true" if given.tls else "",
        "ZOO_TLS_CA_FILE": given.ca_file,
        "ZOO_TLS_CLIENT_CERT_FILE": given.client_cert_file,
        "ZOO_TLS_CLIENT_KEY_FILE": given.client_key_file,
        "ZOO_TLS_SERVER_NAME": given.server_name,
    }
    return tls_of_environment({**os.environ, **{name: value for name, value in named.items() if value}})


def connect(server: str, *, owner: str = "") -> Client:
    """A client of the server; a context manager. Raises BadInput for files that cannot be used."""
    from service.client import Client
    from service.client.security import read_token

    given = _options.get() or ConnectionOptions()
    token = read_token(given.token_file) if given.token_file else None
    return Client(server, owner=owner, tls=tls_in_use(), token=token)
