"""What the files of the deployment promise, as far as it shows without a Docker daemon. `run.sh` does the rest for real."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.end_to_end.components import find_command

ROOT = Path(__file__).parents[2]
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def resolved(value: str) -> str:
    """A value of docker-compose.yml where nothing is set in the shell."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def seconds(duration: str) -> float:
    """A duration as compose writes it."""
    parts = re.findall(r"(\d+)(ms|[hms])", duration)
    assert parts, duration
    assert "".join(number + unit for number, unit in parts) == duration
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(compose) == {"services", "volumes"}  # docker-compose 1.29 knows no `name`, newer ones want no `version`
    return compose["services"]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


@pytest.fixture(scope="module")
def final_stage(instructions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    last = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[last:]


@pytest.fixture(scope="module")
def image_environment(final_stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in final_stage if word == "ENV" for pair in rest.split())


def test_image_listens_on_the_default_ports_and_exposes_them(
    final_stage: list[tuple[str, str]], image_environment: dict[str, str]
) -> None:
    ports = [str(DEFAULTS["port"]), str(DEFAULTS["http_port"])]
    assert [rest.split() for word, rest in final_stage if word == "EXPOSE"] == [ports]
    assert [image_environment["ZOO_PORT"], image_environment["ZOO_HTTP_PORT"]] == ports


def test_image_sets_only_settings_that_exist(image_environment: dict[str, str]) -> None:
    names = {name.removeprefix("ZOO_").lower() for name in image_environment if name.startswith("ZOO_")}
    assert names <= set(DEFAULTS)


def test_image_keeps_its_state_in_a_volume(
    final_stage: list[tuple[str, str]], image_environment: dict[str, str]
) -> None:
    assert [rest for word, rest in final_stage if word == "VOLUME"] == [image_environment["ZOO_HOME"]]


def test_image_user_is_numeric_and_not_root(final_stage: list[tuple[str, str]]) -> None:
    user = [rest for word, rest in final_stage if word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_entrypoint_is_exec_form_so_that_the_server_gets_signals(final_stage: list[tuple[str, str]]) -> None:
    said = dict(final_stage)
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert said["ENTRYPOINT"].startswith("[")
    assert said["CMD"].startswith("[")


def test_build_needs_no_buildkit(instructions: list[tuple[str, str]]) -> None:
    assert "syntax=" not in (ROOT / "Dockerfile").read_text().splitlines()[0]
    assert not [rest for word, rest in instructions if word == "RUN" and rest.lstrip().startswith("--")]
    assert not [rest for word, rest in instructions if "<<" in rest]


def test_files_copied_by_the_build_are_not_in_dockerignore(instructions: list[tuple[str, str]]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for word, rest in instructions:
        if word == "COPY" and not rest.startswith("--from"):
            copied.update(rest.split()[:-1])
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= copied


def test_compose_publishes_the_default_ports_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    ports = DEFAULTS["port"], DEFAULTS["http_port"]
    assert [resolved(port) for port in services["zoo"]["ports"]] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert all(resolved(port).startswith("127.0.0.1:") for port in services["prometheus"]["ports"])


def test_compose_sets_only_settings_that_exist(
    services: dict[str, dict[str, Any]], instructions: list[tuple[str, str]]
) -> None:
    zoo = services["zoo"]
    names = {name.removeprefix("ZOO_").lower() for name in zoo["environment"] if name.startswith("ZOO_")}
    assert names <= set(DEFAULTS)
    assert float(resolved(zoo["environment"]["ZOO_DRAIN_GRACE_S"])) == DEFAULTS["drain_grace_s"]
    arguments = {rest.partition("=")[0] for word, rest in instructions if word == "ARG"}
    assert set(zoo["build"]["args"]) == arguments


def test_compose_waits_longer_than_the_drain_lasts(services: dict[str, dict[str, Any]]) -> None:
    drain_s = DEFAULTS["drain_notice_s"] + DEFAULTS["drain_grace_s"]
    assert seconds(resolved(services["zoo"]["stop_grace_period"])) >= drain_s + 5


def test_compose_keeps_models_in_the_volume_of_the_image(
    services: dict[str, dict[str, Any]], image_environment: dict[str, str]
) -> None:
    assert services["zoo"]["volumes"] == [f"models:{image_environment['ZOO_HOME']}"]


@pytest.mark.parametrize("name", ["zoo", "prometheus"])
def test_compose_drops_all_privileges(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert service["restart"] == "unless-stopped"


def test_prometheus_starts_after_a_healthy_zoo_from_a_pinned_image(services: dict[str, dict[str, Any]]) -> None:
    prometheus = services["prometheus"]
    assert prometheus["depends_on"] == {"zoo": {"condition": "service_healthy"}}
    assert services["zoo"]["healthcheck"]["start_period"]
    assert re.search(r":v\d+\.\d+\.\d+$", resolved(prometheus["image"]))
    config = prometheus["volumes"][0].split(":")
    assert (ROOT / config[0]).is_file()
    assert config[1:] == ["/etc/prometheus/prometheus.yml", "ro"]
    rules = prometheus["volumes"][1].split(":")
    assert [*(ROOT / rules[0]).glob("*.yml")]
    assert rules[1:] == ["/etc/prometheus/rules", "ro"]  # where its rule_files look


def test_prometheus_scrapes_the_service_where_it_listens(services: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [job] = [job for job in config["scrape_configs"] if job["job_name"] == "zoo"]
    assert job["metrics_path"] == "/metrics"
    [target] = [target for group in job["static_configs"] for target in group["targets"]]
    host, _, port = target.partition(":")
    assert host in services
    assert int(port) == DEFAULTS["http_port"]


@pytest.mark.component
@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-secured.yml"])
def test_promtool_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "deploy/prometheus", tmp_path / "prometheus")
    for secret in ("zoo-token", "zoo-ca.crt"):  # an operator puts them there
        (folder / secret).touch()
    promtool = find_command("promtool", None, "Debian's package prometheus")
    done = subprocess.run([promtool, "check", "config", folder / name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr


@pytest.mark.component
def test_amtool_accepts_the_configuration() -> None:
    amtool = find_command("amtool", None, "Debian's package prometheus-alertmanager")
    command = [amtool, "check-config", ROOT / "deploy/prometheus/alertmanager.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_inhibits_alerts_that_exist() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/alertmanager.yml").read_text())
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text())["groups"]
    known = {rule["alert"] for group in rules for rule in group["rules"]}
    named = set(re.findall(r"\bZoo\w+", str(config["inhibit_rules"])))
    assert named
    assert named <= known


def test_secured_configuration_differs_only_in_transport() -> None:
    """Both files scrape one job by one set of rules; the secured one asks by TLS, with a token from a file."""
    plain, secured = (
        yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text())
        for name in ("prometheus.yml", "prometheus-secured.yml")
    )
    job = secured["scrape_configs"][0]
    assert job.pop("scheme") == "https"
    assert job.pop("authorization") == {"type": "Bearer", "credentials_file": "zoo-token"}
    assert job.pop("tls_config") == {"ca_file": "zoo-ca.crt", "min_version": "TLS12"}
    for config in (plain, secured):
        del config["scrape_configs"][0]["static_configs"]
    assert plain == secured
