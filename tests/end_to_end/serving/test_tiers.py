"""A model is served at once as it is, and soon faster, with the same answers; the next start has that from disk.

A tiny network, because compiling a large one takes a minute.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.pb import open_inference_pb2
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, until, zoo_home
from tests.support.end_to_end.stubs import Scrape, Stubs, ask, stubs_of
from tests.support.model_zoo.tiny_model import (
    NAME,
    ONCE_COMPILED,
    SENTENCE,
    make_tiny,
)

pytestmark = pytest.mark.timeout(1800)

OPENVINO = importlib.util.find_spec("openvino") is not None
TEXTS = [SENTENCE, "Yes.", "word " * 400, "Stocks fell sharply."]


def server(home: Path, card: Path, **settings: str) -> ServerProcess:
    command = ("-m", "tests.support.end_to_end.tiny_server")
    return ServerProcess(command=command, ZOO_HOME=str(home), ZOO_TINY_CARD=str(card), **settings)


def embeddings(stubs: Stubs) -> list[np.ndarray]:
    return [np.array(stubs.predict(ask(NAME, {"text": text})).predictions[0].embedding.values) for text in TEXTS]


def parameters(stubs: Stubs) -> dict[str, str]:
    config = stubs.inference.ModelConfig(open_inference_pb2.ModelConfigRequest(name=NAME), timeout=TIMEOUT_S).config
    return {name: value.string_value for name, value in config.parameters.items()}


def tier(process: ServerProcess) -> dict[str, float]:
    return {t: Scrape(process).value("zoo_model_tier", model=NAME, tier=t) for t in ("eager", "compiled")}


@pytest.mark.skipif(not OPENVINO and shutil.which("g++") is None, reason="OpenVINO and g++ are missing")
def test_compiled_tier_replaces_eager_while_serving_and_is_cached_for_a_restart(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    card = tmp_path / "card.json"
    card.write_text(make_tiny(tmp_path, zoo_home()).model_dump_json())

    with server(tmp_path, card) as process, stubs_of(process.ready()) as stubs:
        expected = embeddings(stubs)
        assert tier(process) == {"eager": 1.0, "compiled": 0.0}
        assert parameters(stubs)["tier_reason"] == "optimize is off"
    assert not (tmp_path / "compiled").exists()

    # In fp32, which every processor has, and in which answers are the same to the fifth digit.
    for cached in (False, True):
        with (
            server(tmp_path, card, ZOO_OPTIMIZE="auto", ZOO_PRECISION="fp32") as process,
            stubs_of(process.ready()) as stubs,
        ):
            eager = embeddings(stubs)  # as soon as it is ready, whatever it runs in
            process.wait_for("a faster network serves", model=NAME, cached=cached)
            shown = parameters(stubs)
            assert (shown["tier"], shown["precision"]) == ("compiled", "fp32")
            # OpenVINO is tried first. On a busy machine it may be no faster for so small a network, because it hands each batch
            # to a thread of its own; then AOTInductor's serves.
            assert shown["tier_compiler"] in ("openvino", "aotinductor")
            assert shown["tier_candidate"] == f"{shown['tier_compiler']} fp32"
            assert shown["tier_cached"] == str(cached).lower()
            assert float(shown["tier_speedup"]) >= 1.05
            assert float(shown["tier_max_error"]) <= 1e-5
            assert "tier_reason" not in shown
            assert tier(process) == {"eager": 0.0, "compiled": 1.0}
            for answers in (eager, embeddings(stubs)):
                for got, want in zip(answers, expected, strict=True):
                    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
        process.assert_log_is_clean()
        assert [path.name for path in (tmp_path / "compiled").iterdir() if path.name.startswith(".")] == []

    shutil.copytree(tmp_path / "compiled", tmp_path_factory.getbasetemp() / ONCE_COMPILED)

    # A stop while what lies on disk is loaded, checked and timed: its thread is in native code then.
    for _ in range(3):
        with server(tmp_path, card, ZOO_OPTIMIZE="auto") as process:
            process.ready()
            process.terminate()
            assert process.wait() == 0


def test_stop_during_a_compile_leaves_no_process_and_no_files(tmp_path: Path) -> None:
    import psutil

    card = tmp_path / "card.json"
    card.write_text(make_tiny(tmp_path, zoo_home()).model_dump_json())
    with server(tmp_path, card, ZOO_OPTIMIZE="auto") as process:
        process.ready()
        me = psutil.Process(process.process.pid)
        workers: list[psutil.Process] = []

        def compiles() -> bool:  # it starts with readiness
            assert process.process.poll() is None
            workers[:] = [child for child in me.children() if "compile_worker" in " ".join(child.cmdline())]
            return bool(workers)

        until(compiles, "the compiler's process")
        process.terminate()
        assert process.wait() == 0
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == []
    for worker in workers:
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")
def test_eager_network_runs_in_lane_processes_and_survives_their_death(tmp_path: Path) -> None:
    import psutil

    card = tmp_path / "card.json"
    card.write_text(make_tiny(tmp_path, zoo_home()).model_dump_json())
    settings = {"ZOO_LANE_PROCESSES": "auto", "ZOO_LANES": "2", "ZOO_CPU_THREADS": "2"}
    with server(tmp_path, card, **settings) as process, stubs_of(process.ready()) as stubs:
        expected = embeddings(stubs)  # as soon as it is ready, wherever it runs
        process.wait_for("the network runs in processes of its own", model=NAME, processes=2)
        shown = parameters(stubs)
        assert (shown["tier"], shown["tier_processes"], shown["tier_reason"]) == ("eager", "2", "optimize is off")
        me = psutil.Process(process.process.pid)

        def lanes() -> list[psutil.Process]:
            alive = [child for child in me.children() if child.status() != psutil.STATUS_ZOMBIE]
            return [child for child in alive if "lanes.process_worker" in " ".join(child.cmdline())]

        first = lanes()
        assert len(first) == 2
        for again in range(2):
            for got, want in zip(embeddings(stubs), expected, strict=True):
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
            if not again:
                for lane in first:
                    lane.kill()  # as the system does where memory is short
        assert {lane.pid for lane in lanes()} != {lane.pid for lane in first}
        last = lanes()
    for lane in [*first, *last]:
        assert not lane.is_running() or lane.status() == psutil.STATUS_ZOMBIE
