"""The request pipeline: what a caller of either protocol relies on, with a fake network behind the real registry and
scheduler."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine.served_model import PREPARED_AHEAD
from service.errors import (
    DeadlineExceeded,
    Draining,
    InternalError,
    InvalidInput,
    NotFound,
    NotReady,
    QueueFull,
    ZooError,
)
from service.inference import current_call
from service.observability.recorder import Call
from service.types import Embedding, InferReply, Options, Prediction, TensorInstance
from tests.support.registry.fakes import PATIENCE_S, World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

LABELS = {"model": "adder", "version": "1"}


def value_of(prediction: object) -> float:
    assert isinstance(prediction, Prediction), prediction
    assert isinstance(prediction.answer, Embedding)
    return float(prediction.answer.values[0])


def values_of(reply: InferReply) -> list[float]:
    return [value_of(prediction) for prediction in reply.predictions]


def tensor(value: float) -> TensorInstance:
    return TensorInstance({"x": np.array([value], np.float32)})


async def ask(w: World, *texts: Any, **changes: Any) -> InferReply:
    return await w.inference.infer(w.request(*texts, **changes))


def assert_nothing_left(w: World) -> None:
    """No request is in flight any more, by every count."""
    served = w.model()
    assert served.rows_in_flight == 0
    assert served.queue_depth == 0
    assert w.inference._in_flight.count == 0
    assert w.inference._in_flight.empty.is_set()
    assert w.sample("zoo_in_flight_requests", **LABELS) == 0
    assert w.sample("zoo_queue_depth", **LABELS) == 0


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reply_has_as_many_answers_as_instances_in_their_order() -> None:
    async with world() as w:
        reply = await ask(w, *[str(i) for i in range(11)], request_id="mine")
        assert values_of(reply) == [2 * i + 1 for i in range(11)]
        assert (reply.model, reply.version, reply.request_id) == ("adder", 1, "mine")
        assert_nothing_left(w)


async def test_more_rows_than_a_batch_holds_are_split_not_refused() -> None:
    async with world(max_batch_size=4, max_queue_size=8) as w:
        reply = await ask(w, *[str(i) for i in range(50)])
        assert values_of(reply) == [2 * i + 1 for i in range(50)]
        assert max(len(batch) for batch in w.runtime().batches) <= 4
        assert 1 <= reply.timing.batch_rows <= 4


async def test_instances_are_prepared_in_the_chunks_that_the_task_asks_for() -> None:
    async with world() as w:
        await ask(w, *"12345")
        assert sorted(w.task().calls) == [1, 2, 2]


async def test_bad_instance_fails_alone_and_its_error_names_its_place() -> None:
    async with world() as w:
        reply = await ask(w, "bad0", "1", "2", "bad3", "4", "bad5", "bad6")
        for i in (1, 2, 4):
            assert value_of(reply.predictions[i]) == 2 * i + 1
        for i in (0, 3, 5, 6):
            error = reply.predictions[i]
            assert isinstance(error, InvalidInput)
            assert error.field == f"instances[{i}]"
            assert f"'bad{i}'" in error.message


async def test_error_of_a_bad_instance_uses_the_path_of_the_caller() -> None:
    async with world() as w:
        reply = await ask(w, "1", "bad", paths=("inputs[0].row[0]", "inputs[0].row[1]"))
        (_, error) = reply.predictions
        assert isinstance(error, InvalidInput)
        assert error.field == "inputs[0].row[1]"


async def test_a_row_that_breaks_the_device_fails_alone() -> None:
    async with world() as w:
        w.runtime().poison = {2.0}
        reply = await ask(w, "1", "2", "3", "4")
        assert [value_of(reply.predictions[i]) for i in (0, 2, 3)] == [3, 7, 9]
        assert isinstance(reply.predictions[1], InternalError)
        assert "/a/path" not in reply.predictions[1].message


@pytest.mark.parametrize("step", ["next_item", "postprocess"])
async def test_a_row_whose_outputs_mean_nothing_fails_alone(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the NaN that broken weights give for some texts: exception texts of libraries must not reach callers."""

    async with world() as w:
        task = w.task()
        usual = getattr(task, step)

        def stumbles(*given: Any) -> Any:
            tensors = next(part for part in given if isinstance(part, dict))
            if tensors["y"][0] == 5.0:  # x = 2
                raise ValueError("probabilities contain NaN in /a/path")
            return usual(*given)

        monkeypatch.setattr(task, step, stumbles)
        reply = await ask(w, "1", "2", "3")
        assert [value_of(reply.predictions[i]) for i in (0, 2)] == [3, 7]
        assert isinstance(reply.predictions[1], InternalError)
        assert "NaN" not in reply.predictions[1].message
        assert_nothing_left(w)


