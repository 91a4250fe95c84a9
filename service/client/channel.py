"""How the SDK's channels are set up: message sizes, retries, proxies.

Retries are gRPC's own, by service config (gRFC A6): UNAVAILABLE alone is tried again, with exponential backoff and
jitter. Left out are the health service, so that asking whether a server is there is answered at once; LoadModel, whose
failures are UNAVAILABLE too: trying again would fetch and convert gigabytes five times to hear the same reason;
RollbackModel, which done twice is not what was asked for; and the streams that go on where they broke off, which the SDK
does itself (`patience.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from service.client.errors import BadInput

DEFAULT_TARGET = "127.0.0.1:8001"

_RETRIED = ({"service": "zoo.v1.Prediction"}, {"service": "zoo.v1.Models"}, {"service": "zoo.v1.FineTuning"})
_CALLED_ONCE = (  # a method's own entry goes before its service's
    {"service": "zoo.v1.Models", "method": "LoadModel"},
    {"service": "zoo.v1.Models", "method": "RollbackModel"},
    {"service": "zoo.v1.FineTuning", "method": "UploadDataset"},
    {"service": "zoo.v1.FineTuning", "method": "WatchJob"},
)
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often UNAVAILABLE is tried again. The defaults give up after about three seconds."""

    attempts: int = 5
    """Calls in all, the first counted; gRPC takes no more than 5. 1 means no retry."""
    initial_backoff_s: float = 0.2
    """Pause before the second attempt; every further one is twice as long."""
    max_backoff_s: float = 2.0
    """Longest pause."""


Metadata = tuple[tuple[str, str], ...]
"""What goes with every call."""


def call_metadata(owner: str) -> Metadata:
    """Says who calls. Raises BadInput for a name that cannot be sent; what else is wrong with one, the server says."""
    if not (owner.isascii() and owner.isprintable()):
        raise BadInput(f"owner: expected letters, digits and . _ - + @, got {owner[:64]!r}")
    return (("zoo-owner", owner),) if owner else ()


def channel_options(target: str, retry: Retry) -> list[tuple[str, str | int]]:
    """Channel arguments for `target` (`host:port`), the same for sync and async."""
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", _service_config(retry)),
        # The server decides what is too large and says so; the client adds no limit of its own.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A call that outgrows this buffer (256 KiB by default, less than a photo) is silently never retried.
        ("grpc.per_rpc_retry_buffer_size", 64 * _MIB),
        # A refused connection is tried anew at the pace of the retries, not after a second of its own.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Despite its name also the longest wait for one connection; the default of 20 s is long for a wrong address.
        ("grpc.min_reconnect_backoff_ms", 3000),
    ]
    if _is_loopback(target):
        options.append(("grpc.enable_http_proxy", 0))  # gRPC would send even this through the proxy in http_proxy
    return options


def _service_config(retry: Retry) -> str:
    method: dict[str, object] = {"name": _RETRIED}
    if retry.attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": retry.attempts,
            "initialBackoff": f"{retry.initial_backoff_s:g}s",
            "maxBackoff": f"{retry.max_backoff_s:g}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
    return json.dumps({"methodConfig": [method, {"name": _CALLED_ONCE}]}, allow_nan=False)


def _is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")
