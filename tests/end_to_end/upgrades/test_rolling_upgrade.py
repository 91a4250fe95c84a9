"""Two servers on one home and one database are replaced one after the other, to the next release and back, under traffic.

Balancers spread the calls: the client's own, and a real Envoy with the configuration of deploy/. No call may fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from service.client import Client, Regression
from service.database.migrate import newest
from service.pb import open_inference_pb2, open_inference_pb2_grpc
from tests.support.database.postgres import running
from tests.support.end_to_end.bare_server import free_ports
from tests.support.end_to_end.envoy import envoy
from tests.support.end_to_end.next_release import REVISION, VERSION, next_release, serve_next_release
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, run_zoo, until, zoo_home
from tests.support.end_to_end.steady_traffic import SteadyTraffic
from tests.support.end_to_end.stubs import RNN, Scrape, infer, outputs, stubs_of
from tests.support.end_to_end.user_data import flats_csv

FLAT = {"size": 80.0, "age": 10.0, "part": "centre"}
TONE = np.sin(np.arange(512, dtype=np.float32) / 5)
FRAMES_BETWEEN = 10
"""Calls that are answered between two steps, at least."""


class Fleet:
    """Two servers behind a balancer, each of either release."""

    def __init__(self, ports: list[int], release: Path, settings: dict[str, str]) -> None:
        self._ports, self._release, self._settings = ports, release, settings
        self.servers = [self.start(place, new=False) for place in range(2)]
        for server in self.servers:
            server.ready()

    def start(self, place: int, *, new: bool) -> ServerProcess:
        line = ("--port", str(self._ports[place]))
        return (
            serve_next_release(self._release, *line, **self._settings)
            if new
            else ServerProcess(*line, **self._settings)
        )

    def replace(self, place: int, *, new: bool) -> None:
        """Ends one server as a container runtime does, and starts one of the other release in its place."""
        self.servers[place].terminate()
        assert self.servers[place].wait() == 0
        self.servers[place].assert_log_is_clean()
        self.servers[place] = self.start(place, new=new).ready()

    def versions(self) -> set[str]:
        """The versions that the servers say they are of."""
        found = set()
        for server in self.servers:
            with stubs_of(server) as stubs:
                reply = stubs.inference.ServerMetadata(open_inference_pb2.ServerMetadataRequest(), timeout=TIMEOUT_S)
            found.add(reply.version)
        return found

    def is_called(self, place: int) -> bool:
        """Whether every client has noticed a server."""
        scrape = Scrape(self.servers[place])
        return all(scrape.value("zoo_requests_total", model=model, code="OK") > 0 for model in (RNN, "flats"))

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.terminate()
        assert [server.wait() for server in self.servers] == [0, 0]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[Fleet, dict[str, str]]]:
    """The servers, and the target of each balancer."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    release = next_release(tmp_path / "release", newest()[0])
    with ExitStack() as stack:
        url = stack.enter_context(stack.enter_context(running()).fresh())
        settings = {"ZOO_HOME": str(home), "ZOO_DATABASE_URL": url, "ZOO_MODELS": RNN}
        settings |= {
            "ZOO_FOLLOW_INTERVAL_S": "0.5",
            "ZOO_JOB_WORKER_READY_S": "0",
            "ZOO_DRAIN_NOTICE_S": "1.5",
            "ZOO_JOB_MIN_SHARE": "1",
        }
        ports = free_ports(2)
        made = Fleet(ports, release, settings)
        stack.callback(made.close)
        target = f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
        yield made, {"client": target, "envoy": stack.enter_context(envoy(tmp_path, ports))}


