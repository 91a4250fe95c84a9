"""The server starts, serves, trains and drains in whatever environment it is in, or says in one sentence why it cannot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from service.client import Client, SamplesInstance
from tests.support.end_to_end.bare_server import BareServer
from tests.support.end_to_end.preloaded import refuses_to_start
from tests.support.end_to_end.server_process import (
    BEYOND_LOOPBACK,
    TIMEOUT_S,
    ZOO,
    ServerProcess,
    environment,
    zoo_home,
)
from tests.support.end_to_end.stubs import RNN
from tests.support.end_to_end.user_data import flats_csv

SOUND = SamplesInstance(np.zeros(512, np.float32), 16_000)
KUBERNETES = {
    "ZOO_PORT": "tcp://10.96.0.12:8001",
    "ZOO_HTTP_PORT": "tcp://10.96.0.13:8002",
    "ZOO_SERVICE_HOST": "10.96.0.12",
    "ZOO_SERVICE_PORT": "8001",
    "ZOO_SERVICE_PORT_GRPC": "8001",
    "ZOO_PORT_8001_TCP": "tcp://10.96.0.12:8001",
    "ZOO_PORT_8001_TCP_PROTO": "tcp",
    "ZOO_PORT_8001_TCP_PORT": "8001",
    "ZOO_PORT_8001_TCP_ADDR": "10.96.0.12",
}
"""What Kubernetes sets in every container of a namespace with Services called `zoo` and `zoo-http`."""
BARE_LOCALE = {
    "LC_ALL": "C",
    "LANG": "xx_YY.nonsense",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "TERM": "dumb",
    "COLUMNS": "1",
    "NO_COLOR": "1",
    "TZ": "Nowhere/Land",
}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def nobody(folder: Path) -> Path:
    """A folder for PYTHONPATH that has the system not know the user, as in a container that runs under any number."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import pwd\ndef unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\npwd.getpwuid = unknown\n"
    )
    return site


def strange_home(folder: Path) -> Path:
    home = folder / "é 100%\n#?ünï…"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    return home


def test_server_with_closed_streams_c_locale_and_unusual_home_serves_and_trains(tmp_path: Path) -> None:
    home = strange_home(tmp_path)
    own = {"ZOO_HOME": home.name, "PYTHONPATH": str(nobody(tmp_path)), "ZOO_JOB_WORKER_READY_S": "0"}
    odd = ["sh", "-c", 'umask 077; ulimit -n 256; exec "$@" 0<&- 1>&- 2>&-', "sh"]
    with (
        BareServer(
            "--model",
            RNN,
            "--host",
            "[::1]" if has_ipv6() else "127.0.0.1",
            host="::1" if has_ipv6() else "127.0.0.1",
            cwd=tmp_path,
            before=odd,
            settings=KUBERNETES | BARE_LOCALE | own,
            without=["HOME", "USER", "LOGNAME", "PATH"],
        ) as server,
        Client(server.ready().target) as client,
    ):
        [outcome] = client.predict(RNN, [SOUND])
        assert outcome.model == RNN
        data = client.upload_dataset(flats_csv(tmp_path / "flats.csv"), columns={"target": "rent"})
        job = client.create_job("tabular_mlp", data.id, "flats", hyperparameters={"epochs": 2})
        for _ in client.watch_job(job.id):
            pass
        ended = client.job(job.id)
        assert (ended.state, ended.state_reason) == ("SUCCEEDED", "")
        for fd in (0, 1, 2):
            assert Path(f"/proc/{server.process.pid}/fd/{fd}").readlink() == Path(os.devnull)
    assert (home / "zoo.db").is_file()


