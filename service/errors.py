"""Every error that Zoo raises on purpose. They are independent of gRPC: `service/wire/status.py` maps them to statuses.

ZooError                       its message is written by Zoo and safe to send to any client
├── InvalidInput               the request is wrong: field, what was expected, what was sent
├── NotFound                   no such model or version; has similar names
│   └── RegionNotFound         no such region of shared memory; names none
├── NotReady                   the model is loading, unloading or failed to load; has the reason
├── Draining                   the server is shutting down and takes no more requests
├── QueueFull                  the model has as many rows in flight as it may; has when to try again
├── ServerBusy                 requests of all models take all the memory that they may; has when to try again
├── MemoryFull                 the model does not fit beside models that must stay; has the figures
├── OutOfMemory                the device has no memory for this row, even alone
├── DeadlineExceeded           the deadline passed before the answer was there
│   └── TooLate                it has not passed, but the answer would come after it; has when to try again
├── IllegalMove                the state of the model or job does not allow the change
│   └── Damaged                its files cannot be read; it can be deleted
├── CannotPull                 Zoo cannot serve the network, or it does not give the answers of its makers
├── AlreadyExists              another object has this name
├── Unauthenticated            no token, or none that is valid
├── PermissionDenied           the token does not permit the call
├── RateLimited                the calls with the token take as much as they may; has when to try again
├── QuotaExceeded              the caller, or all callers together, have as many as they may
├── StorageFull                the disk is full, or datasets take all the space that they may
└── InternalError              any other failure; the text is generic, the cause is in the log
"""

from __future__ import annotations

from collections.abc import Sequence


class ZooError(Exception):
    """Root of the tree. `message` is one sentence for a client: no paths, no traces, no texts of other exceptions."""

    reason = "INTERNAL"
    """UPPER_SNAKE_CASE word for programs, stable across releases (google.rpc.ErrorInfo.reason)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(ZooError):
    """The request is wrong; sending it again unchanged does not help."""

    reason = "INVALID_INPUT"

    def __init__(self, field: str, problem: str) -> None:
        """`field` is the path in the request (`inputs[0].shape`); `problem` says what was expected and what was sent."""
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


class NotFound(ZooError):
    """No such model or version. `near` has names that are similar to the requested one."""

    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, near: Sequence[str] = (), known: str = "") -> None:
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else (f"; {known}" if known else "")
        super().__init__(f"unknown {kind} {name!r}{hint}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)


class RegionNotFound(NotFound):
    """No region of shared memory has the requested name. The text does not repeat the name."""

    reason = "REGION_NOT_FOUND"

    def __init__(self) -> None:
        ZooError.__init__(self, "no shared memory region of this name is registered")
        self.kind, self.name, self.near = "shared memory region", "", ()


class NotReady(ZooError):
    """The model exists but cannot answer now. While it loads, a retry helps; `retry_after_s` is then set."""

    reason = "NOT_READY"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Draining(NotReady):
    """The server finishes its requests and takes no more; another replica may answer."""

    reason = "DRAINING"

    def __init__(self) -> None:
        super().__init__("the server is shutting down and takes no more requests")


class QueueFull(ZooError):
    """The model has as many rows in flight as `max_queue_size` allows; the request is refused at once."""

    reason = "QUEUE_FULL"

    def __init__(self, model: str, waiting: int, limit: int, retry_after_s: float) -> None:
        super().__init__(f"model {model!r} has {waiting} rows in flight and its limit is {limit}; try again later")
        self.retry_after_s = retry_after_s


class ServerBusy(ZooError):
    """Requests that are being read or answered take all the memory that they may; this one is refused unread."""

    reason = "SERVER_BUSY"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the server holds as many requests as it may; try again later")
        self.retry_after_s = retry_after_s


class MemoryFull(ZooError):
    """The memory budget is too small for a model. `retry_after_s` is set where waiting may help: other models are in use now."""

    reason = "MEMORY_FULL"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutOfMemory(ZooError):
    """The device had no memory left for a batch. A caller gets it only where its row failed alone."""

    reason = "OUT_OF_MEMORY"

    def __init__(self) -> None:
        super().__init__("the device ran out of memory on this input; a smaller one may fit")


class DeadlineExceeded(ZooError):
    """The caller's deadline passed before its answer was there."""

    reason = "DEADLINE_EXCEEDED"

    retry_after_s: float | None = None

    def __init__(self, where: str) -> None:
        super().__init__(f"the deadline passed {where}")


class TooLate(DeadlineExceeded):
    """The request was refused before its deadline passed. `retry_after_s`: when the same request would be in time; None where its
    time is too short even for an idle device."""

    reason = "TOO_LATE"

    def __init__(self, retry_after_s: float | None = None) -> None:
        ahead, alone = "because of the work ahead of this request", "which leaves less time than it takes by itself"
        ZooError.__init__(
            self, f"the answer would come after the deadline, {alone if retry_after_s is None else ahead}"
        )
        self.retry_after_s = retry_after_s


class IllegalMove(ZooError):
    """A model or job cannot go from its present state to the requested one."""

    reason = "ILLEGAL_MOVE"


class CannotPull(ZooError):
    """A network cannot be pulled: Zoo lacks what it needs, it does not fit, or it does not give its makers' answers."""

    reason = "CANNOT_PULL"


class Damaged(IllegalMove):
    """The files of an object cannot be read. It can be listed and deleted, and nothing else."""

    reason = "DAMAGED"

    def __init__(self, what: str, why: str, cure: str = "delete it") -> None:
        """`what`: for example "dataset 'x'"; `why`: one clause that names no path."""
        super().__init__(f"{what} is damaged: {why}; {cure}")
        self.why = why


class AlreadyExists(ZooError):
    """Another object has the name that the caller chose."""

    reason = "ALREADY_EXISTS"


class Unauthenticated(ZooError):
    """The call brings no token, or none that is valid."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(ZooError):
    """The caller's token is valid and does not permit the call."""

    reason = "PERMISSION_DENIED"


class RateLimited(ZooError):
    """The calls with the caller's token, or failed attempts of the caller's address, take as much as they may."""

    reason = "RATE_LIMITED"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; try again later")
        self.retry_after_s = retry_after_s


class QuotaExceeded(ZooError):
    """The limit of jobs or datasets is reached; one of them has to end or be deleted first."""

    reason = "QUOTA_EXCEEDED"


class StorageFull(ZooError):
    """The disk has no space for the upload, or all datasets together are as large as they may be. The upload is removed."""

    reason = "STORAGE_FULL"


class InternalError(ZooError):
    """The server failed. The text does not say how; the log does, under the same reference."""

    reason = "INTERNAL"

    def __init__(self, reference: str = "") -> None:
        where = f" under reference {reference}" if reference else ""
        super().__init__(f"internal error; the server's log has the details{where}")
