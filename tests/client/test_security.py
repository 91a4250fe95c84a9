"""TLS and the token of a client: from its arguments, else from the environment."""

import re
from pathlib import Path

import pytest

from service.client import BadInput, Client
from service.client.security import Tls, security_of, speaks_tls, tls_of_environment
from tests.support.certificates import Authority

CA = Authority()
SECRET = "zoo_abc_0123456789"
FAR = "zoo.example:8001"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """PEM files by name."""
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    (tmp_path / "text").write_text("no PEM")
    cert, key = CA.issue(client=True).write(tmp_path, "client")
    _, other = CA.issue(client=True).write(tmp_path, "other")
    (tmp_path / "token").write_text(f"{SECRET}\n")
    (tmp_path / "empty").write_text("\n")
    names = {"ca": "ca.pem", "text": "text", "token": "token", "empty": "empty", "absent": "absent"}
    return {"cert": str(cert), "key": str(key), "other": str(other)} | {k: str(tmp_path / v) for k, v in names.items()}


def test_connection_is_plain_and_anonymous_by_default() -> None:
    found = security_of(FAR, environment={})
    assert (found.credentials, found.options, found.metadata) == (None, (), ())


def test_tls_with_the_cas_of_this_machine_needs_no_file() -> None:
    assert security_of(FAR, tls=True, environment={}).credentials is not None


@pytest.mark.parametrize("name", ["ZOO_TLS", "ZOO_TLS_CA_FILE", "ZOO_TLS_SERVER_NAME"])
def test_environment_turns_tls_on_and_an_argument_turns_it_off(name: str, files: dict[str, str]) -> None:
    environment = {name: {"ZOO_TLS": "true", "ZOO_TLS_CA_FILE": files["ca"]}.get(name, "zoo.internal")}
    assert security_of(FAR, environment=environment).credentials is not None
    assert security_of(FAR, tls=False, environment=environment).credentials is None


@pytest.mark.parametrize("value", ["", "0", "false", "off", "no"])
def test_tls_stays_off_where_its_variable_says_so(value: str) -> None:
    assert tls_of_environment({"ZOO_TLS": value, "ZOO_TLS_CA_FILE": ""}) is None


def test_client_certificate_is_taken_from_the_environment(files: dict[str, str]) -> None:
    environment = {
        "ZOO_TLS_CA_FILE": files["ca"],
        "ZOO_TLS_CLIENT_CERT_FILE": files["cert"],
        "ZOO_TLS_CLIENT_KEY_FILE": files["key"],
    }
    assert tls_of_environment(environment) == Tls(files["ca"], files["cert"], files["key"])
    assert security_of(FAR, environment=environment).credentials is not None


def test_server_name_replaces_that_of_the_address() -> None:
    options = dict(security_of(FAR, Tls(server_name="zoo.internal"), environment={}).options)
    assert options == {
        "grpc.ssl_target_name_override": "zoo.internal",
        "grpc.default_authority": "zoo.internal",
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ca_file": "absent"}, "the CA file '.*absent' cannot be read: no such file or directory"),
        ({"ca_file": "text"}, "the CA file '.*text' holds no certificate in PEM, or a damaged one"),
        ({"client_cert_file": "cert"}, "a client certificate and its key belong together; only one of them is given"),
        ({"client_key_file": "key"}, "a client certificate and its key belong together; only one of them is given"),
        (
            {"client_cert_file": "cert", "client_key_file": "other"},
            "the client certificate '.*client.crt' and the key '.*other.key' cannot be used: expected PEM, .*",
        ),
        ({"client_cert_file": "text", "client_key_file": "key"}, "the client certificate '.*text' and the key .*"),
    ],
)
def test_file_that_cannot_be_used_is_bad_input(given: dict[str, str], says: str, files: dict[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        security_of(FAR, Tls(**{name: files[file] for name, file in given.items()}), environment={})
    assert re.fullmatch(says, caught.value.message)


# ── the token ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_token_is_sent_as_a_bearer_token_over_tls_and_on_this_machine() -> None:
    bearer = (("authorization", f"Bearer {SECRET}"),)
    assert security_of(FAR, tls=True, token=SECRET, environment={}).metadata == bearer
    for target in ("127.0.0.1:8001", "localhost:8001", "[::1]:8001", "unix:/run/zoo.sock"):
        assert security_of(target, token=SECRET, environment={}).metadata == bearer


def test_token_in_plain_text_to_another_machine_is_refused_with_what_to_set() -> None:
    with pytest.raises(BadInput) as caught:
        security_of(FAR, token=SECRET, environment={})
    assert caught.value.message.startswith(f"the token would travel to {FAR} in plain text: use TLS")
    assert SECRET not in str(caught.value)


def test_token_in_plain_text_is_sent_where_that_is_asked_for() -> None:
    assert security_of(FAR, token=SECRET, allow_plaintext_beyond_loopback=True, environment={}).metadata
    asked = {"ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK": "true"}
    assert security_of(FAR, token=SECRET, environment=asked).metadata
    with pytest.raises(BadInput, match="in plain text"):
        security_of(FAR, token=SECRET, allow_plaintext_beyond_loopback=False, environment=asked)


def test_token_comes_from_the_environment_or_its_file_unless_it_is_given(files: dict[str, str]) -> None:
    def sent(token: str | None, **environment: str) -> str:
        found = security_of("127.0.0.1:8001", token=token, environment=environment)
        return dict(found.metadata).get("authorization", "")

    assert sent(None, ZOO_TOKEN_FILE=files["token"]) == f"Bearer {SECRET}"
    assert sent(None, ZOO_TOKEN="other", ZOO_TOKEN_FILE=files["token"]) == "Bearer other"
    assert sent("mine", ZOO_TOKEN="other") == "Bearer mine"
    assert sent("", ZOO_TOKEN="other") == ""


@pytest.mark.parametrize("token", ["two words", "tab\there", "line\nbreak", "ünïcode", "nul\0"])
def test_token_that_cannot_be_sent_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(BadInput) as caught:
        security_of("127.0.0.1:8001", token=token, environment={})
    assert token not in str(caught.value)


@pytest.mark.parametrize(("file", "says"), [("absent", "cannot be read: no such file"), ("empty", "is empty")])
def test_token_file_without_a_token_is_bad_input(file: str, says: str, files: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=says):
        security_of("127.0.0.1:8001", environment={"ZOO_TOKEN_FILE": files[file]})


def test_token_is_in_no_representation() -> None:
    assert SECRET not in repr(security_of(FAR, tls=True, token=SECRET, environment={}))
    with Client("127.0.0.1:1", token=SECRET) as client:
        assert SECRET not in repr(client)
        assert SECRET not in repr(vars(client))


@pytest.mark.parametrize("target", ["unix:/run/zoo.sock", "no port", "host:port", "[::1]:99999", ""])
def test_address_that_cannot_be_asked_does_not_speak_tls(target: str) -> None:
    assert not speaks_tls(target)
