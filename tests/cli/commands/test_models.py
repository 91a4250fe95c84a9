import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from service.pb import models_pb2
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def test_models_with_a_server_lists_its_models_and_names_the_server(run: Run, zoo: FakeZoo) -> None:
    zoo.models["silero_vad"].state = models_pb2.MODEL_STATE_UNAVAILABLE
    zoo.models["silero_vad"].state_reason = "its weights are gone"
    done = run("models", "--server", zoo.target)
    assert done.exit_code == 0
    assert f"models of the server at {zoo.target}" in done.stderr
    assert all(name in done.stdout for name in zoo.models)
    assert "UNAVAILABLE: its weights are gone" in done.stdout
    assert "4.7 M" in done.stdout


def test_models_without_a_server_lists_the_local_catalog_with_a_note(run: Run, nowhere: str, tmp_path: Path) -> None:
    done = run("models", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert done.stderr == f"no server answers at {nowhere}; this is the catalog of this machine\n"
    assert all(name in done.stdout for name in Catalog.from_package().names())
    assert "not downloaded" in done.stdout


def test_models_as_json_names_server_or_catalog_as_source(run: Run, zoo: FakeZoo, nowhere: str, tmp_path: Path) -> None:
    served = json.loads(run("models", "--json", "--server", zoo.target).stdout)
    assert (served["source"], served["server"]) == ("server", zoo.target)
    assert served["models"][0]["state"] == "READY"
    local = json.loads(run("models", "--json", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)}).stdout)
    assert local["source"] == "catalog"
    assert [model["downloaded"] for model in local["models"]] == [False] * len(local["models"])


def test_show_prints_card_state_and_a_command_that_works(run: Run, zoo: FakeZoo) -> None:
    done = run("show", "silero_vad", "--server", zoo.target)
    assert done.exit_code == 0
    for words in (
        "READY",
        "samples FP32 [-1, 4]",
        "fp32 on cpu, 18.6 MB",
        "Apache-2.0",
        "Somebody made it.",
        "stable is 1",
        "18.5 MB of weights; 0.1 MB beside them; the server grew by 30.0 MB over the load",
        "max_batch_size=8, weight=1.5, pinned=false, precision=auto",
    ):
        assert words in done.stdout
    assert done.stdout.splitlines()[-1] == f"  zoo predict --server {zoo.target} silero_vad speech.wav"


def test_show_prints_tier_speedup_and_errors_of_the_optimization(run: Run, zoo: FakeZoo) -> None:
    runtime = zoo.models["silero_vad"].runtime
    runtime.evidence.tier, runtime.evidence.precision, runtime.evidence.reason = "eager", "fp32", "optimize is off"
    assert "eager fp32: optimize is off" in run("show", "silero_vad", "--server", zoo.target).stdout
    runtime.evidence.MergeFrom(
        models_pb2.Evidence(
            tier="compiled",
            candidate="compiled fp32",
            speedup=1.9,
            single_speedup=1.2,
            max_error=3e-6,
            cosine=1.0,
            length_step=16,
        )
    )
    runtime.evidence.ClearField("reason")
    text = run("show", "silero_vad", "--server", zoo.target).stdout
    assert "compiled fp32: measured at 1.90 × the rows a second, 1.20 × for a single row" in text
    assert "largest error 3e-06, cosine 1.000000" in text
    assert "lengths just below a multiple of 16 are padded to it" in text


def test_show_without_a_server_prints_the_card(run: Run, nowhere: str, tmp_path: Path) -> None:
    done = run("show", "silero_vad", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert "this machine's catalog" in done.stderr
    assert "not downloaded" in done.stdout
    assert "zoo serve --model silero_vad" in done.stdout


def test_show_as_json_names_server_or_catalog_as_source(run: Run, zoo: FakeZoo, nowhere: str, tmp_path: Path) -> None:
    served = json.loads(run("show", "silero_vad", "--json", "--server", zoo.target).stdout)
    assert (served["source"], served["model"]["labels"]) == ("server", ["cat", "dog"])
    local = json.loads(run("show", "silero_vad", "--json", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)}).stdout)
    assert (local["source"], local["model"]["raw_input"]) == ("catalog", "audio")


@pytest.mark.parametrize("verb", ["show", "pull"])
def test_misspelt_model_without_a_server_suggests_names_of_the_catalog(
    run: Run, nowhere: str, tmp_path: Path, verb: str
) -> None:
    where = ("--server", nowhere) if verb == "show" else ()
    done = run(verb, "silero-vad2", *where, env={"ZOO_HOME": str(tmp_path)})
    assert (done.exit_code, done.stdout) == (1, "")
    assert "silero_vad" in done.stderr
    assert done.stderr.count("\n") == 1


def test_misspelt_model_with_a_server_suggests_names_of_the_server(run: Run, zoo: FakeZoo) -> None:
    done = run("show", "silero", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "unknown model 'silero'; did you mean 'silero_vad'?\n")


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A store that makes files without a network, and the names that it made."""
    made: list[str] = []

    def materialise(self: Store, card: object, progress: Callable[[int, int, str], None]) -> Materialised:
        name = str(getattr(card, "name", ""))
        made.append(name)
        progress(0, 0, "starting")
        progress(5, 10, "\x1b[31mfile")
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"x" * 2_000_000)
        return Materialised(tmp_path, file, {}, "0" * 64)

    monkeypatch.setattr(Store, "materialise", materialise)
    return made


def test_pull_prints_folder_and_licence_of_the_weights(run: Run, weights: list[str], tmp_path: Path) -> None:
    done = run("pull", "silero_vad", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert weights == ["silero_vad"]
    assert done.stdout == f"silero_vad: fetched, 2.0 MB in {tmp_path}\n  licence of the weights: MIT\n"
    assert done.stderr == ""


def test_pull_default_fetches_the_default_set(run: Run, weights: list[str], tmp_path: Path) -> None:
    assert run("pull", "--default", "silero_vad", env={"ZOO_HOME": str(tmp_path)}).exit_code == 0
    assert sorted(weights) == Catalog.from_package().default_names()


def test_pull_without_names_is_a_usage_error(run: Run) -> None:
    done = run("pull")
    assert done.exit_code == 2
    assert "--default" in done.stderr


def test_pull_offline_fetches_nothing_and_fails(run: Run, weights: list[str], tmp_path: Path) -> None:
    done = run("pull", "silero_vad", env={"ZOO_HOME": str(tmp_path), "ZOO_OFFLINE": "1"})
    assert done.exit_code == 1
    assert "ZOO_OFFLINE" in done.stderr
    assert weights == []


def test_pull_continues_after_a_model_that_fails(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from model_zoo.errors import SourceUnavailable

    def unreachable(self: Store, card: object, progress: object) -> Materialised:
        raise SourceUnavailable("the file", "no network")

    monkeypatch.setattr(Store, "materialise", unreachable)
    done = run("pull", "silero_vad", "all_minilm_l6_v2", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 1
    assert done.stderr.count("no network") == 2
    assert "Traceback" not in done.stderr
