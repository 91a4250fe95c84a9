"""A server with its own home that can be stopped or killed and restarted on the same port."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from service.client import Checkpoint, Client, Dataset, Job, JobEvent, StateChanged
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, zoo_home

SETTINGS = {
    # The bases of the RNN and of tables are loaded on demand.
    "ZOO_MODELS": "efficientnet_lite0,all_minilm_l6_v2",
    "ZOO_JOBS_PER_DEVICE": "3",
    # A prewarmed worker would import torch for nothing at each restart. The stock clients' tests have one.
    "ZOO_JOB_WORKER_READY_S": "0",
}


@dataclass
class RestartableServer:
    """As a context manager: `server` is the current process, `client` calls the current process."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    server: ServerProcess = field(init=False)
    client: Client = field(init=False)
    _port: str = "0"

    def start(self) -> None:
        """Starts the server and waits until it is ready. A restart uses the same port."""
        weights = self.home / "weights"
        if not weights.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            weights.symlink_to(zoo_home() / "weights")
        settings = SETTINGS | {"ZOO_HOME": str(self.home)} | self.settings
        self.server = ServerProcess("--port", self._port, **settings).ready()
        if self._port == "0":
            self._port = str(self.server.port)
            self.client = Client(self.server.target)

    def stop(self) -> None:
        """Stops the server with SIGTERM, and checks its exit code and its log."""
        self.server.terminate()
        code = self.server.wait()
        assert code == 0, f"exit code {code}:\n{self.server.output}"
        self.server.assert_log_is_clean()

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self.server.process.kill()
        assert self.server.wait() == -signal.SIGKILL

    def __enter__(self) -> RestartableServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.client.close()
        if kind is None:
            self.stop()
        elif self.server.process.poll() is None:
            self.kill()

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def ended(self, job: Job) -> Job:
        """The job, once it has ended."""
        for _ in self.client.watch_job(job.id):
            pass
        return self.client.job(job.id)

    def succeeded(self, job: Job) -> Job:
        """The job, once it has succeeded."""
        job = self.ended(job)
        assert job.state == "SUCCEEDED", job
        return job


class Watcher:
    """Watches a job in a thread, across restarts of the server."""

    def __init__(self, client: Client, job: Job) -> None:
        self.events: list[JobEvent] = []
        self._news = threading.Condition()
        self._over = False
        self._pool = ThreadPoolExecutor(1)
        self._end = self._pool.submit(self._follow, client.watch_job(job.id))

    def until(self, matches: Callable[[JobEvent], bool], what: str) -> JobEvent:
        """The first event that matches, once it has arrived."""
        with self._news:
            self._news.wait_for(lambda: self._over or any(map(matches, self.events)), TIMEOUT_S)
            found = next(filter(matches, self.events), None)
        assert found is not None, f"no {what}: {self.states}"
        return found

    def until_step(self, step: int) -> None:
        """Returns once a checkpoint of this step or a later one exists."""
        self.until(lambda e: isinstance(e.what, Checkpoint) and e.what.step >= step, f"checkpoint of step {step}")

    def end(self) -> list[JobEvent]:
        """All events, once the job has ended."""
        self._end.result(TIMEOUT_S)
        self._pool.shutdown()
        return self.events

    @property
    def states(self) -> list[str]:
        """The states that the job entered."""
        return [event.what.state for event in self.events if isinstance(event.what, StateChanged)]

    def _follow(self, events: Iterator[JobEvent]) -> None:
        try:
            for event in events:
                with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()


@dataclass(frozen=True)
class TunedModels:
    """A CNN, a Transformer and an RNN, fine-tuned on user data, on a server that can be restarted."""

    workshop: RestartableServer
    data: dict[str, Dataset]
    jobs: dict[str, Job]

    @property
    def client(self) -> Client:
        return self.workshop.client

    @property
    def server(self) -> ServerProcess:
        return self.workshop.server
