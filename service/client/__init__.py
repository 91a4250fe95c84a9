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
    datasets, jobs, versions  messages of fine-tuning → what a caller gets     upload   what is sent of a file or a folder
    tuning           the plans of fine-tuning's verbs        sync_tuning, aio_tuning   which performs them
    patience         how long a broken stream is taken up again
"""

from service.client.aio import AsyncClient
from service.client.channel import DEFAULT_TARGET, Retry
from service.client.datasets import Columns, Dataset, DatasetReport, SkippedExample
from service.client.errors import (
    BadInput,
    IllegalMove,
    InvalidRequest,
    JobFailed,
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
from service.client.jobs import Checkpoint, Job, JobEvent, JobProgress, LogLine, MetricValue, StateChanged
from service.client.models import (
    Decisions,
    Evidence,
    ModelInfo,
    ServerStatus,
    TableColumn,
    TensorSpec,
    Traffic,
    UnloadedModel,
    UpdatedModel,
)
from service.client.results import (
    Classification,
    Embedding,
    Forecast,
    GeneratedText,
    Outcome,
    Regression,
    Result,
    Segments,
    Tensors,
)
from service.client.sync import Client
from service.client.versions import FineTuned, Lineage, ModelVersion, RolledBack, VersionReport, Versions
from service.types import Label, SamplesInstance, Segment, Timing

__all__ = [
    "DEFAULT_TARGET",
    "AsyncClient",
    "BadInput",
    "Checkpoint",
    "Classification",
    "Client",
    "Columns",
    "Dataset",
    "DatasetReport",
    "Decisions",
    "Embedding",
    "Evidence",
    "FineTuned",
    "Forecast",
    "GeneratedText",
    "IllegalMove",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobProgress",
    "Label",
    "Lineage",
    "LogLine",
    "MetricValue",
    "ModelInfo",
    "ModelVersion",
    "NotAllowed",
    "NotFound",
    "Outcome",
    "Overloaded",
    "PredictionError",
    "Regression",
    "Result",
    "Retry",
    "RolledBack",
    "SamplesInstance",
    "Segment",
    "Segments",
    "ServerStatus",
    "ServerUnreachable",
    "SkippedExample",
    "StateChanged",
    "TableColumn",
    "TensorSpec",
    "Tensors",
    "TimedOut",
    "Timing",
    "Traffic",
    "Unavailable",
    "UnloadedModel",
    "UpdatedModel",
    "VersionReport",
    "Versions",
    "Violation",
    "ZooClientError",
]
