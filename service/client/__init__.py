"""Python SDK over `zoo.v1`, sync and async. Imports grpc and NumPy, never torch.

    from service.client import Client

    with Client("127.0.0.1:8001") as zoo:
        [cat] = zoo.predict("efficientnet_lite0", Path("cat.jpg"))
        print(cat.labels[0].name)

One verb, one place: a verb is a *plan* (`verbs.py`) that yields what it needs from the outside (a call, a file) and
reads the reply. `Client` performs plans with a blocking channel, `AsyncClient` with an asyncio one; neither has logic.

    inputs, tensors  what a caller gives → messages        results, models  messages → what a caller gets
    stream           answers in the order of inputs         errors           status and details → exceptions
    channel          sizes, retries, proxies
"""

from service.client.aio import AsyncClient
from service.client.channel import DEFAULT_TARGET, Retry
from service.client.errors import (
    BadInput,
    IllegalMove,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    PredictionError,
    ServerUnreachable,
    TimedOut,
    Unavailable,
    Violation,
    ZooClientError,
)
from service.client.models import Evidence, ModelInfo, ServerStatus, TensorSpec, UnloadedModel, UpdatedModel
from service.client.results import Classification, Embedding, Outcome, Result, Segments, Tensors
from service.client.sync import Client
from service.types import Label, SamplesInstance, Segment, Timing

__all__ = [
    "DEFAULT_TARGET",
    "AsyncClient",
    "BadInput",
    "Classification",
    "Client",
    "Embedding",
    "Evidence",
    "IllegalMove",
    "InvalidRequest",
    "Label",
    "ModelInfo",
    "NotAllowed",
    "NotFound",
    "Outcome",
    "Overloaded",
    "PredictionError",
    "Result",
    "Retry",
    "SamplesInstance",
    "Segment",
    "Segments",
    "ServerStatus",
    "ServerUnreachable",
    "TensorSpec",
    "Tensors",
    "TimedOut",
    "Timing",
    "Unavailable",
    "UnloadedModel",
    "UpdatedModel",
    "Violation",
    "ZooClientError",
]
