"""More models than the memory budget holds: they come and go by themselves, and callers of either protocol are answered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from service.pb import models_pb2
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import (
    CNN,
    RNN,
    TRANSFORMER,
    Scrape,
    Stubs,
    ask,
    expect_error,
    infer,
    samples,
    stubs_of,
)

SOUND = ask(RNN, samples(np.zeros(512, np.float32)))
SENTENCE = {"text": "A cat sleeps on the sofa."}


@pytest.fixture(scope="module")
def small() -> Iterator[ServerProcess]:
    """One model at start, and room for the CNN or the Transformer beside it, not for both."""
    settings = {"ZOO_MEMORY_BUDGET_MIB": "100", "ZOO_LOAD_ON_DEMAND": "1", "ZOO_OPTIMIZE": "off"}
    with ServerProcess("--model", RNN, "--set", f"{RNN}.pinned=true", cold=True, **settings) as process:
        yield process.ready()
    process.assert_log_is_clean()


@pytest.fixture(scope="module")
def calls(small: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(small) as made:
        yield made


def ready(calls: Stubs) -> set[str]:
    listing = models_pb2.ListModelsRequest(state=models_pb2.MODEL_STATE_READY)
    return {model.name for model in calls.models.ListModels(listing, timeout=TIMEOUT_S).models}


def test_evicted_model_is_loaded_again_by_a_request(small: ServerProcess, calls: Stubs) -> None:
    pixels = np.zeros((1, 3, 224, 224), np.float32)
    assert ready(calls) == {RNN}
    assert calls.infer(infer(CNN, pixel_values=pixels)).model_version == "1"
    assert ready(calls) == {RNN, CNN}
    assert calls.predict(ask(TRANSFORMER, SENTENCE)).version == 1
    assert ready(calls) == {RNN, TRANSFORMER}
    assert calls.infer(infer(CNN, pixel_values=pixels)).model_version == "1"
    assert ready(calls) == {RNN, CNN}
    assert calls.predict(SOUND).version == 1
    gone = next(event for event in small.events if str(event["event"]).startswith("freed ") and event["model"] == CNN)
    assert gone["measured"]
    assert 0.9 * gone["held_bytes"] < gone["freed_bytes"] < 1.3 * gone["held_bytes"]
    page = Scrape(small)
    budget = page.value("zoo_device_memory_bytes", kind="budget")
    assert budget == 100 * 2**20
    assert 0 < page.value("zoo_model_memory_bytes") == page.value("zoo_device_memory_bytes", kind="models") <= budget


def test_model_unloaded_by_a_user_stays_unloaded_and_freed_memory_is_printed(
    small: ServerProcess, calls: Stubs
) -> None:
    assert run_preloaded("load", CNN, "--server", small.target).returncode == 0
    ended = run_preloaded("unload", CNN, "--server", small.target)
    assert ended.returncode == 0, ended.stderr
    assert f"{CNN} is UNAVAILABLE: unloaded\nfreed " in ended.stdout
    assert (
        expect_error(lambda: calls.infer(infer(CNN, pixel_values=np.zeros((1, 3, 224, 224), np.float32)))).code
        == "UNAVAILABLE"
    )
    assert run_preloaded("load", CNN, "--server", small.target).returncode == 0


def test_pinned_model_is_not_evicted_after_an_option_change(small: ServerProcess, calls: Stubs) -> None:
    assert run_preloaded("load", CNN, "--server", small.target).returncode == 0
    ended = run_preloaded("set", CNN, "pinned=true", "max_batch_size=2", "--server", small.target)
    assert ended.stdout == f"{CNN}: pinned is true\n{CNN}: max_batch_size is 2\n", ended.stderr
    refusal = expect_error(lambda: calls.predict(ask(TRANSFORMER, SENTENCE)))
    assert (refusal.code, refusal.reason, refusal.retry_s) == ("RESOURCE_EXHAUSTED", "MEMORY_FULL", None)
    assert f"(pinned: {CNN}, {RNN})" in refusal.message
    wrong = run_preloaded("set", CNN, "weight=0", "--server", small.target)
    assert (wrong.returncode, wrong.stderr) == (1, "options.weight: expected a number greater than 0, got 0.0\n")
    assert (
        run_preloaded("set", CNN, "pinned=default", "max_batch_size=default", "--server", small.target).returncode == 0
    )
    assert calls.predict(ask(TRANSFORMER, SENTENCE)).version == 1
