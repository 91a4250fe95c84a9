import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from service.cli.sample_inputs import sample_path
from service.pb import models_pb2
from tests.support.fake_zoo.server import FakeZoo
from tests.support.model_zoo.pulled_cards import add_card, pulled_card

Run = Callable[..., Result]


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
    assert f"  zoo predict --server {zoo.target} silero_vad {sample_path('audio')}" in done.stdout.splitlines()
    for words in ("from service.client import Client", "grpcurl -plaintext", "triton.InferInput('audio'"):
        assert words in done.stdout


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
    for shown in (served, local):
        assert shown["calls"].keys() == {"cli", "python", "grpcurl", "tritonclient"}


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


def test_show_says_how_a_model_of_this_machine_was_checked(run: Run, nowhere: str, tmp_path: Path) -> None:
    add_card(tmp_path, pulled_card())
    done = run("show", "tiny", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    facts = {line[:16].strip(): line[16:].strip() for line in done.stdout.splitlines()}
    assert (facts["pulled from"], facts["verification"]) == ("hf:org/tiny", "none")
    assert facts["golden cases"].isdigit()
    assert facts["fine-tuning"] == "can be a base"
    document = json.loads(run("show", "tiny", "--json", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)}).stdout)
    assert (document["model"]["source"], document["model"]["fine_tunable"]) == ("hub", True)


def test_show_of_a_base_without_weights_tells_how_to_tune_it(run: Run, nowhere: str, tmp_path: Path) -> None:
    done = run("show", "series_gru", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    assert done.stdout.splitlines()[-1] == "  zoo finetune series_gru DATA --name my_model"
    assert "zoo serve" not in done.stdout


def test_show_over_tls_prints_calls_with_tls(run: Run, nowhere: str, tmp_path: Path) -> None:
    done = run("--tls", "show", "silero_vad", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    assert "-plaintext" not in done.stdout
    assert "ssl=True" in done.stdout
