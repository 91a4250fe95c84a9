"""What each metric of Zoo means. `metrics.py` makes the instruments from these, and docs/metrics.md is generated from them.

Names have base units. Label values come from the catalog, from the registry and from fixed sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.observability.buckets import Buckets

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = Buckets(
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    smallest=-20,  # a microsecond
    largest=17,  # 36 hours, for streams
)
ROWS = Buckets((1, 2, 4, 8, 16, 32, 64, 128, 256), smallest=-1, largest=12)
RATIO = Buckets((0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0), smallest=-10, largest=0)

MODEL = ("model", "version")
JOB = ("job", "model")

_STARTED = "from the start of the server"
_EVENT = "from the first event on"
_LOADED = "while the model is loaded"
_JOB = "while this server runs the job"
_EACH_MODEL = "one for each model and version"
_EACH_LOADED = "one for each loaded model"
_EACH_JOB = "one for each running job"
_EXPORTED = "Prometheus stores the label `job` as `exported_job`, since `job` is its own label of the target."


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. Texts are Markdown without line breaks, except `help`."""

    name: str
    """As it is exposed; of a counter with `_total`."""
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str
    """One sentence, which is also the HELP line of the exposition."""
    series: str
    """When a series appears, and when it ends."""
    cardinality: str
    """How many series there can be; of a histogram, before its buckets."""
    details: str = ""
    """What else there is to know."""
    buckets: Buckets | None = None
    """Of a histogram."""