async def test_network_that_loses_rows_fails_all_rows_of_the_batch() -> None:
    async with world() as w:
        w.runtime().short = True
        reply = await ask(w, "1", "2", "3")
        assert all(isinstance(p, InternalError) for p in reply.predictions)


async def test_tensors_beside_raw_instances_give_tensors() -> None:
    async with world() as w:
        mixture = ["1", tensor(2), tensor(3), "4", "5", "6", tensor(7), "bad", tensor(9)]
        reply = await ask(w, *mixture)
        for given, prediction, x in zip(mixture, reply.predictions, range(1, 10), strict=True):
            if given == "bad":
                assert isinstance(prediction, InvalidInput)
                continue
            assert isinstance(prediction, Prediction)
            assert prediction.tensors["y"].tolist() == [2 * x + 1]
            assert (prediction.answer is None) == isinstance(given, TensorInstance)


async def test_a_wrong_tensor_fails_alone() -> None:
    async with world() as w:
        wrong = [
            TensorInstance({"x": np.array([1], np.int64)}),
            TensorInstance({"x": np.zeros((2,), np.float32)}),
            TensorInstance({"z": np.zeros((1,), np.float32)}),
            TensorInstance({}),
        ]
        reply = await ask(w, tensor(1), *wrong, tensor(5))
        assert [type(p) for p in reply.predictions] == [Prediction, *[InvalidInput] * 4, Prediction]
        assert reply.predictions[5].tensors["y"].tolist() == [11]  # type: ignore[union-attr]


async def test_an_instance_that_could_not_be_read_fails_alone_in_its_place() -> None:
    async with world() as w:
        unread = InvalidInput("instances[1].tensors.x.data", "expected 4 bytes, got 3")
        reply = await ask(w, "1", unread, "3", tensor(4), unread, unread)
        assert [p is unread for p in reply.predictions] == [False, True, False, False, True, True]
        assert [value_of(reply.predictions[i]) for i in (0, 2)] == [3, 7]
        assert_nothing_left(w)


async def test_request_for_tensors_only_skips_postprocessing() -> None:
    async with world() as w:
        w.task().break_postprocess = True
        reply = await w.inference.infer(w.request("1", "2"), answers=False)
        assert [p.answer for p in reply.predictions] == [None, None]  # type: ignore[union-attr]
        assert [p.tensors["y"].tolist() for p in reply.predictions] == [[3], [5]]  # type: ignore[union-attr]


