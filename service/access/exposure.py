"""Where a server may listen: beyond this machine only with TLS and authentication, or where a setting says so in words."""

from __future__ import annotations

from service.addresses import is_loopback, is_unix
from service.settings import Settings, SettingsError


def check_exposure(settings: Settings) -> None:
    """Raises SettingsError if callers of other machines could read or call what the settings do not mean for them."""
    files = (settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
    if is_unix(settings.host):
        if any(files):
            raise SettingsError(
                f"ZOO_TLS_CERT_FILE and the settings like it have no effect on a Unix socket; ZOO_HOST is {settings.host!r}, "
                "whose permissions say who may connect"
            )
        return
    if is_loopback(settings.host) is not False:  # of a name without an address, the attempt to listen says so
        return
    beyond = f"ZOO_HOST is {settings.host!r}, which other machines can reach"
    problems = []
    if settings.tls_cert_file is None and not settings.allow_plaintext_beyond_loopback:
        problems.append(
            f"{beyond}, without TLS: set ZOO_TLS_CERT_FILE and ZOO_TLS_KEY_FILE, or "
            "ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK=true where a proxy encrypts or the network is private"
        )
    if (
        settings.tokens == "off"
        and settings.tls_client_ca_file is None
        and not settings.allow_anonymous_beyond_loopback
    ):
        problems.append(
            f"{beyond}, without authentication: set ZOO_TOKENS=required or ZOO_TLS_CLIENT_CA_FILE, or "
            "ZOO_ALLOW_ANONYMOUS_BEYOND_LOOPBACK=true where a proxy authenticates or every caller is trusted"
        )
    if problems:
        raise SettingsError("\n".join(problems))