REQUESTS = Definition(
    "zoo_requests_total",
    "counter",
    (*MODEL, "method", "code"),
    "requests",
    "Calls answered, by gRPC status code.",
    _EVENT,
    "one for each model, version, method and code that occurred",
    "Each request on a stream counts, and the stream itself counts under `….stream`. If a client leaves, its call counts as "
    "CANCELLED; on a stream so does every request that had begun and was not answered yet. Labels `model` and `version` are "
    "empty where no model was found.",
)
REQUEST_DURATION = Definition(
    "zoo_request_duration_seconds",
    "histogram",
    (*MODEL, "method"),
    "seconds",
    "From a call's arrival to its reply.",
    _EVENT,
    "one for each model, version and method that occurred",
    "Buckets carry exemplars with the `trace_id` of a recorded trace, in OpenMetrics and in the protobuf format: at most one a "
    "bucket, renewed at most once a second.",
    SECONDS,
)
STAGE_DURATION = Definition(
    "zoo_stage_duration_seconds",
    "histogram",
    (*MODEL, "stage"),
    "seconds",
    "Where the time of an inference call went.",
    _EVENT,
    "four for each model and version",
    "Stages are preprocess, queue, execute and postprocess, of inference calls that succeeded.",
    SECONDS,
)
BATCH_SIZE = Definition(
    "zoo_batch_size",
    "histogram",
    MODEL,
    "rows",
    "Rows in an executed batch.",
    _EVENT,
    _EACH_MODEL,
    "A version that is a head on a shared base counts its own rows of a batch; the batch counts for the base.",
    ROWS,
)
BATCH_PADDING = Definition(
    "zoo_batch_padding_ratio",
    "histogram",
    MODEL,
    "ratio",
    "Padded share of an executed batch.",
    _EVENT,
    _EACH_MODEL,
    "0 where all rows are equally long.",
    RATIO,
)
PREDICTED_EXECUTE = Definition(
    "zoo_predicted_execute_seconds",
    "histogram",
    MODEL,
    "seconds",
    "The scheduler's prediction of a batch's time on its lane.",
    "from the first prediction on",
    _EACH_MODEL,
    buckets=SECONDS,
)
BATCH_EXECUTE = Definition(
    "zoo_batch_execute_seconds",
    "histogram",
    MODEL,
    "seconds",
    "What the batches of zoo_predicted_execute_seconds took.",
    "from the first prediction on",
    _EACH_MODEL,
    "Collate, run and split.",
    SECONDS,
)
QUEUE_DEPTH = Definition(
    "zoo_queue_depth", "gauge", MODEL, "rows", "Rows that wait for the device.", _LOADED, _EACH_LOADED
)
IN_FLIGHT = Definition(
    "zoo_in_flight_requests",
    "gauge",
    MODEL,
    "requests",
    "Inference calls accepted and not yet answered.",
    "from the first call on",
    _EACH_MODEL,
)
REJECTED = Definition(
    "zoo_rejected_total",
    "counter",
    (*MODEL, "reason"),
    "requests",
    "Inference calls refused without running, by reason.",
    _EVENT,
    "six for each model and version",
    "Reasons are queue_full, deadline, too_late, draining, not_ready and memory_full. Labels are empty where the server refused "
    "before it chose a model or version.",
)
CANARY_ROLLBACKS = Definition(
    "zoo_canary_rollbacks_total",
    "counter",
    ("model",),
    "rollbacks",
    "Canaries that violated their bounds and lost their share of the calls.",
    _EVENT,
    "one for each model",
)
MODEL_STATE = Definition(
    "zoo_model_state",
    "gauge",
    ("model", "state"),
    "",
    "1 for the state that the model is in, 0 for the others.",
    "from the first state on, until the model is deleted",
    "four for each model of the catalog and each fine-tuned one",
    "States are LOADING, READY, UNLOADING and UNAVAILABLE.",
)
MODEL_LOAD = Definition(
    "zoo_model_load_seconds",
    "gauge",
    MODEL,
    "seconds",
    "From weights on disk to ready, at the last load.",
    _LOADED,
    _EACH_LOADED,
)
MODEL_LOAD_FAILED = Definition(
    "zoo_model_load_failed",
    "gauge",
    MODEL,
    "",
    "1 for a version whose last load failed.",
    "from the failed load on, until the version is loaded or deleted",
    "one for each version whose load failed",
    "A model that nobody loaded is UNAVAILABLE in `zoo_model_state`, and has no series here.",
)
MODEL_MEMORY = Definition(
    "zoo_model_memory_bytes",
    "gauge",
    MODEL,
    "bytes",
    "Memory of a loaded model on the device.",
    _LOADED,
    _EACH_LOADED,
    "By the ledger ([operations.md](operations.md#memory)).",
)
MODEL_TIER = Definition(
    "zoo_model_tier",
    "gauge",
    (*MODEL, "tier", "precision"),
    "",
    "1 for the tier and precision that a loaded model runs in.",
    _LOADED,
    _EACH_LOADED,
    "Tiers are eager and compiled, precisions fp32, bf16, fp16 and int8 ([tiers](tiers.md)). A new series replaces the one "
    "before.",
)
MODEL_SPEEDUP = Definition(
    "zoo_model_speedup_ratio",
    "gauge",
    MODEL,
    "ratio",
    "Rows a second of the network that runs, over those of the network at load; measured at full batch.",
    _LOADED,
    _EACH_LOADED,
)
DEVICE_MEMORY = Definition(
    "zoo_device_memory_bytes",
    "gauge",
    ("device", "kind"),
    "bytes",
    "Memory of the device, by kind.",
    _STARTED,
    "at most six",
    "weights: of loaded models; models: all memory of loaded models; budget: if one is set; process: private memory, on a CPU; "
    "allocated and reserved: of torch, on a GPU.",
)
DEVICE_BUSY = Definition(
    "zoo_device_busy_seconds_total",
    "counter",
    ("device",),
    "seconds",
    "Time that the device's lanes spent on batches.",
    _EVENT,
    "one",
    "Its rate divided by the number of lanes is the utilisation.",
)
JOBS = Definition(
    "zoo_jobs",
    "gauge",
    ("state",),
    "jobs",
    "Fine-tune jobs, by state.",
    _STARTED,
    "seven",
    "States are queued, running, paused, cancelling, succeeded, failed and cancelled. The jobs are those of the database, so "
    "servers on one database report the same.",
)
JOB_PROGRESS = Definition(
    "zoo_job_progress_ratio",
    "gauge",
    JOB,
    "ratio",
    "Share of a running job that is done.",
    _JOB,
    _EACH_JOB,
    _EXPORTED,
)
JOB_LAST_PROGRESS = Definition(
    "zoo_job_last_progress_timestamp_seconds",
    "gauge",
    JOB,
    "seconds since 1970",
    "When a running job last reported progress or a metric.",
    _JOB,
    _EACH_JOB,
    _EXPORTED,
)
JOB_METRIC = Definition(
    "zoo_job_metric",
    "gauge",
    (*JOB, "metric", "split"),
    "that of the metric",
    "Latest measured value of a running job.",
    _JOB,
    "at most 32 for each running job",
    _EXPORTED,
)
CERTIFICATE_EXPIRY = Definition(
    "zoo_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    ("certificate",),
    "seconds since 1970",
    "When a TLS certificate in use expires, in Unix time.",
    "from the start of a server with TLS",
    "at most two",
    "server; client_ca: the last of the CAs of clients.",
)
CERTIFICATE_RELOADS = Definition(
    "zoo_tls_certificate_reloads_total",
    "counter",
    ("result",),
    "changes",
    "Changes of the TLS files, by whether the new ones could be used.",
    _EVENT,
    "two",
    "loaded; failed: the new files cannot be used, and the certificate before them stays.",
)
LOG_LINES_LOST = Definition(
    "zoo_log_lines_lost_total",
    "counter",
    (),
    "lines",
    "Lines on standard output and error, such as log lines, that were lost.",
    _STARTED,
    "one",
    "The pipe's reader died or does not read, the disk behind it is full, or a line could not be made.",
)
SPANS_LOST = Definition(
    "zoo_spans_lost_total",
    "counter",
    (),
    "spans",
    "Spans that the collector of traces did not take, and traced requests that found no room.",
    _STARTED,
    "one",
    "0 where nothing is traced.",
)
AUDIT_LINES_LOST = Definition(
    "zoo_audit_lines_lost_total",
    "counter",
    (),
    "lines",
    "Lines of the audit log that could not be written.",
    _STARTED,
    "one",
    "The disk of ZOO_HOME is full or too slow. The changes themselves were made, or refused.",
)
READY = Definition(
    "zoo_ready",
    "gauge",
    (),
    "",
    "1 while the server takes new requests, else 0.",
    _STARTED,
    "one",
    "0 until the models of the settings have loaded or failed, while no model answers, and while the server drains.",
)
HOME_AVAILABLE = Definition(
    "zoo_home_available_bytes",
    "gauge",
    (),
    "bytes",
    "Free space on the disk of ZOO_HOME that the server's user may use.",
    _STARTED,
    "one",
    "NaN where the disk does not tell.",
)
HOME_SIZE = Definition(
    "zoo_home_size_bytes",
    "gauge",
    (),
    "bytes",
    "Size of the disk of ZOO_HOME.",
    _STARTED,
    "one",
)
MEMORY_AVAILABLE = Definition(
    "zoo_memory_available_bytes",
    "gauge",
    (),
    "bytes",
    "Memory that the server and its child processes may still take.",
    _STARTED,
    "one",
    "The lesser of the machine's and the container's; pages of the file cache count as available. NaN where the system does not "
    "tell.",
)
MEMORY_LIMIT = Definition(
    "zoo_memory_limit_bytes",
    "gauge",
    (),
    "bytes",
    "Memory of the machine, or the limit of the container if it is lower.",
    _STARTED,
    "one",
)
BUILD_INFO = Definition(
    "zoo_build_info",
    "gauge",
    ("version", "device"),
    "",
    "Always 1: the release of Zoo, and the device that it computes on.",
    _STARTED,
    "one",
)


def definitions() -> tuple[Definition, ...]:
    """All of them, in the order of the page."""
    return tuple(value for value in globals().values() if isinstance(value, Definition))
