"""A wrong setting ends the start with a sentence that names it; the rest has defaults that suit most."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.settings import (
    ModelOptions,
    Settings,
    SettingsError,
    load_settings,
    machine,
    service_variables,
    usable_cores,
    with_options,
)
from service.settings import definitions as module
from tests.support.end_to_end.preloaded import run_preloaded

pytestmark = pytest.mark.usefixtures("clean_environment")


# ── defaults ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_defaults_are_the_documented_ones() -> None:
    s = load_settings()
    assert (s.host, s.port, s.http_port) == ("127.0.0.1", 8001, 8002), "ports as Triton's, bound to loopback"
    assert s.max_queue_delay_ms == 0, "an idle device never waits unless it is asked to"
    assert (s.device, s.lanes, s.max_batch_size) == ("auto", 0, 0)
    assert s.max_queue_size >= 1, "queues are bounded"
    assert s.models == ()
    assert s.shared_memory == "off", "callers reach memory of other programs with it"
    assert s.socket_mode == "0600"
    assert not s.offline
    assert s.home.is_absolute()


def test_every_setting_has_a_default_and_a_docstring() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for i, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            follower = body[i + 1]
            documented = isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant)
            assert documented, f"{ast.unparse(node.target)} has no sentence under it"
    assert all(not field.is_required() for field in Settings.model_fields.values())


def test_settings_are_immutable() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


# ── where they come from ──────────────────────────────────────────────────────────────────────────────────────────

ENVIRONMENT: list[tuple[str, str, Any]] = [
    ("port", "9001", 9001),
    ("port", "0", 0),
    ("port", "65535", 65535),
    ("host", "0.0.0.0", "0.0.0.0"),
    ("socket_mode", "0660", "0660"),
    ("shared_memory", "system", "system"),
    ("device", "cuda:3", "cuda:3"),
    ("max_queue_delay_ms", "2.5", 2.5),
    ("offline", "1", True),
    ("offline", "no", False),
    ("home", "/data/zoo", Path("/data/zoo")),
    ("log_level", "debug", "debug"),
    ("models", "a,b", ("a", "b")),
    ("models", " a , b ,", ("a", "b")),
    ("models", "a", ("a",)),
    ("models", "", ()),
    ("models", " , ", ()),
]


@pytest.mark.parametrize(("name", "text", "value"), ENVIRONMENT)
def test_setting_in_the_environment_is_read(
    clean_environment: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    clean_environment.setenv(f"ZOO_{name.upper()}", text)
    assert getattr(load_settings(), name) == value


def test_flag_overrides_the_environment_unless_it_is_absent(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_PORT", "9001")
    clean_environment.setenv("ZOO_MODELS", "a,b")
    assert load_settings(port=9002, models=("c",)).port == 9002
    assert load_settings(port=9002, models=("c",)).models == ("c",)
    assert load_settings(port=None, models=None).port == 9001
    assert load_settings(port=None, models=None).models == ("a", "b")


def test_variable_without_the_prefix_is_ignored(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("PORT", "1")
    clean_environment.setenv("ZOO_SERVER", "127.0.0.1:8001")  # the client's own
    assert load_settings().port == 8001


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name != "models"])
def test_empty_variable_means_the_default(clean_environment: pytest.MonkeyPatch, name: str) -> None:
    """As a compose file sets it with `ZOO_HOST=${ZOO_HOST:-}`. An empty host would listen on every interface."""
    expected = getattr(load_settings(), name)
    clean_environment.setenv(f"ZOO_{name.upper()}", "")
    assert getattr(load_settings(), name) == expected


# ── wrong ones ────────────────────────────────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, str]] = [
    ("port", "x"),
    ("port", "-1"),
    ("port", "65536"),
    ("port", "80.5"),
    ("port", "9" * 30),
    ("http_port", "70000"),
    ("device", "gpu"),
    ("device", "cuda:"),
    ("device", "cuda:-1"),
    ("device", "cpu\n"),
    ("lanes", "-1"),
    ("lanes", "65"),
    ("cpu_threads", "many"),
    ("preprocess_workers", "257"),
    ("max_batch_size", "-3"),
    ("max_queue_size", "0"),
    ("max_queue_delay_ms", "-0.1"),
    ("max_queue_delay_ms", "nan"),
    ("default_timeout_ms", "0"),
    ("default_timeout_ms", "inf"),
    ("default_timeout_ms", "nan"),
    ("max_message_mib", "0"),
    ("max_message_mib", "2048"),
    ("drain_notice_s", "-1"),
    ("drain_grace_s", "nan"),
    ("drain_grace_s", "1e9"),
    ("offline", "perhaps"),
    ("log_level", "loud"),
    ("log_level", "INFO "),
    ("log_format", "xml"),
    ("slow_request_ms", "-1"),
    ("slow_request_ms", "nan"),
    ("trace_sample_ratio", "1.1"),
    ("trace_sample_ratio", "-0.1"),
    ("trace_sample_ratio", "nan"),
    ("otlp_endpoint", "127.0.0.1:4317"),
    ("otlp_endpoint", "http://127.0.0.1"),
    ("otlp_endpoint", "grpc://127.0.0.1:4317"),
    ("otlp_endpoint", "http://127.0.0.1:4317/v1/traces"),
]


def assert_one_sentence(text: str, name: str) -> None:
    assert "\n" not in text
    assert text.startswith(f"{name} is ")
    assert len(text) < 400
    for leak in ("Traceback", "pydantic", "validation error", "https://", "type="):
        assert leak not in text


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_wrong_variable_is_rejected_in_one_sentence_with_its_name(
    clean_environment: pytest.MonkeyPatch, name: str, text: str
) -> None:
    clean_environment.setenv(f"ZOO_{name.upper()}", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert_one_sentence(str(caught.value), f"ZOO_{name.upper()}")
    assert repr(text) in str(caught.value)
    assert caught.value.__suppress_context__, "no trace of the library behind it"


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_wrong_flag_is_rejected_with_the_name_of_the_flag(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: text})
    assert_one_sentence(str(caught.value), "--" + name.replace("_", "-"))


def test_empty_host_does_not_listen_on_every_interface() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(host="")
    assert_one_sentence(str(caught.value), "--host")


def test_several_wrong_settings_have_a_line_each(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_PORT", "x")
    clean_environment.setenv("ZOO_LANES", "y")
    with pytest.raises(SettingsError) as caught:
        load_settings(http_port=-1)
    first, second, third = sorted(str(caught.value).splitlines())
    assert_one_sentence(first, "--http-port")
    assert_one_sentence(second, "ZOO_LANES")
    assert_one_sentence(third, "ZOO_PORT")


def test_long_value_is_shortened_in_its_error(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_PORT", "x" * 100_000)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert_one_sentence(str(caught.value), "ZOO_PORT")


@pytest.mark.parametrize(
    ("environment", "flags", "names"),
    [
        ({"ZOO_PORT": "x"}, [], "ZOO_PORT is 'x'"),
        ({}, ["--port", "99999"], "--port"),
        ({"ZOO_DEVICE": "gpu"}, [], "ZOO_DEVICE is 'gpu'"),
    ],
)
def test_zoo_serve_with_wrong_setting_exits_with_two(environment: dict[str, str], flags: list[str], names: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from service.cli.main import main; main()", "serve", *flags],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert names in done.stderr
    assert "Traceback" not in done.stderr


# ── options of single models ──────────────────────────────────────────────────────────────────────────────────────


def test_model_options_are_read_as_json(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_MODEL_OPTIONS", '{"a": {"weight": 2, "pinned": true}, "b": {}}')
    options = load_settings().model_options
    assert (options["a"].weight, options["a"].pinned, options["a"].max_batch_size) == (2, True, None)
    assert options["b"] == ModelOptions()


def test_option_assignment_overrides_the_environment_for_that_option(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_MODEL_OPTIONS", '{"a": {"weight": 2, "pinned": true}}')
    merged = with_options(
        load_settings().model_options, ["a.weight=3", "b.precision=fp32", "a.max_queue_delay_ms = 2.5"]
    )
    options = load_settings(model_options=merged).model_options
    assert (options["a"].weight, options["a"].pinned, options["a"].max_queue_delay_ms) == (3, True, 2.5)
    assert options["b"].precision == "fp32"


WRONG_OPTIONS = [
    ("{", "ZOO_MODEL_OPTIONS is '{': expected a JSON object such as"),
    ("[1]", "expected a JSON object such as"),
    ("[" * 100_000, "expected a JSON object such as"),
    ('{"a": 3}', "ZOO_MODEL_OPTIONS has a wrong 'a': expected an object of options, got 3"),
    ('{"a": {"wieght": 2}}', "ZOO_MODEL_OPTIONS has a wrong 'a.wieght': no such option; did you mean 'weight'?"),
    ('{"a": {"weight": 0}}', "has a wrong 'a.weight': expected a number greater than 0, got 0"),
    ('{"a": {"weight": NaN}}', "has a wrong 'a.weight': expected a number"),
    (
        '{"a": {"precision": "fp8"}}',
        "has a wrong 'a.precision': expected 'auto', 'fp32', 'bf16', 'fp16' or 'int8', got 'fp8'",
    ),
    ('{"a": {"max_batch_size": 1.5}}', "has a wrong 'a.max_batch_size': expected a valid integer, got 1.5"),
]


@pytest.mark.parametrize(("text", "says"), WRONG_OPTIONS, ids=[text[:30] for text, _ in WRONG_OPTIONS])
def test_wrong_option_is_rejected_in_one_sentence(clean_environment: pytest.MonkeyPatch, text: str, says: str) -> None:
    clean_environment.setenv("ZOO_MODEL_OPTIONS", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    told = str(caught.value)
    assert says in told
    assert told.startswith("ZOO_MODEL_OPTIONS ")
    assert "\n" not in told
    assert len(told) < 400
    assert "pydantic" not in told


@pytest.mark.parametrize("text", ["a", "a.weight", "weight=2", ".weight=2", "a.=2", "=", ""])
def test_malformed_assignment_is_rejected_with_the_expected_form(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"--set is .* expected MODEL.OPTION=VALUE, for example silero_vad.weight=2"
    ):
        with_options({}, [text])


@pytest.mark.parametrize(
    ("environment", "flags", "says"),
    [
        (
            {"ZOO_MODEL_OPTIONS": '{"silero_vat": {}}'},
            [],
            "'silero_vat', which is not in the zoo; did you mean silero_vad?",
        ),
        ({}, ["--set", "silero_vad.max_batch_size=4000"], "a wrong 'silero_vad.max_batch_size': expected 1 to "),
        (
            {},
            ["--set", "silero_vad.weight=x"],
            "--set has a wrong 'silero_vad.weight': expected a valid number, got 'x'",
        ),
        ({}, ["--set", "silero_vad"], "--set is 'silero_vad': expected MODEL.OPTION=VALUE"),
        ({"ZOO_MODEL_OPTIONS": "{"}, [], "ZOO_MODEL_OPTIONS is '{'"),
    ],
)
def test_zoo_serve_with_wrong_options_does_not_start(environment: dict[str, str], flags: list[str], says: str) -> None:
    done = run_preloaded("serve", "--port", "0", *flags, **environment)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


# ── cores ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cores_are_the_setting_or_the_usable_cores() -> None:
    assert load_settings(cpu_threads=7).cores == 7
    assert load_settings().cores == usable_cores() >= 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("x", 8),
    ],
)
def test_container_quota_limits_the_cores(monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine.Path, "read_text", lambda self: f"{quota}\n")
    assert usable_cores() == cores


def test_cores_without_quota_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    monkeypatch.setattr(machine.Path, "read_text", nothing)
    assert usable_cores() == 3


# ── hosts, homes and variables that are not ours ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("name", ["ZOO_PORT", "ZOO_HTTP_PORT", "zoo_port"])
def test_kubernetes_service_variable_means_the_default_port(
    clean_environment: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    clean_environment.setenv(name, f"{kind}://10.96.0.12:8001")
    found = load_settings()
    assert (found.port, found.http_port) == (8001, 8002)
    assert load_settings(port=9000).port == 9000
    assert list(service_variables().values()) == [name]


@pytest.mark.parametrize(
    "value", ["tcp://", "tcp://10.96.0.12", "http://10.96.0.12:8001", "10.96.0.12:8001", "tcp:8001"]
)
def test_malformed_port_is_rejected(clean_environment: pytest.MonkeyPatch, value: str) -> None:
    clean_environment.setenv("ZOO_PORT", value)
    with pytest.raises(SettingsError, match=r"^ZOO_PORT is "):
        load_settings()
    assert service_variables() == {}


@pytest.mark.parametrize("name", ["ZOO_LANES", "ZOO_HOST", "ZOO_DRAIN_GRACE_S"])
def test_service_url_in_another_setting_is_rejected(clean_environment: pytest.MonkeyPatch, name: str) -> None:
    clean_environment.setenv(name, "tcp://10.96.0.12:8001")
    with pytest.raises(SettingsError, match=rf"^{name} is "):
        load_settings()


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("[::]", "::"),
        ("::", "::"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("localhost", "localhost"),
        ("0.0.0.0", "0.0.0.0"),
        ("zoo-1.example.", "zoo-1.example."),
        ("1a.2b", "1a.2b"),
        ("zoo_server", "zoo_server"),
        ("unix:/run/zoo.sock", "unix:/run/zoo.sock"),
        ("unix:///run/zoo.sock", "unix:/run/zoo.sock"),
    ],
)
def test_host_is_accepted_as_name_or_address_with_or_without_brackets(given: str, host: str) -> None:
    assert load_settings(host=given).host == host


def test_http_stays_on_loopback_beside_a_unix_socket() -> None:
    assert load_settings(host="unix:/run/zoo.sock").http_host == "127.0.0.1"
    assert load_settings(host="0.0.0.0").http_host == "0.0.0.0"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8001",
        "[::1]:8001",
        "[::1",
        "::1]",
        "[]",
        "[localhost]",
        ":",
        "a b",
        "http://x",
        "x/",
        "a\nb",
        "\0",
        "*",
        "*.example",
        "127.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.1.",
        "010.0.0.1",
        "1.2.3.4.5",
        "127.0.0.256",
        "zoo.8",
        ".",
        "a..b",
        "unix:",
        "unix:/a b",
    ],
)
def test_malformed_host_is_rejected(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(host=host)
    assert_one_sentence(str(caught.value), "--host")


def test_relative_home_becomes_absolute(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Children work in folders of their own."""
    clean_environment.chdir(tmp_path)
    clean_environment.setenv("ZOO_HOME", "a/../é 100%")
    assert load_settings().home == tmp_path / "a/../é 100%"


def test_relative_home_in_a_deleted_working_folder_is_rejected(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    clean_environment.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    clean_environment.setenv("ZOO_HOME", "home")
    with pytest.raises(SettingsError, match=r"^ZOO_HOME is 'home': the working folder is gone"):
        load_settings()