@contextmanager
def stock_stub(target: str) -> Iterator[Any]:
    """A stub of a stock client: behind Envoy without any retry, else balancing and retrying as gRPC itself can."""
    options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    if target.startswith("ipv4:"):
        policy = {
            "maxAttempts": 5,
            "initialBackoff": "0.05s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        }
        config = {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": ""},
            "methodConfig": [{"name": [{"service": "inference.GRPCInferenceService"}], "retryPolicy": policy}],
        }
        options += [("grpc.service_config", json.dumps(config)), ("grpc.max_reconnect_backoff_ms", 1000)]
    else:
        options.append(("grpc.enable_retries", 0))
    with grpc.insecure_channel(target, options) as channel:
        yield open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.component
@pytest.mark.timeout(2400)  # six servers start one after the other; each step has its own limit, TIMEOUT_S
def test_upgrade_and_rollback_of_one_server_after_the_other_lose_no_request(
    fleet: tuple[Fleet, dict[str, str]], tmp_path: Path
) -> None:
    servers, targets = fleet
    with ExitStack() as stack:
        clients = {name: stack.enter_context(Client(target)) for name, target in targets.items()}
        stubs = {name: stack.enter_context(stock_stub(target)) for name, target in targets.items()}
        client, by_envoy = clients["client"], clients["envoy"]
        wanted = outputs(stubs["client"].ModelInfer(infer(RNN, samples=TONE[None]), timeout=TIMEOUT_S))

        def by_stock_client(balancer: str) -> None:
            got = outputs(stubs[balancer].ModelInfer(infer(RNN, samples=TONE[None]), timeout=TIMEOUT_S))
            assert got.keys() == wanted.keys()
            for name, values in got.items():
                np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-6)

        def by_sdk(balancer: str) -> None:
            [found] = clients[balancer].predict("flats", FLAT)
            assert found.version == 1, found

        data = client.upload_dataset(flats_csv(tmp_path / "flats.csv"), columns={"target": "rent"})

        def job(epochs: int, to: Client = client) -> str:
            made = to.create_job(
                "tabular_mlp", data.id, "flats", hyperparameters={"epochs": epochs, "patience": epochs}, promote=True
            )
            return made.id

        def state(job_id: str) -> str:
            return client.job(job_id).state

        first = job(10)
        until(lambda: state(first) == "SUCCEEDED", "the first job")
        streams = {name: one.stream_predict("flats", cycle([FLAT]), in_flight=4) for name, one in clients.items()}

        def by_stream(balancer: str) -> None:
            found = next(streams[balancer])
            assert isinstance(found, Regression), found

        kinds = [by_stock_client, by_stock_client, by_sdk, by_stream]
        callers = [partial(call, balancer) for balancer in targets for call in kinds]
        traffic = stack.enter_context(SteadyTraffic(callers))
        long = job(10_000)
        until(lambda: client.job(long).progress.step > 0, "the second job")
        for place in range(2):
            traffic.flows(FRAMES_BETWEEN)
            servers.replace(place, new=True)
            until(lambda place=place: servers.is_called(place), "calls to the new server")
        assert servers.versions() == {VERSION}
        before = client.job(long).progress.step
        until(lambda: client.job(long).progress.step > before, "the second job, which the next release continues")
        client.cancel_job(long)
        until(lambda: state(long) == "CANCELLED", "the end of the second job")

        of_next_release = job(10_000, by_envoy)
        for place in range(2):
            servers.replace(place, new=False)
            assert (
                servers.servers[place].wait_for("the tables are those of a newer Zoo, which this one can use")["tables"]
                == REVISION
            )
            until(lambda place=place: servers.is_called(place), "calls to the old server")
            traffic.flows(FRAMES_BETWEEN)
        traffic.stop()
        assert traffic.failures == []
        assert (state(first), state(long)) == ("SUCCEEDED", "CANCELLED")
        waiting = client.job(of_next_release)
        assert (waiting.state, waiting.damaged) == ("QUEUED", "")
        assert waiting.state_reason == "waits for a server of the newer Zoo that created it"
        after = job(10, by_envoy)
        until(lambda: state(after) == "SUCCEEDED", "a job of the old release")
        client.cancel_job(of_next_release)
        assert state(of_next_release) == "CANCELLED"


def test_old_release_starts_again_on_the_sqlite_database_of_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    release = next_release(tmp_path / "release", newest()[0])
    settings = {"ZOO_HOME": str(home), "ZOO_MODELS": RNN, "ZOO_JOB_WORKER_READY_S": "0"}
    with serve_next_release(release, **settings) as server, Client(server.ready().target) as client:
        data = client.upload_dataset(flats_csv(tmp_path / "flats.csv"), columns={"target": "rent"})
        job = client.create_job("tabular_mlp", data.id, "flats", hyperparameters={"epochs": 5})
        until(lambda: client.job(job.id).state == "SUCCEEDED", "the job")
        [before] = client.predict("flats", FLAT)
    with ServerProcess(**settings) as server, Client(server.ready().target) as client:
        [after] = client.predict("flats", FLAT)
        assert isinstance(before, Regression)
        assert isinstance(after, Regression)
        assert (after.version, after.value) == (before.version, pytest.approx(before.value))
        assert client.job(job.id).state == "SUCCEEDED"
        assert next(event.sequence for event in client.watch_job(job.id)) == 1
    checked = run_zoo("doctor", "--digests", ZOO_HOME=str(home))
    assert checked.returncode == 0, checked.stdout
    assert f"its tables are those of a newer Zoo ('{REVISION}'), which this one can use" in " ".join(
        checked.stderr.split()
    )