async def test_notes_of_preprocessing_reach_the_caller() -> None:
    async with world() as w:
        (prediction,) = (await ask(w, "7")).predictions
        assert isinstance(prediction, Prediction)
        assert prediction.notes == {"text": "7"}


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("texts", "changes", "error", "says"),
    [
        ([], {}, InvalidInput, "at least one"),
        (["1"], {"model": "addr"}, NotFound, "'adder'"),
        (["1"], {"version": "9"}, NotFound, "unknown version '9'"),
        (["1"], {"options": Options(top_k=3)}, InvalidInput, "options.top_k"),
        (["1"], {"options": Options(threshold=1.5)}, InvalidInput, "options.threshold"),
        (["1"], {"options": Options(threshold=float("nan"))}, InvalidInput, "options.threshold"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_refused_before_any_work(
    texts: list[str], changes: dict[str, Any], error: type[ZooError], says: str
) -> None:
    async with world() as w:
        with pytest.raises(error, match=says.replace("[", r"\[")):
            await ask(w, *texts, **changes)
        assert w.task().calls == []
        assert_nothing_left(w)


@pytest.mark.parametrize("version", ["", "stable", "1"])
async def test_a_version_is_a_number_an_alias_or_nothing(version: str) -> None:
    async with world() as w:
        assert (await ask(w, "1", version=version)).version == 1


async def test_loading_model_is_not_ready_and_gives_a_retry_hint() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        w.registry.begin_load("adder")
        with pytest.raises(NotReady, match="is loading") as caught:
            await ask(w, "1")
        assert caught.value.retry_after_s is not None
        assert w.sample("zoo_rejected_total", model="adder", version="", reason="not_ready") == 1


@pytest.mark.parametrize("texts", [["crash"], ["1", "2", "3", "crash", "5"]])
async def test_instance_on_which_the_task_crashes_fails_alone_and_leaves_nothing_behind(texts: list[str]) -> None:
    async with world() as w:
        reply = await ask(w, *texts)
        failed = [isinstance(prediction, InternalError) for prediction in reply.predictions]
        assert failed == [text == "crash" for text in texts]
        await until(lambda: w.model().queue_depth == 0)
        assert_nothing_left(w)
        assert values_of(await ask(w, "1")) == [3]


async def test_an_answer_that_cannot_be_formed_leaves_nothing_behind() -> None:
    async with world() as w:
        w.task().break_postprocess = True
        reply = await ask(w, "1")
        assert isinstance(reply.predictions[0], InternalError)
        assert_nothing_left(w)


# ── deadlines ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("deadline", [0.0, -5.0, 1e-9])
async def test_a_deadline_that_has_passed_before_arrival_does_no_work(deadline: float) -> None:
    async with world() as w:
        with pytest.raises(DeadlineExceeded, match="before the request arrived"):
            await ask(w, "1", deadline=deadline)
        assert w.task().calls == []
        assert w.sample("zoo_rejected_total", **LABELS, reason="deadline") == 1
        assert_nothing_left(w)


async def blocked_in_preprocess(w: World) -> Callable[[], None]:
    w.task().gate.clear()
    return w.task().gate.set


async def blocked_on_the_device(w: World) -> Callable[[], None]:
    w.runtime().gate.clear()
    return w.runtime().gate.set


async def blocked_in_the_queue(w: World) -> Callable[[], None]:
    w.runtime().gate.clear()
    blocker = asyncio.create_task(ask(w, "1000"))
    await until(lambda: [1000.0] in w.runtime().batches)

    def release() -> None:
        w.runtime().gate.set()
        assert blocker is not None

    return release


STAGES = pytest.mark.parametrize("block", [blocked_in_preprocess, blocked_in_the_queue, blocked_on_the_device])
Block = Callable[[World], Awaitable[Callable[[], None]]]


@STAGES
@pytest.mark.parametrize("rows", [1, 9])
async def test_a_deadline_is_kept_wherever_the_request_stands(block: Block, rows: int) -> None:
    async with world() as w:
        release = await block(w)
        with pytest.raises(DeadlineExceeded, match="before the answer was there"):
            await ask(w, *["5"] * rows, deadline=time.monotonic() + 0.02)
        assert w.sample("zoo_rejected_total", **LABELS, reason="deadline") == 1
        release()
        await until(lambda: w.inference._in_flight.count == 0)
        assert_nothing_left(w)
        assert values_of(await ask(w, "1")) == [3]


async def test_a_call_without_a_deadline_gets_the_servers() -> None:
    async with world(timeout_s=0.02) as w:
        w.runtime().gate.clear()
        with pytest.raises(DeadlineExceeded):
            await ask(w, "1")


async def test_a_callers_own_deadline_may_outlast_the_servers_default() -> None:
    async with world(timeout_s=0.02) as w:
        w.runtime().gate.clear()
        patient = asyncio.create_task(ask(w, "1", deadline=time.monotonic() + 1000))
        with pytest.raises(DeadlineExceeded):
            await ask(w, "1")  # began later, and its time is over
        w.runtime().gate.set()
        assert values_of(await patient) == [3]


async def test_late_request_of_many_rows_is_counted_once() -> None:
    """A lane finds the rows expired while the event loop is too busy to notice: one rejected request."""
    async with world() as w:
        w.runtime().gate.clear()
        blocker = asyncio.create_task(ask(w, "1000"))
        await until(lambda: w.runtime().batches)
        deadline = time.monotonic() + 0.05
        late = asyncio.create_task(ask(w, "1", "2", deadline=deadline))
        await until(lambda: w.model().queue_depth == 2)
        while time.monotonic() <= deadline:  # the loop is held on purpose
            pass
        w.runtime().gate.set()
        end = time.monotonic() + PATIENCE_S
        while w.model().queue_depth and time.monotonic() < end:
            pass
        (outcome,) = await asyncio.gather(late, return_exceptions=True)
        told = [outcome] if isinstance(outcome, BaseException) else outcome.predictions
        assert all(isinstance(error, DeadlineExceeded) for error in told)
        await blocker
        assert w.runtime().batches == [[1000]]
        assert w.sample("zoo_rejected_total", **LABELS, reason="deadline") == 1


async def test_rows_found_late_in_the_queue_count_as_one_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late:
        def __init__(self, items: Any, *_: Any, **__: Any) -> None:
            self.rows = len(items)

        async def result(self) -> list[ZooError]:
            return [DeadlineExceeded("while the request waited for the device") for _ in range(self.rows)]

    async with world() as w:
        monkeypatch.setattr(w.model(), "submit", Late)
        reply = await ask(w, "1", "2", "3", "4", "5")
        assert all(isinstance(error, DeadlineExceeded) for error in reply.predictions)
        assert w.sample("zoo_rejected_total", **LABELS, reason="deadline") == 1
        assert_nothing_left(w)


# ── departures ────────────────────────────────────────────────────────────────────────────────────────────────────


@STAGES
@pytest.mark.parametrize("rows", [1, 9])
async def test_a_caller_who_leaves_leaves_nothing_behind(block: Block, rows: int) -> None:
    async with world() as w:
        release = await block(w)
        before = len(w.runtime().batches)
        call = asyncio.create_task(ask(w, *["5"] * rows))
        await until(lambda: w.inference._in_flight.count == 1 + (block is blocked_in_the_queue))
        if block is blocked_in_the_queue:
            await until(lambda: w.model().queue_depth == rows)
        elif block is blocked_on_the_device:
            await until(lambda: len(w.runtime().batches) > before)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert w.model().queue_depth == 0
        release()
        await until(lambda: w.inference._in_flight.count == 0)
        assert_nothing_left(w)
        assert values_of(await ask(w, "1")) == [3]
        if block is blocked_in_the_queue:
            assert [5.0] * rows not in w.runtime().batches, "what had lost its caller did not run"


async def test_a_cancelled_caller_never_strands_its_batch() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        blocker = asyncio.create_task(ask(w, "1000"))
        await until(lambda: w.runtime().batches)
        calls = [asyncio.create_task(ask(w, str(i))) for i in range(3)]
        await until(lambda: w.model().queue_depth == 3)
        w.runtime().gate.set()
        calls[1].cancel()
        await asyncio.wait(calls)
        assert (values_of(await calls[0]), values_of(await calls[2])) == ([1], [5])
        await blocker
        assert_nothing_left(w)


# ── admission ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_full_queue_refuses_at_once_with_a_retry_hint() -> None:
    async with world(max_queue_size=4) as w:
        w.runtime().gate.clear()
        inside = [asyncio.create_task(ask(w, "1", "2")) for _ in range(2)]
        await until(lambda: w.model().rows_in_flight == 4)
        with pytest.raises(QueueFull, match="4 rows in flight and its limit is 4") as caught:
            await ask(w, "3")
        assert caught.value.retry_after_s > 0
        assert w.sample("zoo_rejected_total", **LABELS, reason="queue_full") == 1
        assert w.inference._in_flight.count == 2
        w.runtime().gate.set()
        await asyncio.gather(*inside)
        assert values_of(await ask(w, "3")) == [7]
        assert_nothing_left(w)


async def test_rows_are_counted_not_requests() -> None:
    async with world(max_queue_size=4) as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(ask(w, "1", "2", "3"))
        await until(lambda: w.model().rows_in_flight == 3)
        with pytest.raises(QueueFull):
            await ask(w, "4", "5")
        fits = asyncio.create_task(ask(w, "6"))
        await until(lambda: w.model().rows_in_flight == 4)
        w.runtime().gate.set()
        await asyncio.gather(inside, fits)


async def test_request_larger_than_the_limit_is_admitted_when_alone() -> None:
    async with world(max_queue_size=4) as w:
        w.runtime().gate.clear()
        large = asyncio.create_task(ask(w, *[str(i) for i in range(20)]))
        await until(lambda: w.model().rows_in_flight == 20)
        with pytest.raises(QueueFull):
            await ask(w, "1")
        w.runtime().gate.set()
        assert values_of(await large) == [2 * i + 1 for i in range(20)]


async def test_large_request_preprocesses_a_bounded_number_of_rows_ahead() -> None:
    async with world(max_batch_size=2, max_queue_size=1000) as w:
        bound = PREPARED_AHEAD * 2 * w.task().chunk
        runtime, task, most = w.runtime(), w.task(), 0
        runtime.gate.clear()
        call = asyncio.create_task(ask(w, *[str(i) for i in range(101)]))
        await until(lambda: task.prepared == bound)
        for _ in range(100):  # requests that can go on do so
            await asyncio.sleep(0)
        assert task.prepared == bound
        run = runtime.run

        def watched(tensors: Any) -> Any:
            nonlocal most
            most = max(most, task.prepared - sum(len(b) for b in runtime.batches))
            return run(tensors)

        runtime.run = watched  # type: ignore[method-assign]
        runtime.gate.set()
        assert values_of(await call) == [2 * i + 1 for i in range(101)]
        assert most <= bound


async def test_requests_of_a_model_share_the_preprocessing_permits() -> None:
    async with world(max_batch_size=2, max_queue_size=1000) as w:
        bound = PREPARED_AHEAD * 2
        w.runtime().gate.clear()
        calls = [asyncio.create_task(ask(w, str(i))) for i in range(50)]
        await until(lambda: w.task().prepared == bound)
        for _ in range(100):  # requests that can go on do so
            await asyncio.sleep(0)
        assert w.task().prepared == bound
        calls[0].cancel()  # the room of one who leaves is the next one's
        await until(lambda: w.task().prepared == bound + 1)
        w.runtime().gate.set()
        answers = await asyncio.gather(*calls[1:])
        assert [values_of(answer) for answer in answers] == [[2 * i + 1] for i in range(1, 50)]


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_drain_waits_for_requests_in_flight_and_refuses_later_ones() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(ask(w, "1"))
        await until(lambda: w.runtime().batches)
        draining = asyncio.create_task(w.inference.drain(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await ask(w, "2")
        assert w.sample("zoo_rejected_total", model="", version="", reason="draining") == 1
        assert not draining.done()
        w.runtime().gate.set()
        assert await draining is True
        assert values_of(await inside) == [3]


async def test_a_drain_gives_up_after_its_grace() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(ask(w, "1"))
        await until(lambda: w.runtime().batches)
        assert await w.inference.drain(0.001) is False
        w.runtime().gate.set()
        await inside


async def test_a_drain_of_an_idle_server_is_over_at_once() -> None:
    async with world() as w:
        assert await w.inference.drain(0.0) is True


async def test_requests_in_flight_are_answered_before_their_model_is_freed() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        inside = [asyncio.create_task(ask(w, str(i))) for i in range(6)]
        await until(lambda: w.model().rows_in_flight == 6)
        unloading = asyncio.create_task(w.registry.unload("adder"))
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="being unloaded"):
            await ask(w, "9")
        assert not w.runtime().freed
        w.runtime().gate.set()
        assert [values_of(reply) for reply in await asyncio.gather(*inside)] == [[2 * i + 1] for i in range(6)]
        await unloading
        assert w.runtime().freed


# ── timing, metrics ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_timing_adds_up_to_no_more_than_the_call_took() -> None:
    async with world() as w:
        for texts in (["1"], [str(i) for i in range(9)], ["bad", "1"]):
            began = time.monotonic()
            t = (await ask(w, *texts)).timing
            took = time.monotonic() - began
            parts = (t.preprocess_s, t.queue_s, t.execute_s, t.postprocess_s)
            assert all(part >= 0 for part in parts)
            assert 0 < sum(parts) <= took
            assert t.execute_s > 0
            assert (t.device, t.precision) == ("cpu", "fp32")


async def test_queue_time_and_device_time_are_reported_apart() -> None:
    async with world() as w:
        began = time.monotonic()
        w.runtime().gate.clear()
        first = asyncio.create_task(ask(w, "1"))
        await until(lambda: w.runtime().batches)
        second = asyncio.create_task(ask(w, "2"))
        await until(lambda: w.model().queue_depth == 1)
        seen = time.monotonic()
        await until(lambda: time.monotonic() > seen + 0.05)
        stood = time.monotonic() - seen  # both stood still so long at least, each at its own place
        w.runtime().gate.set()
        a, b = (await first).timing, (await second).timing
        took = time.monotonic() - began
        assert a.execute_s >= stood
        assert b.queue_s >= stood
        for t in (a, b):
            assert t.preprocess_s + t.queue_s + t.execute_s + t.postprocess_s <= took


async def test_reply_reports_the_size_of_its_batch() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        blocker = asyncio.create_task(ask(w, "1000"))
        await until(lambda: w.runtime().batches)
        calls = [asyncio.create_task(ask(w, str(i))) for i in range(3)]
        await until(lambda: w.model().queue_depth == 3)
        w.runtime().gate.set()
        assert [(await call).timing.batch_rows for call in calls] == [3, 3, 3]
        assert (await blocker).timing.batch_rows == 1


async def test_metrics_move_as_documented() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        calls = [asyncio.create_task(ask(w, "1", "2")) for _ in range(3)]
        await until(lambda: w.runtime().batches)
        await until(lambda: w.model().queue_depth == 6 - len(w.runtime().batches[0]))
        assert w.sample("zoo_in_flight_requests", **LABELS) == 3
        assert w.sample("zoo_queue_depth", **LABELS) == w.model().queue_depth > 0
        w.runtime().gate.set()
        await asyncio.gather(*calls)
        for stage in ("preprocess", "queue", "execute", "postprocess"):
            assert w.sample("zoo_stage_duration_seconds_count", **LABELS, stage=stage) == 3
        sizes = [len(batch) for batch in w.runtime().batches]
        assert w.sample("zoo_batch_size_count", **LABELS) == len(sizes)
        assert w.sample("zoo_batch_size_sum", **LABELS) == sum(sizes) == 6
        assert w.sample("zoo_batch_padding_ratio_count", **LABELS) == len(sizes)
        assert w.sample("zoo_device_busy_seconds_total", device="cpu") > 0
        (counts,) = w.recorder.statistics.snapshot("adder")
        assert (counts.success.count, counts.fail.count) == (3, 0)
        assert (counts.inference_count, counts.execution_count) == (6, len(sizes))
        assert_nothing_left(w)


async def test_failed_request_records_no_stages() -> None:
    async with world() as w:
        await ask(w, "bad")
        assert w.sample("zoo_stage_duration_seconds_count", **LABELS, stage="execute") == 0
        (counts,) = w.recorder.statistics.snapshot("adder")
        assert (counts.success.count, counts.fail.count) == (0, 1)


def label_values(metrics: CollectorRegistry) -> set[str]:
    return {value for family in metrics.collect() for s in family.samples for value in s.labels.values()}


async def test_text_of_a_request_never_becomes_a_metric_label() -> None:
    async with world("adder", "adder_two") as w:
        await ask(w, "1")
        await w.registry.unload("adder_two")
        with pytest.raises(NotReady):
            await ask(w, "1", model="adder_two")
        for i in range(20):
            with pytest.raises(NotFound):
                await ask(w, "1", model=f"attack-{i}")
            with pytest.raises(NotFound):
                await ask(w, "1", version=f"attack-{i}")
        await w.inference.drain(0)
        with pytest.raises(Draining):
            await ask(w, "1", model="attack-drain")
        assert not any("attack" in value for value in label_values(w.metrics))


async def test_the_call_knows_its_model_once_it_is_resolved() -> None:
    async with world() as w:
        current_call.set(call := Call())
        with pytest.raises(NotFound):
            await ask(w, "1", model="unknown")
        assert (call.model, call.version) == ("", "")
        await ask(w, "1", version="stable")
        assert (call.model, call.version) == ("adder", "1")


# ── everything at once ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
async def test_callers_get_exactly_their_own_answers_under_disorder(seed: int) -> None:
    rng = random.Random(seed)
    async with world("a", "b", lanes=2, max_queue_size=100_000) as w:
        w.runtime("b").poison = {float(i) for i in range(0, 10_000, 31)}
        ends: list[str] = []

        async def caller(number: int) -> None:
            model, rows = rng.choice("ab"), rng.randint(1, 9)
            given: list[Any] = []
            for i in range(rows):
                x = number * 10 + i
                given.append(rng.choice([str(x), str(x), tensor(x), f"bad{x}"]))
            deadline = time.monotonic() + 0.01 if rng.random() < 0.1 else None
            call = asyncio.create_task(ask(w, *given, model=model, deadline=deadline, request_id=str(number)))
            if rng.random() < 0.2:
                for _ in range(rng.randint(0, 40)):
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.wait([call])
            if call.cancelled():
                ends.append("left")
                return
            if isinstance(call.exception(), DeadlineExceeded):
                assert deadline is not None
                ends.append("late")
                return
            reply = call.result()
            assert reply.request_id == str(number)
            for i, (sent, got) in enumerate(zip(given, reply.predictions, strict=True)):
                x = number * 10 + i
                if isinstance(sent, str) and sent.startswith("bad"):
                    assert isinstance(got, InvalidInput)
                    assert repr(sent) in got.message
                elif model == "b" and float(x) in w.runtime("b").poison:
                    assert isinstance(got, InternalError | DeadlineExceeded)
                elif isinstance(got, ZooError):
                    assert isinstance(got, DeadlineExceeded)
                    assert deadline is not None
                else:
                    assert got.tensors["y"].tolist() == [2 * x + 1]
            ends.append("answered")

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(caller(number))
                if rng.random() < 0.3:
                    await asyncio.sleep(0)
        assert len(ends) == 300
        assert {"left", "answered"} <= set(ends)
        for name in "ab":
            assert w.model(name).rows_in_flight == 0
            assert w.model(name).queue_depth == 0
            assert w.sample("zoo_in_flight_requests", model=name, version="1") == 0
