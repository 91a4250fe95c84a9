"""Python SDK for `zoo.v1`, blocking and asyncio. Imports grpc and NumPy, never torch.

    from service.client import Client

    with Client("127.0.0.1:8001") as zoo:
        [cat] = zoo.predict("efficientnet_lite0", Path("cat.jpg"))
        print(cat.labels[0].name)

`AsyncClient` is written by hand in `_async/`. `Client` in `_sync/` is generated from it by `make client`; a test compares.
Modules beside them are pure, except `upload`, which reads files:

    channel, backoff       options, retries and timeouts       concurrency             operations that differ between the two
    security               TLS and the token
    inputs/, tensors       inputs → messages                   results                 messages → results
    outputs/               results → files of other programs
    models, versions, datasets, jobs, access                   the SDK's classes ↔ messages
    upload                 the data of an upload               reorder_buffer          results in the order of inputs
    errors                 status and details → exceptions     message_fields          fields ↔ Python values
"""

from service.client._async.client import AsyncClient
from service.client._sync.client import Client
from service.client.access import Identity, NewToken, Token, TokenLimits
from service.client.channel import DEFAULT_TARGET, Retry
from service.client.datasets import Columns, Dataset, DatasetReport, SkippedExample
from service.client.errors import (
    BadInput,
    ConnectionBroken,
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
from service.client.jobs import (
    Checkpoint,
    Job,
    JobEvent,
    JobFailed,
    JobProgress,
    LogLine,
    MetricValue,
    StateChanged,
)
from service.client.models import (
    Decisions,
    Evidence,
    ModelInfo,
    PulledModel,
    ServerStatus,
    TableColumn,
    TensorSpec,
    Traffic,
    UnloadedModel,
    UpdatedModel,
)
from service.client.results import (
    Classification,
    Detections,
    Embedding,
    Entities,
    FilledMasks,
    Forecast,
    GeneratedText,
    Keypoints,
    NoteEvents,
    Outcome,
    Ranking,
    Regression,
    Result,
    Segmentation,
    Segments,
    Shots,
    Tensors,
    Transcript,
    TransformedImage,
    VolumeSegmentation,
)
from service.client.security import Tls
from service.client.versions import FineTuned, Lineage, ModelVersion, RolledBack, VersionReport, Versions
from service.types import (
    Attribution,
    Box,
    DetectedObject,
    Entity,
    HeatMap,
    Keypoint,
    Label,
    NoteEvent,
    RankedDocument,
    SamplesInstance,
    Segment,
    SegmentedClass,
    SegmentedRegion,
    Shot,
    Timing,
    TokenCandidate,
    TranscriptChunk,
    WordWeight,
)

__all__ = [
    "DEFAULT_TARGET",
    "AsyncClient",
    "Attribution",
    "BadInput",
    "Box",
    "Checkpoint",
    "Classification",
    "Client",
    "Columns",
    "ConnectionBroken",
    "Dataset",
    "DatasetReport",
    "Decisions",
    "DetectedObject",
    "Detections",
    "Embedding",
    "Entities",
    "Entity",
    "Evidence",
    "FilledMasks",
    "FineTuned",
    "Forecast",
    "GeneratedText",
    "HeatMap",
    "Identity",
    "IllegalMove",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobProgress",
    "Keypoint",
    "Keypoints",
    "Label",
    "Lineage",
    "LogLine",
    "MetricValue",
    "ModelInfo",
    "ModelVersion",
    "NewToken",
    "NotAllowed",
    "NotFound",
    "NoteEvent",
    "NoteEvents",
    "Outcome",
    "Overloaded",
    "PredictionError",
    "PulledModel",
    "RankedDocument",
    "Ranking",
    "Regression",
    "Result",
    "Retry",
    "RolledBack",
    "SamplesInstance",
    "Segment",
    "Segmentation",
    "SegmentedClass",
    "SegmentedRegion",
    "Segments",
    "ServerStatus",
    "ServerUnreachable",
    "Shot",
    "Shots",
    "SkippedExample",
    "StateChanged",
    "TableColumn",
    "TensorSpec",
    "Tensors",
    "TimedOut",
    "Timing",
    "Tls",
    "Token",
    "TokenCandidate",
    "TokenLimits",
    "Traffic",
    "Transcript",
    "TranscriptChunk",
    "TransformedImage",
    "Unavailable",
    "UnloadedModel",
    "UpdatedModel",
    "VersionReport",
    "Versions",
    "Violation",
    "VolumeSegmentation",
    "WordWeight",
    "ZooClientError",
]
