"""The wheel, installed into environments that had nothing before, and used outside the checkout: `make wheel-test` makes both."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.end_to_end.server_process import (
    EXAMPLES,
    REPOSITORY,
    TIMEOUT_S,
    ServerProcess,
    environment,
    zoo_home,
)
from tests.support.end_to_end.user_data import flats_csv

SERVER = REPOSITORY / ".venv-wheel" / "bin"
"""Of the environment with `zoo-serving[server]`."""
CLIENT = REPOSITORY / ".venv-wheel-client" / "bin"
"""Of the environment with `zoo-serving` alone."""
PACKAGES = ("service", "model_zoo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without anything of the checkout, but a photo and a table of a user."""
    made = tmp_path_factory.mktemp("user")
    shutil.copy(EXAMPLES / "cat.jpg", made / "cat.jpg")
    flats_csv(made / "flats.csv")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """The installed server, with lane processes and without any setting for the package's place."""
    home = folder / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    settings = {"ZOO_HOME": str(home), "ZOO_MODELS": "efficientnet_lite0", "ZOO_LANE_PROCESSES": "auto"}
    with ServerProcess(command=(str(SERVER / "zoo"), "serve"), cold=True, cwd=folder, **settings) as process:
        yield process.ready()
    process.assert_log_is_clean()


def run(folder: Path, *line: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command in the user's folder, to its end."""
    return subprocess.run(
        [*map(str, line)],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def succeeds(folder: Path, *line: str | Path, **settings: str) -> str:
    """The output of a command that must succeed."""
    done = run(folder, *line, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_has_every_file_of_the_packages_and_no_other() -> None:
    [wheel] = (REPOSITORY / "dist").glob("zoo_serving-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    in_checkout = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == in_checkout


@pytest.mark.parametrize("environment_of", [SERVER, CLIENT], ids=["server", "client"])
def test_packages_are_those_of_the_environment(folder: Path, environment_of: Path) -> None:
    code = "import service, model_zoo; print(service.__file__, model_zoo.__file__, service.__version__)"
    *places, version = succeeds(folder, environment_of / "python", "-c", code).split()
    assert all(Path(place).is_relative_to(environment_of.parent) for place in places), places
    assert version[0].isdigit()


def test_installed_server_answers_installed_clients(server: ServerProcess, folder: Path) -> None:
    for place in (SERVER, CLIENT):
        line = (place / "zoo", "predict", "efficientnet_lite0", "cat.jpg", "--json", "--server", server.target)
        assert "cat" in json.dumps(json.loads(succeeds(folder, *line))).lower()
    assert succeeds(folder, SERVER / "zoo", "probe", ZOO_HTTP_PORT=str(server.http_port)) == "ready\n"


def test_installed_server_fine_tunes_and_serves_the_result(server: ServerProcess, folder: Path) -> None:
    at = ("--server", server.target)
    line = ("finetune", "tabular_mlp", "flats.csv", "--name", "flats", "--target", "rent", "--set", "epochs=5")
    succeeds(folder, CLIENT / "zoo", *line, *at)
    flat = '{"size": 80.0, "age": 10.0, "part": "centre"}'
    assert succeeds(folder, CLIENT / "zoo", "predict", "flats", flat, *at)


def test_installed_doctor_finds_a_sound_home(server: ServerProcess, folder: Path) -> None:
    said = json.loads(succeeds(folder, SERVER / "zoo", "doctor", "--json", ZOO_HOME=str(folder / "home")))
    assert said["sound"] is True


def test_wheel_without_the_extra_has_the_client_and_says_what_the_server_needs(folder: Path) -> None:
    assert run(folder, CLIENT / "python", "-c", "import torch").returncode != 0
    assert "predict" in succeeds(folder, CLIENT / "zoo", "--help")
    refused = run(folder, CLIENT / "zoo", "serve")
    assert refused.returncode == 1
    assert "the extra `server` of zoo-serving brings it" in refused.stderr
    assert "Traceback" not in refused.stderr
