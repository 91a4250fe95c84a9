"""What the files of the deployment promise, as far as it shows without a Docker daemon. `run.sh` does the rest for real."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
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


COMPOSE_FILES = ("docker-compose.yml", "docker-compose.secured.yml", "docker-compose.gpu.yml")
ONE_SHOT = {"prepare", "metrics-token"}
"""Services that end."""
CLIENT_VARIABLES = {"ZOO_TLS_CA_FILE"}
"""Variables of `zoo` as a client."""


def resolved(value: str) -> str:
    """A value of docker-compose.yml where nothing is set in the shell."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def compose_file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


def seconds(duration: str) -> float:
    """A duration as compose writes it."""
    parts = re.findall(r"(\d+)(ms|[hms])", duration)
    assert parts, duration
    assert "".join(number + unit for number, unit in parts) == duration
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = compose_file("docker-compose.yml")["services"]
    return services


@pytest.fixture(scope="module")
def secured() -> dict[str, dict[str, Any]]:
    """What docker-compose.secured.yml adds."""
    services: dict[str, dict[str, Any]] = compose_file("docker-compose.secured.yml")["services"]
    return services


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
    assert {
        name for name in copied if name not in allowed and not any(name.startswith(f"{one}/") for one in allowed)
    } == set()
    assert allowed <= copied
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= copied


def test_compose_files_are_for_old_and_new_compose() -> None:
    """docker-compose 1.29 knows no `name`, newer ones want no `version`; both know `x-` for parts that are used twice."""
    for name in COMPOSE_FILES:
        keys = {key for key in compose_file(name) if not key.startswith("x-")}
        assert keys <= {"services", "volumes", "networks"}, name


