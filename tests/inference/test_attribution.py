"""An attribution says what the best label loses without each part; its rows are the last to run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from service.engine.loaded_model import LoadedModel
from service.errors import InternalError, InvalidInput, QueueFull, ZooError
from service.inference.attribution import MOST_INSTANCES, VARIANTS_AT_ONCE, Attributions, check_attribution
from service.inference.request_scope import InFlight
from service.tasks.occlusion import Attributable
from service.tasks.text.word_occlusion import word_occlusions
from service.types import (
    LAST_PRIORITY,
    Classification,
    InferReply,
    InferRequest,
    Instance,
    Label,
    Options,
    Prediction,
    TensorInstance,
    TextInstance,
    Timing,
)


class Codec:
    """Texts by words; the probability is the output itself."""

    def occlusions(self, instance: Instance, path: str) -> Any:
        return word_occlusions(instance, path)

    def probability(self, row: Any, index: int) -> float:
        return float(row["y"][index])


PARTS = Attributable(Codec(), Codec())
MODEL = cast(LoadedModel, SimpleNamespace(name="m", version=1))


class Network:
    """The share of "good" among the words is the probability of label 1."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.calls: list[tuple[InferRequest, bool]] = []

    async def infer(self, request: InferRequest, answers: bool) -> InferReply:
        self.calls.append((request, answers))
        outcomes = [self._one(each, answers) for each in request.instances]
        return InferReply("m", 1, request.request_id, outcomes, Timing())

    def _one(self, instance: Instance | InvalidInput, answers: bool) -> Prediction | ZooError:
        if isinstance(instance, InvalidInput):
            return instance
        if not isinstance(instance, TextInstance):
            return Prediction({"y": np.zeros(2, np.float32)})
        words = instance.data.decode().split()
        if self.fails and self.fails not in words:
            return QueueFull("m", 1, 1, 0.25)
        share = words.count("good") / max(1, len(words))
        label = Label(1, "good", share)
        labels = (label,) if share else ()
        return Prediction({"y": np.array([1 - share, share])}, Classification(labels) if answers else None)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def request(*instances: Instance | InvalidInput) -> InferRequest:
    return InferRequest("m", "", "r", instances, Options(attribute=True, top_k=1), priority=1)


def text(words: str) -> TextInstance:
    return TextInstance(words.encode())


@pytest.mark.asyncio
async def test_weights_are_the_lost_probability_of_the_best_label(pool: ThreadPoolExecutor) -> None:
    network = Network()
    reply = await Attributions(network.infer, pool, MODEL, PARTS).reply(request(text("good bad good"), text("good")))
    first, second = reply.predictions
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert first.attribution is not None
    assert second.attribution is not None
    assert first.attribution.label == Label(1, "good", 2 / 3)
    assert [word.weight for word in first.attribution.words] == pytest.approx([2 / 3 - 1 / 2, 2 / 3 - 1, 2 / 3 - 1 / 2])
    assert [word.weight for word in second.attribution.words] == pytest.approx([1.0])
    assert first.answer == Classification((Label(1, "good", 2 / 3),))


@pytest.mark.asyncio
async def test_variants_run_last_in_bounded_numbers_without_answers(pool: ThreadPoolExecutor) -> None:
    network = Network()
    await Attributions(network.infer, pool, MODEL, PARTS).reply(request(text(" ".join(["good"] * 60))))
    (plain, with_answers), *variants = network.calls
    assert (plain.priority, plain.options, with_answers) == (1, Options(top_k=1), True)
    assert [len(part.instances) for part, _ in variants] == [VARIANTS_AT_ONCE, VARIANTS_AT_ONCE, 10]
    assert {(part.priority, answers) for part, answers in variants} == {(LAST_PRIORITY, False)}
    assert all(part.options == Options() for part, _ in variants)


@pytest.mark.asyncio
async def test_bad_instances_fail_alone(pool: ThreadPoolExecutor) -> None:
    unreadable = InvalidInput("instances[0]", "expected one of")
    reply = await Attributions(Network().infer, pool, MODEL, PARTS).reply(
        request(unreadable, TensorInstance({}), text("good x"))
    )
    bad, tensors, good = reply.predictions
    assert bad is unreadable
    assert isinstance(tensors, InvalidInput)
    assert tensors.field == "options.attribute"
    assert isinstance(good, Prediction)
    assert good.attribution is not None


@pytest.mark.asyncio
async def test_answer_without_a_label_has_no_attribution(pool: ThreadPoolExecutor) -> None:
    [one] = (await Attributions(Network().infer, pool, MODEL, PARTS).reply(request(text("bad")))).predictions
    assert isinstance(one, Prediction)
    assert one.attribution is None


@pytest.mark.asyncio
async def test_variant_that_fails_fails_its_instance_alone(pool: ThreadPoolExecutor) -> None:
    network = Network(fails="bad")
    reply = await Attributions(network.infer, pool, MODEL, PARTS).reply(request(text("good bad"), text("good bad bad")))
    first, second = reply.predictions
    assert isinstance(first, QueueFull)
    assert isinstance(second, Prediction)
    assert second.attribution is not None


@pytest.mark.asyncio
async def test_fault_of_the_codec_fails_its_instance_alone(pool: ThreadPoolExecutor) -> None:
    class Faulty(Codec):
        def occlusions(self, instance: Instance, path: str) -> Any:
            if path == "instances[0]":
                raise BaseException("a panic")
            return super().occlusions(instance, path)

    parts = Attributable(Faulty(), Codec())
    reply = await Attributions(Network().infer, pool, MODEL, parts).reply(request(text("good x"), text("good x")))
    first, second = reply.predictions
    assert isinstance(first, InternalError)
    assert isinstance(second, Prediction)
    assert second.attribution is not None


def test_instances_of_a_request_are_bounded() -> None:
    check_attribution(request(*[text("a")] * MOST_INSTANCES))
    with pytest.raises(InvalidInput) as raised:
        check_attribution(request(*[text("a")] * (MOST_INSTANCES + 1)))
    assert (raised.value.field, f"got {MOST_INSTANCES + 1}" in raised.value.message) == ("instances", True)


@pytest.mark.asyncio
async def test_drain_waits_for_a_request_between_its_parts() -> None:
    in_flight = InFlight(cast(Any, None))
    with in_flight.one_more():
        with in_flight.one_more():
            assert not in_flight.empty.is_set()
        assert not in_flight.empty.is_set()
    assert in_flight.empty.is_set()
