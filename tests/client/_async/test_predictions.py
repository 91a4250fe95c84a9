"""Predictions of several inputs in one call."""

from pathlib import Path

import pytest

from service.client import (
    AsyncClient,
    BadInput,
    Classification,
    Client,
    PredictionError,
    Retry,
)
from tests.support.fake_zoo.server import FakeZoo


def test_failed_instance_is_an_error_among_the_results(client: Client) -> None:
    cat, bad, dog = client.predict("efficientnet_lite0", [b"a cat", b"bad", b"a dog"])
    assert isinstance(cat, Classification)
    assert isinstance(dog, Classification)
    assert dog.labels[0].name == "a dog"
    assert isinstance(bad, PredictionError)
    assert (bad.code, bad.reason, bad.field, bad.index) == (
        "INVALID_ARGUMENT",
        "INVALID_INPUT",
        "instances[1].image",
        1,
    )
    assert str(bad) == "this is no image"


def test_options_are_sent_and_omitted_options_are_not(zoo: FakeZoo, client: Client) -> None:
    client.predict("efficientnet_lite0", b"x")
    client.predict(
        "efficientnet_lite0", b"x", version="canary", top_k=3, threshold=0.25, include_tensors=True, priority=2
    )
    unset, given = zoo.calls["Predict"]
    assert not unset.options.HasField("top_k")
    assert not unset.options.HasField("threshold")
    assert (given.version, given.options.top_k, given.options.threshold) == ("canary", 3, 0.25)
    assert given.options.include_tensors
    assert (unset.options.priority, given.options.priority) == (0, 2)


def test_input_of_a_model_is_requested_once(zoo: FakeZoo, client: Client) -> None:
    client.predict("efficientnet_lite0", [b"x", b"y"])
    client.predict("efficientnet_lite0", b"z")
    assert len(zoo.calls["GetModel"]) == 1


@pytest.mark.asyncio
async def test_async_client_predicts_and_reads_files(zoo: FakeZoo, retry: Retry, tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"a cat")
    async with AsyncClient(zoo.target, retry=retry) as client:
        cat, bad = await client.predict("efficientnet_lite0", [photo, b"bad"])
        assert isinstance(cat, Classification)
        assert cat.labels[0].name == "a cat"
        assert isinstance(bad, PredictionError)
        with pytest.raises(BadInput, match="no such file"):
            await client.predict("efficientnet_lite0", tmp_path / "none.jpg")
