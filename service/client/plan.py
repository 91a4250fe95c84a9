"""Plans: a verb as a generator that yields what it needs from the outside and gets it sent back.

The verb's logic is written once; `sync.py` and `aio.py` perform its effects, each in its own way. A plan owns no
channel, opens no file and never waits, so it can be tested by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from service.client.errors import BadInput
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


@dataclass(frozen=True, slots=True)
class Read:
    """A file's content; its bytes are sent back, or BadInput thrown in."""

    path: Path

    def perform(self) -> bytes:
        """Reads the file. Blocks."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise BadInput(f"cannot read {str(self.path)!r}: {why}", reason="UNREADABLE_FILE") from None


Effect = Call | Read
T = TypeVar("T")
Plan = Generator[Effect, Any, T]
