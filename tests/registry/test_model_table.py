"""Models are found by name, version and alias."""

import pytest

from service.errors import NotFound
from tests.support.registry.fakes import world

pytestmark = pytest.mark.asyncio


async def test_unknown_model_is_refused_with_near_names() -> None:
    async with world("efficientnet_lite0", "silero_vad", load=False) as w:
        for ask in (w.registry.resolve, w.registry.status, w.registry.begin_load):
            with pytest.raises(
                NotFound, match=r"unknown model 'eficientnet'; did you mean 'efficientnet_lite0'\?"
            ) as e:
                ask("eficientnet")
            assert e.value.near == ("efficientnet_lite0",)
        for move in (w.registry.load, w.registry.unload):
            with pytest.raises(NotFound, match="silero_vad"):
                await move("silero")


async def test_unknown_name_without_a_near_one_lists_all_models() -> None:
    async with world("alpha", "beta", load=False) as w:
        with pytest.raises(NotFound, match="models are alpha, beta"):
            w.registry.resolve("qqqqqqqq")


async def test_unknown_name_of_great_length_is_shortened_in_the_error() -> None:
    async with world() as w:
        for ask in (lambda: w.registry.resolve("x" * 10_000_000), lambda: w.registry.resolve("adder", "9" * 1_000_000)):
            with pytest.raises(NotFound) as caught:
                ask()
            assert len(caught.value.message) < 300


@pytest.mark.parametrize("version", ["2", "0", "-1", "01", "1.0", "latest", " ", "1 ", "١"])
async def test_unknown_version_is_refused_with_the_known_ones(version: str) -> None:
    async with world() as w:
        for ask in (w.registry.resolve, w.registry.status):
            with pytest.raises(NotFound, match="has version 1, which is 'stable'"):
                ask("adder", version)


async def test_unknown_version_of_an_unloaded_model_is_refused() -> None:
    async with world(load=False) as w:
        with pytest.raises(NotFound, match="unknown version"):
            w.registry.resolve("adder", "7")


async def test_statuses_are_in_order_of_name() -> None:
    async with world("b", "c", "a", load=False) as w:
        assert [status.name for status in w.registry.statuses()] == ["a", "b", "c"]