def test_compose_publishes_the_default_ports_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    ports = DEFAULTS["port"], DEFAULTS["http_port"]
    assert [resolved(port) for port in services["zoo"]["ports"]] == [f"127.0.0.1:{port}:{port}" for port in ports]
    for name, service in services.items():
        assert all(resolved(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
    # Nothing but the server can be opened to other machines.
    assert [name for name, service in services.items() if "ZOO_BIND" in str(service.get("ports"))] == ["zoo"]
    assert services["prepare"]["environment"] == {"ZOO_BIND": "${ZOO_BIND:-127.0.0.1}"}  # it refuses what is not safe


def test_compose_publishes_no_database(services: dict[str, dict[str, Any]]) -> None:
    assert "ports" not in services["postgres"]
    assert services["postgres"]["networks"] == ["database"]
    assert compose_file("docker-compose.yml")["networks"] == {"database": {"internal": True}}
    on_it = {name for name, service in services.items() if "database" in service.get("networks", ())}
    assert on_it == {"zoo", "postgres"}


def test_compose_sets_only_settings_that_exist(
    services: dict[str, dict[str, Any]], secured: dict[str, dict[str, Any]], instructions: list[tuple[str, str]]
) -> None:
    zoo = services["zoo"]
    for environment in (zoo["environment"], secured["zoo"]["environment"], secured["metrics-token"]["environment"]):
        given = {name for name in environment if name.startswith("ZOO_")} - CLIENT_VARIABLES
        assert {name.removeprefix("ZOO_").lower() for name in given} <= set(DEFAULTS)
    assert float(resolved(zoo["environment"]["ZOO_DRAIN_GRACE_S"])) == DEFAULTS["drain_grace_s"]
    arguments = {rest.partition("=")[0] for word, rest in instructions if word == "ARG"}
    assert set(zoo["build"]["args"]) == arguments
    assert services["prepare"]["build"] == zoo["build"]  # one image, whichever is built first
    gpu = compose_file("docker-compose.gpu.yml")["services"]
    assert gpu["prepare"]["build"] == gpu["zoo"]["build"] == {"args": {"DEVICE": "cuda"}}


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_hold_no_secret(name: str) -> None:
    for service in compose_file(name)["services"].values():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASS|TOKEN_FILE|SECRET|KEY", variable):
                assert value.startswith("/run/zoo/"), variable


def test_compose_waits_longer_than_the_drain_lasts(services: dict[str, dict[str, Any]]) -> None:
    drain_s = DEFAULTS["drain_notice_s"] + DEFAULTS["drain_grace_s"]
    assert seconds(resolved(services["zoo"]["stop_grace_period"])) >= drain_s + 5


def test_compose_keeps_models_in_the_volume_of_the_image(
    services: dict[str, dict[str, Any]], image_environment: dict[str, str]
) -> None:
    assert f"models:{image_environment['ZOO_HOME']}" in services["zoo"]["volumes"]


def test_volumes_that_prepare_writes_have_their_folder_in_the_image(instructions: list[tuple[str, str]]) -> None:
    """A new volume takes its owner from the image's folder; without one it would be root's."""
    [made] = [rest for word, rest in instructions if word == "RUN" and "useradd" in rest]
    written = {
        volume.split(":")[1] if not volume.startswith("$") else volume.rpartition(":")[2]
        for name in COMPOSE_FILES[:2]
        for service, parts in compose_file(name)["services"].items()
        if service in ONE_SHOT
        for volume in parts["volumes"]
        if not volume.endswith(":ro")
    }
    assert len(written) > 4
    assert written <= set(made.split())


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_drops_all_privileges(name: str) -> None:
    for service, parts in compose_file(name)["services"].items():
        assert not {"privileged", "cap_add", "devices", "pid"} & parts.keys(), service
        if "image" not in parts:  # it adds to a service of docker-compose.yml
            assert not {"cap_drop", "security_opt", "read_only", "user"} & parts.keys(), service
            continue
        assert parts["cap_drop"] == ["ALL"], service
        assert parts["security_opt"] == ["no-new-privileges:true"], service
        assert parts["read_only"] is True, service
        assert parts["restart"] == ("no" if service in ONE_SHOT else "unless-stopped"), service


def test_compose_bounds_memory_processes_and_logs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["mem_limit"], name
        assert service["pids_limit"] >= 512, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name


def test_compose_takes_pinned_images(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name not in ("prepare", "zoo"):
            assert re.search(r":v?\d+\.\d+(\.\d+)?$", resolved(service["image"])), name


def test_services_wait_for_what_they_need(
    services: dict[str, dict[str, Any]], secured: dict[str, dict[str, Any]]
) -> None:
    assert services["zoo"]["healthcheck"]["start_period"]
    for name, service in (*services.items(), *secured.items()):
        for needed, how in service.get("depends_on", {}).items():
            ends = needed in ONE_SHOT
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": wanted}, (name, needed)
            # The image of zoo says itself how it is asked.
            assert ends or needed == "zoo" or "test" in services[needed]["healthcheck"], (name, needed)
    assert {name: set(service["depends_on"]) for name, service in services.items() if "depends_on" in service} == {
        "zoo": {"prepare", "postgres"},
        "postgres": {"prepare"},
        "prometheus": {"zoo", "alertmanager"},
        "grafana": {"prepare", "prometheus"},
    }


def test_files_that_compose_mounts_exist_where_they_are_read(
    services: dict[str, dict[str, Any]], secured: dict[str, dict[str, Any]]
) -> None:
    mounted: dict[str, Path] = {}
    for service in (*services.values(), *secured.values()):
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                source, target, how = volume.split(":")
                mounted[target] = ROOT / source
                assert mounted[target].exists()
                assert how == "ro"
    assert mounted.keys() == {
        "/prepare.py",
        "/etc/prometheus/prometheus.yml",
        "/etc/prometheus/rules",  # where its rule_files look
        "/etc/alertmanager/alertmanager.yml",
        "/var/lib/grafana/dashboards",  # where the provisioning looks
        "/etc/grafana/provisioning",
    }
    assert [*mounted["/etc/prometheus/rules"].glob("*.yml")]
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/zoo.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert len([*mounted["/var/lib/grafana/dashboards"].glob("*.json")]) == 4


def test_grafana_asks_prometheus_where_it_listens(services: dict[str, dict[str, Any]]) -> None:
    [source] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert resolved(services[host]["ports"][0]).endswith(f":{port}")
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [target] = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert resolved(services[host]["ports"][0]).endswith(f":{port}")


def test_secured_server_has_tls_and_tokens(secured: dict[str, dict[str, Any]]) -> None:
    environment = secured["zoo"]["environment"]
    assert environment["ZOO_TOKENS"] == "required"
    assert {environment[f"ZOO_ALLOW_{what}_BEYOND_LOOPBACK"] for what in ("PLAINTEXT", "ANONYMOUS")} == {"false"}
    where = "/run/zoo/tls"
    assert f"${{ZOO_TLS_FOLDER:-certificates}}:{where}:ro" in secured["zoo"]["volumes"]
    files = {environment[f"ZOO_TLS_{name}_FILE"] for name in ("CERT", "KEY", "CA")}
    assert files == {f"{where}/{name}" for name in ("tls.crt", "tls.key", "ca.crt")}
    assert "certificates" in secured["prepare"]["command"]  # which lets ZOO_BIND be any address


@pytest.mark.parametrize(
    "folder", ["deploy/prometheus/prometheus-secured.yml", "deploy/compose/prometheus-secured.yml"]
)
def test_secured_configuration_differs_only_in_transport(folder: str) -> None:
    """All scrape one job by one set of rules; the secured ones ask by TLS, with a token from a file."""
    plain, secured = (
        yaml.safe_load((ROOT / name).read_text()) for name in ("deploy/prometheus/prometheus.yml", folder)
    )
    job = secured["scrape_configs"][0]
    assert job.pop("scheme") == "https"
    authorization, tls = job.pop("authorization"), job.pop("tls_config")
    assert (authorization["type"], Path(authorization["credentials_file"]).name[-5:]) == ("Bearer", "token")
    assert tls.keys() == {"ca_file", "min_version"}
    assert tls["min_version"] == "TLS12"
    for config in (plain, secured):
        del config["scrape_configs"][0]["static_configs"]
    assert plain == secured


def test_prometheus_of_the_secured_set_reads_what_is_mounted(secured: dict[str, dict[str, Any]]) -> None:
    [job, _] = yaml.safe_load((ROOT / "deploy/compose/prometheus-secured.yml").read_text())["scrape_configs"]
    folders = {volume.removesuffix(":ro").rpartition(":")[2] for volume in secured["prometheus"]["volumes"]}
    for file in (job["authorization"]["credentials_file"], job["tls_config"]["ca_file"]):
        assert str(Path(file).parent) in folders
    assert job["static_configs"] == [{"targets": [f"zoo:{DEFAULTS['http_port']}"]}]  # as without TLS


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


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
