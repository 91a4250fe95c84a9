"""The request pipeline: resolve → admit → preprocess → submit → postprocess.

Requests of raw instances run through `Inference.infer`. Requests that bring nothing but well-formed tensors of a loaded model
take the tensor path, `Inference.submit_tensors`, which needs no coroutine.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from weakref import WeakKeyDictionary

from model_zoo.errors import panics_as_errors
from service.engine.loaded_model import Arrival, LoadedModel, LoadedModels
from service.errors import DeadlineExceeded, Draining, InvalidInput, MemoryFull, NotReady, ZooError
from service.inference.attribution import Attributions, check_attribution
from service.inference.expansion import expanded, joined
from service.inference.preprocess_batcher import PreparedItems, PreprocessBatcher
from service.inference.request_scope import InFlight, RequestScope
from service.inference.results import (
    Part,
    is_light,
    mean_length,
    postprocess,
    postprocess_failed,
    row_of,
    slowest,
    split_into_parts,
    tensors_only,
    timing_of,
)
from service.inference.tensor_request import TensorRequest
from service.observability.recorder import Call, Recorder
from service.types import InferReply, InferRequest, Item, Row, Tensors, Timing

current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("current_call")
"""Set by `wire/` for each call; the pipeline writes the resolved model into it, for the metrics."""

OnTensorsDone = Callable[[TensorRequest], None]


class Inference:
    """Runs requests. Belongs to the event loop; heavy work goes to `pool` and to the device's lanes."""

    def __init__(
        self,
        models: LoadedModels,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        workers: int = 1,
    ) -> None:
        """`workers`: threads of the pool; so many calls of a model's preprocessing may run at once."""
        self._models = models
        self._pool = pool
        self._recorder = recorder
        self._workers = workers
        self._batchers: WeakKeyDictionary[LoadedModel, PreprocessBatcher] = WeakKeyDictionary()
        self._in_flight = InFlight(recorder)
        self._draining = False

    async def infer(
        self,
        request: InferRequest,
        *,
        answers: bool = True,
        model: LoadedModel | None = None,
        arrived: float | None = None,
    ) -> InferReply:
        """One reply with as many predictions as instances; a bad instance fails alone, in its place.

        `answers=False` leaves out the answers for people and gives the output tensors only. `model`: the loaded model where it
        was resolved before; `arrived` is then when the request arrived, on the clock of `time.monotonic()`, since it may have
        waited for the load. Raises a ZooError where the whole request has no answer: those of `resolve`, InvalidInput,
        QueueFull, TooLate, DeadlineExceeded.
        """
        began = time.monotonic() if arrived is None else arrived
        if model is None:
            model = await self.resolve(request.model, request.version, request.deadline, request.request_id)
        deadline = began + model.limits.default_timeout_s if request.deadline is None else request.deadline
        if not request.instances:
            raise InvalidInput("instances", "expected at least one, got none")
        model.task.check(request.options)
        if request.options.attribute:
            check_attribution(request)
            known = model

            def infer(part: InferRequest, with_answers: bool) -> Awaitable[InferReply]:
                return self.infer(replace(part, deadline=deadline), answers=with_answers, model=known)

            assert model.task.attributable is not None, "the task has checked its options"
            with self._in_flight.one_more():  # also between its parts
                reply = await Attributions(infer, self._pool, model, model.task.attributable).reply(request)
            _note_timing(len(request.instances), reply.timing)
            return reply
        expansion = expanded(model, request) if model.task.expands else None
        if expansion is not None:
            request = expansion.request
        rows, length = len(request.instances), mean_length(model, request.instances)
        with RequestScope(self._in_flight, model, rows, began, deadline, request.priority, length) as scope:
            try:
                async with asyncio.timeout_at(deadline):
                    parts = await self._run_parts(scope, request, answers)
                predictions = [prediction for part, _ in parts for prediction in part]
                timing = slowest([timing for _, timing in parts])
                scope.settle(predictions, timing, together=not answers)
                if expansion is not None:
                    predictions = joined(model, expansion, predictions, answers)
                return InferReply(model.name, model.version, request.request_id, predictions, timing)
            except TimeoutError:
                scope.rejected("deadline")
                raise DeadlineExceeded("before the answer was there") from None
            finally:
                _note_timing(rows, scope.elapsed())

    # ── resolve ───────────────────────────────────────────────────────────────────────────────────────────────

    async def resolve(self, name: str, version: str, deadline: float | None, request_id: str = "") -> LoadedModel:
        """The loaded model that answers. Waits only where this request causes its load.

        Raises Draining, NotFound, NotReady, MemoryFull, DeadlineExceeded.
        """
        if (call := current_call.get(None)) is not None:
            call.request_id = request_id  # also of a request that no model answers
        if self._draining:
            self._recorder.rejected("", 0, "draining")
            raise Draining
        try:
            model = await self._models.acquire(name, version, deadline)
        except (NotReady, MemoryFull, DeadlineExceeded) as error:
            self._recorder.rejected(name, 0, _refusal(error))  # the name is in the catalog, or it were NotFound
            raise
        if call is not None:
            call.model, call.version = model.name, str(model.version)
        if deadline is not None and deadline <= time.monotonic():
            self._recorder.rejected(model.name, model.version, "deadline")
            raise DeadlineExceeded("before the request arrived")
        return model

    def find_ready(self, name: str, version: str) -> LoadedModel | None:
        """The loaded model that answers, where that is known at once. None leaves it to `resolve` to wait, to say why no model
        answers, or to share requests between two versions."""
        if self._draining or (not version and self._models.splits(name)):
            return None
        try:
            return self._models.resolve(name, version)
        except ZooError:
            return None

    def refuse_unread(self, name: str, version: str) -> ZooError | None:
        """Why a request for this model is refused, whatever it brings; None where its message decides. From any thread."""
        try:
            model = self.find_ready(name, version)
        except RuntimeError:  # a table changed while it was read; the event loop will judge the request
            return None
        full = None if model is None else model.full()
        if model is not None and full is not None:
            self._recorder.rejected(model.name, model.version, "queue_full")
        return full

    # ── the tensor path ───────────────────────────────────────────────────────────────────────────────────────

    def submit_tensors(
        self,
        model: LoadedModel,
        items: Sequence[Item],
        deadline: float | None,
        priority: int,
        on_done: OnTensorsDone,
        arrived: float | None = None,
    ) -> TensorRequest:
        """Queues rows of tensors. `on_done` is called when they have their outcomes or the deadline has passed. `arrived`: see
        `infer`. Raises QueueFull, TooLate, DeadlineExceeded at once."""
        now = time.monotonic()
        began = now if arrived is None else arrived
        if deadline is None:
            deadline = began + model.limits.default_timeout_s
        elif deadline <= now:
            self._recorder.rejected(model.name, model.version, "deadline")
            raise DeadlineExceeded("before the request arrived")
        length = sum(item.length for item in items) / len(items)
        scope = RequestScope(self._in_flight, model, len(items), began, deadline, priority, length)
        return TensorRequest(scope, items, on_done)

    async def infer_tensors(
        self,
        model: LoadedModel,
        items: Sequence[Item],
        deadline: float | None,
        priority: int,
        arrived: float | None = None,
    ) -> Sequence[Tensors]:
        """As `submit_tensors`, and waits: the rows' outputs. Also raises the error of the first row that failed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_done(_: TensorRequest) -> None:
            if not future.done():
                future.set_result(None)

        request = self.submit_tensors(model, items, deadline, priority, on_done, arrived)
        try:
            await future
        finally:
            _note_timing(len(items), request.timing)
            request.cancel()
        if isinstance(request.outcome, ZooError):
            raise request.outcome
        assert request.outcome is not None
        return request.outcome

    def refuse_new(self) -> None:
        """Takes no more requests: each gets Draining. Those in flight go on."""
        self._draining = True

    async def drain(self, grace_s: float) -> bool:
        """Takes no more requests and waits for those in flight, at most `grace_s`. Gives whether all were answered."""
        self.refuse_new()
        try:
            async with asyncio.timeout(grace_s):
                await self._in_flight.empty.wait()
        except TimeoutError:
            return False
        return True

    # ── preprocess, submit, postprocess ───────────────────────────────────────────────────────────────────────

    async def _run_parts(self, scope: RequestScope, request: InferRequest, answers: bool) -> list[Part]:
        """Splits the request into parts that are preprocessed together, and runs them side by side."""
        parts = split_into_parts(scope.model, request)
        if len(parts) == 1:
            return [await self._run_part(scope, request, parts[0], answers)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run_part(scope, request, span, answers)) for span in parts]
        return [task.result() for task in tasks]

    async def _run_part(self, scope: RequestScope, request: InferRequest, span: range, answers: bool) -> Part:
        if is_light(request.instances[span.start]):
            return await self._run_permitted(scope, request, span, answers)
        await scope.model.acquire_permit(scope.effective_deadline)
        try:
            return await self._run_permitted(scope, request, span, answers)
        finally:
            scope.model.release_permit()

    async def _run_permitted(self, scope: RequestScope, request: InferRequest, span: range, answers: bool) -> Part:
        model, deadline = scope.model, scope.deadline
        t0 = scope.preprocess_began = time.monotonic()
        prepared = await self._preprocess(scope, request, span)
        items = list(prepared.outcomes)
        if not is_light(request.instances[span.start]):
            adjust, options = model.task.with_options, request.options
            with panics_as_errors():
                items = [adjust(item, options) if isinstance(item, Item) else item for item in items]
        t1 = scope.submitted = time.monotonic()
        scope.preprocessed(len(span))
        good = [item for item in items if isinstance(item, Item)]
        arrival = Arrival(scope.began + prepared.seconds, scope.effective_deadline)
        rows = iter(await model.submit(good, deadline, arrival=arrival).result() if good else ())
        outcomes: list[Row | ZooError] = [next(rows) if isinstance(item, Item) else item for item in items]
        passes = answers or model.task.whole_tensors
        earlier_s = await self._run_next_passes(scope, request, items, outcomes, arrival) if passes else 0.0
        t2 = time.monotonic()
        if answers and any(isinstance(outcome, Row) for outcome in outcomes):
            work = (model, request, items, outcomes, span)
            if len(span) <= model.task.light_rows:
                predictions = postprocess(*work)
            else:
                loop = asyncio.get_running_loop()
                predictions = await loop.run_in_executor(self._pool, postprocess, *work)
        else:
            predictions = [tensors_only(model, i, o) for i, o in zip(items, outcomes, strict=True)]
        timing = timing_of(outcomes, t0, t1, t2, time.monotonic(), earlier_s)
        if timing.batch_rows:
            model.observe_reply_delay(max(0.0, t2 - t1 - timing.queue_s - timing.execute_s))
        return predictions, timing

    async def _run_next_passes(
        self,
        scope: RequestScope,
        request: InferRequest,
        items: list[Item | ZooError],
        outcomes: list[Row | ZooError],
        arrival: Arrival,
    ) -> float:
        """Answers that take several passes: queues the next pass of every row that has one (`Task.next_item`), until none has.

        A pass is a row like any other, so that requests share batches at every pass. Puts the last items and outcomes in place;
        gives the device seconds of the passes before the last.
        """
        model, deadline = scope.model, scope.deadline
        earlier_s = 0.0
        unfinished: Collection[int] = range(len(items))
        while unfinished:
            following: dict[int, Item] = {}
            for i in unfinished:
                item, outcome = items[i], outcomes[i]
                if isinstance(item, Item) and isinstance(outcome, Row):
                    try:
                        with panics_as_errors():
                            then = model.task.next_item(item, outcome.tensors, request.options)
                    except Exception:
                        outcomes[i], then = postprocess_failed(model), None
                    if then is not None:
                        following[i] = then
                        ran = outcome.batch
            if following:
                earlier_s += ran.finished - ran.started
                # A new effective deadline: with that of its first pass, a long answer would go before all later requests.
                effective = model.effective_deadline(deadline, request.priority)
                rows = await model.submit(
                    [*following.values()], deadline, arrival=Arrival(arrival.at + earlier_s, effective)
                ).result()
                for (i, then), row in zip(following.items(), rows, strict=True):
                    items[i], outcomes[i] = then, row
            unfinished = following.keys()
        return earlier_s

    async def _preprocess(self, scope: RequestScope, request: InferRequest, span: range) -> PreparedItems:
        model = scope.model
        instances = request.instances[span.start : span.stop]
        if is_light(instances[0]):  # only dtypes and shapes to check: not worth a thread
            rows = [row_of(model, instance, request.path(i)) for i, instance in zip(span, instances, strict=True)]
            return PreparedItems(rows, 0.0)
        raw = [instance for instance in instances if not isinstance(instance, InvalidInput)]  # all: parts are not mixed
        # Heads on one base share calls, unless an instance is of a wrong kind: that error is in the name of its own model.
        preparer = model.preparer if isinstance(raw[0], model.task.raw_types) else model
        batcher = self._batchers.get(preparer)
        if batcher is None:
            batcher = self._batchers[preparer] = PreprocessBatcher(preparer.task, self._pool, self._workers)
        return await batcher.prepare(raw, [request.path(i) for i in span], scope.effective_deadline)


def _note_timing(rows: int, timing: Timing) -> None:
    """Notes in the current call where the time of its request went."""
    if (call := current_call.get(None)) is not None:
        call.rows, call.timing = rows, timing


def _refusal(error: ZooError) -> str:
    """Why a model that exists refused a request, as the metric names it."""
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return "memory_full" if isinstance(error, MemoryFull) else "not_ready"