def test_kubernetes_service_variables_are_ignored_with_a_warning(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        BareServer(
            "--model", RNN, settings=KUBERNETES | {"PYTHONIOENCODING": "latin-1"}, stdout=stdout, stderr=stderr
        ) as server,
    ):
        server.ready()
    events = [json.loads(line) for line in err.read_text(encoding="latin-1").splitlines()]
    warned = {event["variable"]: event["event"] for event in events if event["level"] == "warning"}
    assert set(warned) == {"ZOO_PORT", "ZOO_HTTP_PORT"}
    assert all("Kubernetes" in text for text in warned.values())
    assert not [event for event in events if event["level"] == "error"]
    banner = out.read_text(encoding="latin-1")
    assert f"loading  {RNN} \\u2026" in banner, "latin-1 has no such character"
    assert " × " in banner, "and has that one"


def test_ipv6_address_with_brackets_is_accepted_and_printed(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with ServerProcess("--model", RNN, "--host", "[::]", **BEYOND_LOOPBACK) as server:
        server.live()
        server.wait_for_line(f"gRPC     [::]:{server.port}")
        server.wait_for_line(f"http://[::]:{server.http_port}/metrics")
        server.wait_for_line(f"--server [::1]:{server.port} {RNN}")
        assert '"ready": true' in server.get("/healthz"), "IPv4 reaches it, too"
        for address in (f"[::1]:{server.port}", f"127.0.0.1:{server.port}", f"localhost:{server.port}"):
            with Client(address) as client:
                assert client.ready()


# ── what cannot be is said in one sentence ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("127.0.0.1:8001", "--host is '127.0.0.1:8001': expected an address or a name"),
        ("[::1]:8001", "--host is '[::1]:8001': expected an address or a name"),
        ("[::1", "--host is '[::1': expected an address or a name"),
        ("http://0.0.0.0", "--host is 'http://0.0.0.0': expected an address or a name"),
        ("no-such-host.invalid", "cannot listen on no-such-host.invalid:0 for gRPC: "),
        ("a..b", "--host is 'a..b': expected an address or a name such as 127.0.0.1"),
        ("a" * 300, "for gRPC: "),
    ],
)
def test_malformed_host_is_rejected_at_start(host: str, says: str) -> None:
    assert says in refuses_to_start("--model", RNN, "--host", host, "--port", "0", "--http-port", "0")


@pytest.mark.parametrize(
    ("home", "says"),
    [
        ("~nouser/x", "ZOO_HOME is '~nouser/x': there is no home folder of nouser"),
        ("{folder}/file", "ZOO_HOME: nothing can be written in {folder}/file: file exists"),
        ("{folder}/file/below", "ZOO_HOME: nothing can be written in {folder}/file/below: not a directory"),
        ("{folder}/dangling", "ZOO_HOME: nothing can be written in {folder}/dangling: file exists"),
        ("{folder}/loop/x", "ZOO_HOME: nothing can be written in {folder}/loop/x: too many levels of symbolic links"),
        ("/proc/zoo", "ZOO_HOME: nothing can be written in /proc/zoo: "),
        ("{folder}/" + "a" * 300, "file name too long"),
        ("{folder}/\udcff", "its name is not valid UTF-8"),
        ("{folder}/file\nx/y", "ZOO_HOME"),
    ],
)
def test_unusable_home_is_rejected_at_start(tmp_path: Path, home: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file\nx").write_text("")
    (tmp_path / "dangling").symlink_to("/proc/nowhere/x")
    (tmp_path / "loop").symlink_to("loop")
    given = home.format(folder=tmp_path)
    said = refuses_to_start("--model", RNN, "--port", "0", "--http-port", "0", ZOO_HOME=given)
    assert says.format(folder=tmp_path) in said


def test_user_without_home_is_asked_for_zoo_home(tmp_path: Path) -> None:
    variables = environment(PYTHONPATH=str(nobody(tmp_path)))
    for name in ("ZOO_HOME", "HOME", "XDG_DATA_HOME"):
        variables.pop(name, None)
    done = subprocess.run([ZOO, "serve"], env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2
    [sentence] = done.stderr.splitlines()
    assert "there is no home folder of this user; set ZOO_HOME to a folder" in sentence
