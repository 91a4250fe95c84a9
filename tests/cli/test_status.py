import json
from collections.abc import Callable

from typer.testing import Result

from service.pb import models_pb2

from .fakes import FakeZoo

Run = Callable[..., Result]


def test_a_ready_server_is_0_and_lists_its_models(run: Run, zoo: FakeZoo) -> None:
    done = run("status", "--server", zoo.target)
    assert done.exit_code == 0
    assert f"{zoo.target} is live and ready" in done.stdout
    assert "fp32 on cpu" in done.stdout


def test_a_server_that_is_not_ready_is_1_and_says_why(run: Run, zoo: FakeZoo) -> None:
    zoo.set_ready(False)
    zoo.models["silero_vad"].state = models_pb2.MODEL_STATE_UNAVAILABLE
    zoo.models["silero_vad"].state_reason = "its weights do not fit"
    done = run("status", "--server", zoo.target)
    assert done.exit_code == 1
    assert "live and not ready" in done.stdout
    assert "its weights do not fit" in done.stdout


def test_no_server_is_2_and_one_sentence(run: Run, nowhere: str) -> None:
    done = run("status", "--server", nowhere)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"no server answers at {nowhere}; start one with `zoo serve`\n"


def test_status_as_json_keeps_the_exit_codes(run: Run, zoo: FakeZoo, nowhere: str) -> None:
    done = run("status", "--json", "--server", zoo.target)
    status = json.loads(done.stdout)
    assert (done.exit_code, status["live"], status["ready"], len(status["models"])) == (0, True, True, 3)
    done = run("status", "--json", "--server", nowhere)
    status = json.loads(done.stdout)
    assert (done.exit_code, status["live"], status["models"]) == (2, False, [])


def test_load_and_unload_tell_the_new_state(run: Run, zoo: FakeZoo) -> None:
    done = run("unload", "silero_vad", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (0, "silero_vad is UNAVAILABLE: it was unloaded\n")
    done = run("load", "silero_vad", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (0, "silero_vad is READY, fp32 on cpu, 18.6 MB\n")


def test_a_load_that_the_server_refuses_is_its_sentence(run: Run, zoo: FakeZoo) -> None:
    zoo.fail_next("LoadModel", "FAILED_PRECONDITION", "model 'silero_vad' is UNLOADING\x1b[2J")
    done = run("load", "silero_vad", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "model 'silero_vad' is UNLOADING\\x1b[2J\n"
