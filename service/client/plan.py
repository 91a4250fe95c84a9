"""Plans: a verb as a generator that yields what it needs from the outside and gets it sent back.

The verb's logic is written once; `sync.py` and `aio.py` perform its effects, each in its own way. A plan owns no
channel, reads no file and never waits, so it can be tested by hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from service.client.errors import BadInput
from service.client.jobs import JobEvent
from service.client.plain import quoted
from service.pb import fine_tuning_pb2 as pb
from service.pb import fine_tuning_pb2_grpc, models_pb2_grpc, prediction_pb2_grpc


class Stubs:
    """The services that the SDK calls, over one channel, blocking or asyncio."""

    def __init__(self, channel: Any) -> None:
        self.prediction = prediction_pb2_grpc.PredictionStub(channel)
        self.models = models_pb2_grpc.ModelsStub(channel)
        self.fine_tuning = fine_tuning_pb2_grpc.FineTuningStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)


@dataclass(frozen=True, slots=True)
class Call:
    """A unary call; the reply message is sent back, or a ZooClientError thrown in."""

    method: Callable[[Stubs], Callable[..., Any]]
    request: Message
    timeout: float | None


class FileWork(ABC):
    """Something to do with files. It blocks, so the asyncio client does it in a thread."""

    @abstractmethod
    def perform(self) -> Any:
        """What is sent back. Raises BadInput, which is thrown in."""


@dataclass(frozen=True, slots=True)
class Read(FileWork):
    """A file's content."""

    path: Path

    def perform(self) -> bytes:
        """Its bytes."""
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as error:  # the latter for a name with a NUL
            why = (getattr(error, "strerror", None) or "that is no name of a file").lower()
            raise BadInput(f"cannot read {quoted(self.path)}: {why}", reason="UNREADABLE_FILE") from None


@dataclass(frozen=True, slots=True)
class Upload:
    """A stream of messages to UploadDataset; the reply is sent back, or a ZooClientError thrown in."""

    messages: Iterator[pb.UploadDatasetRequest]
    """Drawn from in a thread: they read a file."""
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Watch:
    """All that happens to a job, until it has ended; nothing is sent back."""

    job_id: str
    on_event: Callable[[JobEvent], object]


@dataclass(frozen=True, slots=True)
class Pause:
    """Time that is to pass."""

    seconds: float


Effect = Call | FileWork | Upload | Watch | Pause
T = TypeVar("T")
Plan = Generator[Effect, Any, T]
