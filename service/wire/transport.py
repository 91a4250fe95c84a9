"""TLS of the gRPC port: grpcio's server credentials, whose certificate can change while the server runs.

gRPC itself allows TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only, and HTTP/2 by ALPN.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from service.access.certificates import ServerCertificate

SESSIONS_END_S = 3600.0
"""gRPC cannot be told to give no TLS sessions, and does not check the certificate of a client that resumes one. Sessions end with
the configuration that they began with, so a new one of equal contents ends them. Not at each handshake: gRPC replaces the
configuration without a lock against handshakes that begin on other threads, so a replacement must stay rare."""


def server_credentials(
    certificate: Callable[[], ServerCertificate], clock: Callable[[], float] = time.monotonic
) -> grpc.ServerCredentials:
    """Credentials for a port. `certificate` gives the one in use; gRPC asks at each handshake, on a thread of its own, so it
    must not block.

    With CAs of clients, a client without a certificate of one of them is refused in the handshake;
    a session that a client resumes is at most SESSIONS_END_S old by `clock`, in seconds.
    """
    given, since = certificate(), clock()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given, since
        latest, now = certificate(), clock()
        if latest is given and (latest.client_ca is None or now - since < SESSIONS_END_S):
            return None
        given, since = latest, now
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        changed,  # type: ignore[arg-type]  # the stubs do not know that None means "unchanged"
        require_client_authentication=given.client_ca is not None,
    )


def _configuration(certificate: ServerCertificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key, certificate.chain)], root_certificates=certificate.client_ca
    )
