"""A server listens beyond this machine only with TLS and authentication, or where a setting says in words that it may."""

from pathlib import Path
from typing import Any

import pytest

from service.access.exposure import check_exposure
from service.settings import SettingsError, load_settings

FILE = Path("/run/secrets/file.pem")
TLS = {"tls_cert_file": FILE, "tls_key_file": FILE}
BEYOND = ("0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "unix:/run/zoo.sock"])
def test_plain_text_and_anonymous_callers_are_accepted_on_this_machine(host: str) -> None:
    check_exposure(load_settings(host=host))


@pytest.mark.parametrize("host", BEYOND)
def test_plain_text_beyond_loopback_is_rejected_with_what_to_set(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(load_settings(host=host, tokens="required"))
    assert str(caught.value) == (
        f"ZOO_HOST is {host!r}, which other machines can reach, without TLS: set ZOO_TLS_CERT_FILE and ZOO_TLS_KEY_FILE, or "
        "ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK=true where a proxy encrypts or the network is private"
    )


@pytest.mark.parametrize("host", BEYOND)
def test_anonymous_callers_beyond_loopback_are_rejected_with_what_to_set(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(load_settings(host=host, **TLS))
    assert str(caught.value) == (
        f"ZOO_HOST is {host!r}, which other machines can reach, without authentication: set ZOO_TOKENS=required or "
        "ZOO_TLS_CLIENT_CA_FILE, or ZOO_ALLOW_ANONYMOUS_BEYOND_LOOPBACK=true where a proxy authenticates or every caller is "
        "trusted"
    )


def test_both_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(load_settings(host="0.0.0.0"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {**TLS, "tokens": "required"},
        {**TLS, "tls_client_ca_file": FILE},
        {**TLS, "allow_anonymous_beyond_loopback": True},
        {"allow_plaintext_beyond_loopback": True, "tokens": "required"},
        {"allow_plaintext_beyond_loopback": True, "allow_anonymous_beyond_loopback": True},
    ],
)
def test_what_the_settings_say_in_words_is_accepted(settings: dict[str, Any]) -> None:
    check_exposure(load_settings(host="0.0.0.0", **settings))


def test_name_without_an_address_is_left_to_the_attempt_to_listen() -> None:
    check_exposure(load_settings(host="no-such-host.invalid"))


@pytest.mark.parametrize("name", ["tls_cert_file", "tls_key_file", "tls_client_ca_file"])
def test_tls_on_a_unix_socket_is_rejected(name: str) -> None:
    with pytest.raises(SettingsError, match="have no effect on a Unix socket"):
        check_exposure(load_settings(host="unix:/run/zoo.sock", **{name: FILE}))
