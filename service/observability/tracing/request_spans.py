"""The spans of requests, made from the times that the pipeline takes anyway.

    inference.GRPCInferenceService/ModelInfer      from the call's arrival to its reply
      receive       the message is read; the model is found, and the request admitted
      preprocess    raw input → tensors
      queue         the rows wait for a device
      execute       their batch runs
      postprocess   tensors → answer
      reply         the answer is written

A request of tensors has no preprocess and no postprocess. Of a request in several parts, the stages are those of the slowest
part; of an answer that takes several passes, `queue` and `execute` are the sums of all passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.observability.printable import shown_id
from service.observability.recorder import Call
from service.observability.tracing.job_spans import job_context
from service.observability.tracing.span import Attribute, Link, Span
from service.observability.tracing.trace_context import TraceContext, new_span_id, new_trace_id
from service.types import BatchReport, Timing

SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Status codes by which the span of a server is an error; the others are the caller's. See the conventions for gRPC."""

OPERATIONS = {"text-generation": "text_completion", "feature-extraction": "embeddings"}
"""Task → operation of the conventions for generative AI."""


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A sampled request after its reply. Times are seconds on `time.monotonic()`."""

    context: TraceContext
    """Its trace, and the caller's span."""
    method: str
    """`package.Service/Method`."""
    code: str
    """Name of the status code."""
    call: Call
    task: str
    """Of the model; empty where no model is known."""
    accepted: float
    """When the call came, before its message was read."""
    ended: float
    epoch_ns: int
    """Nanoseconds since 1970 at 0 of that clock."""


def spans_of(requests: Iterable[FinishedRequest]) -> list[Span]:
    """All spans of some requests. Requests that shared a batch are linked to a span of this batch, and it to them."""
    spans: list[Span] = []
    executions: dict[int, tuple[BatchReport, list[Span]]] = {}
    epochs: dict[int, int] = {}
    for request in requests:
        for span, batch in _spans(request):
            spans.append(span)
            if batch is not None:
                executions.setdefault(id(batch), (batch, []))[1].append(span)
                epochs[id(batch)] = request.epoch_ns
    for key, (batch, shared) in executions.items():
        if len(shared) > 1:
            spans.append(_batch_span(batch, shared, epochs[key]))
    return spans


def _spans(request: FinishedRequest) -> Iterable[tuple[Span, BatchReport | None]]:
    context, timing = request.context, request.call.timing
    job = job_context(request.call.job_id) if request.call.job_id else None
    server = Span(
        name=request.method,
        trace_id=context.trace_id,
        span_id=new_span_id(),
        parent_id=context.span_id,
        parent_is_remote=bool(context.span_id),
        start_ns=_ns(request, request.accepted),
        end_ns=_ns(request, request.ended),
        server=True,
        attributes=_attributes(request),
        error=request.code if request.code in SERVER_FAULTS else None,
        links=() if not job else (Link(job.trace_id, job.span_id),),
        state=context.state,
    )
    yield server, None
    if timing is None:
        return
    stages = _stages(request, timing)
    for name, begin, end in stages:
        batch = timing.batch if name == "execute" else None
        yield (
            Span(
                name=name,
                trace_id=context.trace_id,
                span_id=new_span_id(),
                parent_id=server.span_id,
                start_ns=_ns(request, begin),
                end_ns=_ns(request, end),
                attributes={} if batch is None else _batch_attributes(batch),
                state=context.state,
            ),
            batch,
        )


def _stages(request: FinishedRequest, timing: Timing) -> list[tuple[str, float, float]]:
    """Name, begin and end of each stage that the request reached."""
    queued = timing.began + timing.preprocess_s
    executed = queued + timing.queue_s
    stages = [("receive", request.accepted, timing.began)]
    if timing.preprocess_s:
        stages.append(("preprocess", timing.began, queued))
    if timing.queue_s or timing.batch_rows:
        stages.append(("queue", queued, executed))
    if timing.batch_rows:
        stages.append(("execute", executed, executed + timing.execute_s))
    if timing.postprocess_s:
        begin = timing.postprocess_began
        stages.append(("postprocess", begin, begin + timing.postprocess_s))
    if request.code == "OK":
        stages.append(("reply", stages[-1][2], request.ended))
    return stages


def _attributes(request: FinishedRequest) -> dict[str, Attribute]:
    call = request.call
    found: dict[str, Attribute] = {
        "rpc.system.name": "grpc",
        "rpc.method": request.method,
        "rpc.response.status_code": request.code,
    }
    if request.code in SERVER_FAULTS:
        found["error.type"] = request.code
    if call.request_id:
        found["zoo.request.id"] = shown_id(call.request_id)
    if call.principal:
        found["zoo.principal"] = call.principal
    if call.model:
        found["zoo.model.name"], found["zoo.model.version"] = call.model, call.version
    if call.rows:
        found["zoo.request.rows"] = call.rows
    if call.job_id:
        found["zoo.job.id"] = call.job_id
    if request.task in OPERATIONS:
        found["gen_ai.operation.name"] = OPERATIONS[request.task]
        found["gen_ai.provider.name"], found["gen_ai.request.model"] = "zoo", call.model
    return found


def _batch_attributes(batch: BatchReport) -> dict[str, Attribute]:
    return {
        "zoo.batch.rows": batch.rows,
        "zoo.batch.padding_ratio": batch.padding_ratio,
        "zoo.device": batch.device,
        "zoo.lane": batch.lane,
        "zoo.tier": batch.tier,
        "zoo.precision": batch.precision,
    }


def _batch_span(batch: BatchReport, executions: list[Span], epoch_ns: int) -> Span:
    span = Span(
        name="batch",
        trace_id=new_trace_id(),
        span_id=new_span_id(),
        start_ns=epoch_ns + int(batch.started * 1e9),
        end_ns=epoch_ns + int(batch.finished * 1e9),
        attributes=_batch_attributes(batch),
        links=tuple(Link(each.trace_id, each.span_id) for each in executions),
    )
    for each in executions:
        each.links = (Link(span.trace_id, span.span_id),)
    return span


def _ns(request: FinishedRequest, seconds: float) -> int:
    return request.epoch_ns + int(seconds * 1e9)
