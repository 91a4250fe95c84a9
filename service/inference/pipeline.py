"""The corridor. Every inference call, of either protocol, walks through `Inference.infer`."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from service.engine.served_head import Served
from service.errors import (
    DeadlineExceeded,
    Draining,
    InternalError,
    InvalidInput,
    MemoryFull,
    NotReady,
    OutOfMemory,
    TooLate,
    ZooError,
)
from service.inference.preprocess_batcher import Prepared, PreprocessBatcher
from service.inference.request_scope import InFlight, RequestScope
from service.inference.results import (
    Part,
    broken,
    cut,
    is_light,
    mean_length,
    postprocess,
    row_of,
    slowest,
    tensors_only,
    timing_of,
)
from service.inference.tensor_request import TensorRequest
from service.observability.recorder import Call, Recorder
from service.registry.registry import Registry
from service.scheduler.queued_row import Arrival
from service.types import InferReply, InferRequest, Item, Prediction, Row, Tensors

current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("current_call")
"""Set by the wire for each call; the corridor writes the resolved model into it, for the metrics."""

Answered = Callable[["TensorRequest"], None]


class Inference:
    """Walks requests through. Lives on the event loop; heavy work goes to `pool` and to the device's lanes."""

    def __init__(
        self,
        registry: Registry,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        workers: int = 1,
    ) -> None:
        """`workers`: threads of the pool, which say how many of a model's preprocessings may be under way at once."""
        self.registry = registry
        self._pool = pool
        self._recorder = recorder
        self._workers = workers
        self._gathers: WeakKeyDictionary[Served, PreprocessBatcher] = WeakKeyDictionary()
        self._house = InFlight(recorder)
        self._draining = False

    async def infer(
        self, request: InferRequest, *, answers: bool = True, served: Served | None = None, came: float | None = None
    ) -> InferReply:
        """One reply with as many predictions as instances; a bad instance fails alone, in its place.

        `answers=False` leaves out what is for people and gives the output tensors only. `served` is the model where it was
        resolved before; `came` is then when the call came, on the clock of `time.monotonic()`, since it may have waited for the
        model to load. Raises a ZooError where the whole request has no answer: those of `resolve`, InvalidInput, QueueFull,
        TooLate, DeadlineExceeded.
        """
        began = time.monotonic() if came is None else came
        if served is None:
            served = await self.resolve(request.model, request.version, request.deadline, request.request_id)
        deadline = began + served.limits.default_timeout_s if request.deadline is None else request.deadline
        if not request.instances:
            raise InvalidInput("instances", "expected at least one, got none")
        served.task.check(request.options)
        rows, length = len(request.instances), mean_length(served, request.instances)
        with RequestScope(self._house, served, rows, began, deadline, request.priority, length) as visit:
            try:
                async with asyncio.timeout_at(deadline):
                    parts = await self._walk(visit, request, answers)
            except TimeoutError:
                self._recorder.rejected(served.name, served.version, "deadline")
                raise DeadlineExceeded("before the answer was there") from None
            visit.timing = slowest([timing for _, timing in parts])
            predictions = [prediction for part, _ in parts for prediction in part]
            visit.fault = any(isinstance(p, InternalError | OutOfMemory) for p in predictions)
            visit.answered = sum(isinstance(prediction, Prediction) for prediction in predictions)
            # Tensors come stacked, so there one bad row fails its call; answers come one by one.
            visit.ok = visit.answered == len(predictions) if not answers else visit.answered > 0
            late = [prediction for prediction in predictions if isinstance(prediction, DeadlineExceeded)]
            if late and not visit.answered:  # found out in the queue
                reason = "too_late" if isinstance(late[0], TooLate) else "deadline"
                self._recorder.rejected(served.name, served.version, reason)
            return InferReply(served.name, served.version, request.request_id, predictions, visit.timing)

    # ── resolve, admit ────────────────────────────────────────────────────────────────────────────────────────

    async def resolve(self, model: str, version: str, deadline: float | None, request_id: str = "") -> Served:
        """Who answers. Returns at once, unless the model comes back because of this call: then once it is loaded.

        Raises Draining, NotFound, NotReady, MemoryFull, DeadlineExceeded.
        """
        if self._draining:
            self._recorder.rejected("", 0, "draining")
            raise Draining
        try:
            served = await self.registry.acquire(model, version, deadline)
        except (NotReady, MemoryFull, DeadlineExceeded) as error:
            self._recorder.rejected(model, 0, _refusal(error))  # the name is in the catalog, or it were NotFound
            raise
        if (call := current_call.get(None)) is not None:
            call.model, call.version, call.request_id = served.name, str(served.version), request_id
        if deadline is not None and deadline <= time.monotonic():
            self._recorder.rejected(served.name, served.version, "deadline")
            raise DeadlineExceeded("before the request arrived")
        return served

    def ready(self, model: str, version: str) -> Served | None:
        """Who answers, where that is known at once; None leaves it to `resolve` to wait, to say what stands against it, or to
        share calls out between two versions."""
        if self._draining or (not version and self.registry.splits(model)):
            return None
        try:
            return self.registry.resolve(model, version)
        except ZooError:
            return None

    def begin(
        self, served: Served, items: Sequence[Item], deadline: float | None, priority: int, answered: Answered
    ) -> TensorRequest:
        """Queues rows of tensors that need no preparing and no task of their own. `answered` is called when they have their
        outcomes or the deadline has passed. Raises QueueFull, TooLate, DeadlineExceeded at once."""
        began = time.monotonic()
        if deadline is None:
            deadline = began + served.limits.default_timeout_s
        elif deadline <= began:
            self._recorder.rejected(served.name, served.version, "deadline")
            raise DeadlineExceeded("before the request arrived")
        length = sum(item.length for item in items) / len(items)
        return TensorRequest(
            RequestScope(self._house, served, len(items), began, deadline, priority, length), items, answered
        )

    async def quickly(
        self, served: Served, items: Sequence[Item], deadline: float | None, priority: int
    ) -> Sequence[Tensors]:
        """`begin`, and waits for it: the rows' outputs. Raises as `infer` does, and the error of the first row that failed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answered(_: TensorRequest) -> None:
            if not future.done():
                future.set_result(None)

        call = self.begin(served, items, deadline, priority, answered)
        try:
            await future
        finally:
            call.cancel()
        if isinstance(call.outcome, ZooError):
            raise call.outcome
        assert call.outcome is not None
        return call.outcome

    async def drain(self, grace_s: float) -> bool:
        """Takes no more requests and waits for those inside, at most `grace_s`. Whether all were answered."""
        self._draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._house.empty.wait()
        except TimeoutError:
            return False
        return True

    # ── preprocess, submit, postprocess ───────────────────────────────────────────────────────────────────────

    async def _walk(self, visit: RequestScope, request: InferRequest, answers: bool) -> list[Part]:
        """Cuts the request into parts that are prepared together, and walks them side by side."""
        parts = cut(visit.served, request)
        if len(parts) == 1:
            return [await self._part(visit, request, parts[0], answers)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._part(visit, request, span, answers)) for span in parts]
        return [task.result() for task in tasks]

    async def _part(self, visit: RequestScope, request: InferRequest, span: range, answers: bool) -> Part:
        if is_light(request.instances[span.start]):
            return await self._prepared(visit, request, span, answers)
        async with visit.served.room.one(visit.claim):
            return await self._prepared(visit, request, span, answers)

    async def _prepared(self, visit: RequestScope, request: InferRequest, span: range, answers: bool) -> Part:
        served, deadline = visit.served, visit.deadline
        t0 = time.monotonic()
        prepared = await self._preprocess(visit, request, span)
        items = list(prepared.outcomes)
        t1 = time.monotonic()
        visit.prepared(len(span))
        good = [item for item in items if isinstance(item, Item)]
        came = Arrival(visit.began + prepared.seconds, visit.claim)
        rows = iter(await served.submit(good, deadline, came=came).result() if good else ())
        outcomes: list[Row | ZooError] = [next(rows) if isinstance(item, Item) else item for item in items]
        earlier_s = await self._go_on(served, request, items, outcomes, deadline, came) if answers else 0.0
        t2 = time.monotonic()
        if answers and any(isinstance(outcome, Row) for outcome in outcomes):
            work = (served, request, items, outcomes, span)
            if len(span) <= served.task.light_rows:
                predictions = postprocess(*work)
            else:
                loop = asyncio.get_running_loop()
                predictions = await loop.run_in_executor(self._pool, postprocess, *work)
        else:
            predictions = [tensors_only(served, i, o) for i, o in zip(items, outcomes, strict=True)]
        timing = timing_of(outcomes, t0, t1, t2, time.monotonic(), earlier_s)
        if timing.batch_rows:
            served.replied(max(0.0, t2 - t1 - timing.queue_s - timing.execute_s))
        return predictions, timing

    async def _go_on(
        self,
        served: Served,
        request: InferRequest,
        items: list[Item | ZooError],
        outcomes: list[Row | ZooError],
        deadline: float,
        came: Arrival,
    ) -> float:
        """Answers that take several passes: queues the next pass of every row that has one (`Task.next_item`), until none has.

        Each is a row like any other, so that callers share batches at every pass. Puts the last ones in place, and gives the
        seconds that those before took on the device.
        """
        earlier_s = 0.0
        going: Collection[int] = range(len(items))
        while going:
            following: dict[int, Item] = {}
            for i in going:
                item, outcome = items[i], outcomes[i]
                if isinstance(item, Item) and isinstance(outcome, Row):
                    try:
                        then = served.task.next_item(item, outcome.tensors, request.options)
                    except Exception:
                        outcomes[i], then = broken(served), None
                    if then is not None:
                        following[i] = then
                        ran = outcome.batch
            if following:
                earlier_s += ran.finished - ran.started
                # Its turn is one of now: with that of its first pass, a long answer would go before all that come meanwhile.
                turn = Arrival(came.at + earlier_s, served.claim(deadline, request.priority))
                rows = await served.submit([*following.values()], deadline, came=turn).result()
                for (i, then), row in zip(following.items(), rows, strict=True):
                    items[i], outcomes[i] = then, row
            going = following.keys()
        return earlier_s

    async def _preprocess(self, visit: RequestScope, request: InferRequest, span: range) -> Prepared:
        served = visit.served
        instances = request.instances[span.start : span.stop]
        if is_light(instances[0]):  # only dtypes and shapes to look at: not worth a thread
            rows = [row_of(served, instance, request.path(i)) for i, instance in zip(span, instances, strict=True)]
            return Prepared(rows, 0.0)
        raw = [instance for instance in instances if not isinstance(instance, InvalidInput)]  # all: cut mixes nothing
        # Heads on one base go together, unless an instance is of a wrong kind: that is told in the name of its own model.
        preparer = served.preparer if isinstance(raw[0], served.task.raw_types) else served
        gather = self._gathers.get(preparer)
        if gather is None:
            gather = self._gathers[preparer] = PreprocessBatcher(preparer.task, self._pool, self._workers)
        return await gather.prepare(raw, [request.path(i) for i in span], visit.claim)


def _refusal(error: ZooError) -> str:
    """Why a model that exists refused a call, as the metric names it."""
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return "memory_full" if isinstance(error, MemoryFull) else "not_ready"
