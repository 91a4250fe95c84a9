"""Channel options of the SDK: message sizes, retries, proxies, default timeouts.

gRPC itself retries UNAVAILABLE with exponential backoff and jitter, by service config (gRFC A6), and RESOURCE_EXHAUSTED: a full
queue, or the rate of a token. CANCELLED is retried, too: gRPC's servers end calls with it that come while they close the port,
and a call that the caller cancels is not tried again. Where the server says when to try again, or that a retry does not help, as
with a quota, gRPC does as it says. It does not retry:

- the health service, so that a probe of an absent server is answered at once;
- LoadModel and PullModel, whose failures are UNAVAILABLE too: a retry would fetch and convert gigabytes again to fail for the
  same reason;
- RollbackModel and CreateToken, which are not idempotent;
- StreamPredict, UploadDataset and WatchJob, which the SDK opens again by itself (`backoff.py`). gRPC keeps the requests of a
  stream for a retry and can wait for ever after the server was killed.

A target that may name several servers (`dns:///NAME:PORT`, `ipv4:HOST:PORT,HOST:PORT`) gets each call to the next one whose
health service says SERVING: a server that drains says so first, and gets no more calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.addresses import endpoints, is_balanced, is_loopback_address
from service.client.errors import BadInput

DEFAULT_TARGET = "127.0.0.1:8001"

CALL_TIMEOUT_S = 60.0
"""For calls that compute or look up, all attempts together."""
LOAD_TIMEOUT_S = 1800.0
"""For loading, which may fetch the weights first over a slow line."""
HEALTH_TIMEOUT_S = 5.0
"""For health checks, which a live server answers in milliseconds."""

_RETRIED = (
    {"service": "zoo.v1.Prediction"},
    {"service": "zoo.v1.Models"},
    {"service": "zoo.v1.FineTuning"},
    {"service": "zoo.v1.Access"},
)
_NOT_RETRIED = (  # the entry of a method has precedence over the entry of its service
    {"service": "zoo.v1.Prediction", "method": "StreamPredict"},
    {"service": "zoo.v1.Models", "method": "LoadModel"},
    {"service": "zoo.v1.Models", "method": "PullModel"},
    {"service": "zoo.v1.Models", "method": "RollbackModel"},
    {"service": "zoo.v1.FineTuning", "method": "UploadDataset"},
    {"service": "zoo.v1.FineTuning", "method": "WatchJob"},
    {"service": "zoo.v1.Access", "method": "CreateToken"},
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a call that failed for the moment is retried. The defaults give up after about three seconds."""

    attempts: int = 5
    """Attempts including the first; gRPC allows at most 5. 1 means no retry."""
    initial_backoff_s: float = 0.2
    """Pause before the second attempt. Each further pause is twice as long."""
    max_backoff_s: float = 2.0
    """Longest pause."""


Metadata = tuple[tuple[str, str], ...]
"""gRPC metadata: names with values."""


def call_metadata(owner: str) -> Metadata:
    """Metadata that names the owner. Raises BadInput for a name that cannot be sent; the server checks the rest."""
    if not (owner.isascii() and owner.isprintable()):
        raise BadInput(f"owner: expected letters, digits and . _ - + @, got {owner[:64]!r}")
    return (("zoo-owner", owner),) if owner else ()


def model_metadata(model: str, version: str) -> Metadata:
    """Metadata that repeats what a Predict message is for, so that a server without room refuses it before it reads it."""
    values = (("zoo-model", model), ("zoo-version", version))
    named = tuple((key, value) for key, value in values if value)
    return named if all(_NAME.fullmatch(value) for _, value in named) and model else ()


def channel_options(target: str, retry: Retry) -> list[tuple[str, str | int]]:
    """Channel arguments for `target` (see `service/addresses.py`), the same for both clients."""
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", _service_config(retry, is_balanced(target))),
        # The server limits message sizes and reports it; the client adds no limit.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # gRPC does not retry a call larger than this buffer (256 KiB by default, less than a photo).
        ("grpc.per_rpc_retry_buffer_size", 64 * _MIB),
        # Connect again at the pace of the retries; the default is one second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # A server that was away for a while is called again this soon; the default is two minutes.
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Despite its name also the timeout of one connection attempt; 20 s, the default, is long for a wrong address.
        ("grpc.min_reconnect_backoff_ms", 3000),
    ]
    if is_loopback_target(target):
        options.append(("grpc.enable_http_proxy", 0))  # gRPC would use the proxy of http_proxy for loopback, too
    return options


def _service_config(retry: Retry, balanced: bool) -> str:
    def retried(methods: Sequence[Mapping[str, str]], *codes: str) -> dict[str, object]:
        policy = {
            "maxAttempts": retry.attempts,
            "initialBackoff": f"{retry.initial_backoff_s:g}s",
            "maxBackoff": f"{retry.max_backoff_s:g}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": codes,
        }
        return {"name": methods} | ({"retryPolicy": policy} if retry.attempts > 1 else {})

    methods = [
        retried(_RETRIED, "UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"),
        {"name": _NOT_RETRIED},
    ]
    balancing = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    return json.dumps({"methodConfig": methods} | (balancing if balanced else {}), allow_nan=False)


def is_loopback_target(target: str) -> bool:
    """Whether a target is on this machine, as its text shows it."""
    return all(is_loopback_address(address) for address in endpoints(target))
