"""TLS of the gRPC port: grpcio's server credentials, whose certificate can change while the server runs.

gRPC itself allows TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only, and HTTP/2 by ALPN.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from service.access.certificates import ServerCertificate


def server_credentials(certificate: Callable[[], ServerCertificate]) -> grpc.ServerCredentials:
    """Credentials for a port. `certificate` gives the one in use; gRPC asks at each handshake, on a thread of its own, so it
    must not block.

    With CAs of clients, a client without a certificate of one of them is refused in the handshake.
    """
    given = certificate()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        latest = certificate()
        if latest is given:
            return None
        given = latest
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
