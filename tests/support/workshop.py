"""A home of its own with a server on it that can be ended in any way and started anew, where it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from service.client import Checkpoint, Client, Dataset, Job, JobEvent, StateChanged
from tests.support.server_process import PATIENCE_S, ServerProcess, zoo_home

SETTINGS = {
    # The RNN's and the tables' bases are loaded when somebody needs them.
    "ZOO_MODELS": "efficientnet_lite0,all_minilm_l6_v2",
    "ZOO_JOBS_PER_DEVICE": "3",
}


@dataclass
class Workshop:
    """Enter it first; `server` is then the process, `client` talks to whichever process is there."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    server: ServerProcess = field(init=False)
    client: Client = field(init=False)
    _port: str = "0"

    def start(self) -> None:
        """A server, ready. After the first time on the port where it was."""
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
        """As an operator stops it: a clean end, and nothing in the log to complain of."""
        self.server.terminate()
        code = self.server.wait()
        assert code == 0, f"exit code {code}:\n{self.server.said}"
        self.server.complains_of_nothing()

    def kill(self) -> None:
        """As the machine may end it: without a word."""
        self.server.process.kill()
        assert self.server.wait() == -signal.SIGKILL

    def __enter__(self) -> Workshop:
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
        """The job at its end."""
        for _ in self.client.watch_job(job.id):
            pass
        return self.client.job(job.id)

    def succeeded(self, job: Job) -> Job:
        """The job at its end, which has to be a good one."""
        job = self.ended(job)
        assert job.state == "SUCCEEDED", job
        return job


class Watcher:
    """Follows a job in a thread of its own, as somebody does who looks on, whatever happens to the server meanwhile."""

    def __init__(self, client: Client, job: Job) -> None:
        self.events: list[JobEvent] = []
        self._news = threading.Condition()
        self._over = False
        self._pool = ThreadPoolExecutor(1)
        self._end = self._pool.submit(self._follow, client.watch_job(job.id))

    def until(self, wanted: Callable[[JobEvent], bool], what: str) -> JobEvent:
        """The first event that is `wanted`, once it is there."""
        with self._news:
            self._news.wait_for(lambda: self._over or any(map(wanted, self.events)), PATIENCE_S)
            found = next(filter(wanted, self.events), None)
        assert found is not None, f"no {what}: {self.states}"
        return found

    def until_step(self, step: int) -> None:
        """Returns once there is a checkpoint of that step or a later one."""
        self.until(lambda e: isinstance(e.what, Checkpoint) and e.what.step >= step, f"checkpoint of step {step}")

    def end(self) -> list[JobEvent]:
        """All events, once the job has ended."""
        self._end.result(PATIENCE_S)
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
class Made:
    """What the workshop's first hour brought forth: a CNN, a Transformer and an RNN on a user's data."""

    workshop: Workshop
    data: dict[str, Dataset]
    jobs: dict[str, Job]

    @property
    def client(self) -> Client:
        return self.workshop.client

    @property
    def server(self) -> ServerProcess:
        return self.workshop.server
