import json
from collections.abc import Callable

from typer.testing import Result

from service.pb import models_pb2
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def test_status_of_ready_server_exits_with_zero_and_lists_models(run: Run, zoo: FakeZoo) -> None:
    done = run("status", "--server", zoo.target)
    assert done.exit_code == 0
    assert f"{zoo.target} is live and ready" in done.stdout
    assert "fp32 on cpu" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 loaded, 55.8 MB in all"


def test_status_of_server_that_is_not_ready_exits_with_one_and_gives_the_reason(run: Run, zoo: FakeZoo) -> None:
    zoo.set_ready(False)
    zoo.models["silero_vad"].state = models_pb2.MODEL_STATE_UNAVAILABLE
    zoo.models["silero_vad"].state_reason = "its weights do not fit"
    done = run("status", "--server", zoo.target)
    assert done.exit_code == 1
    assert "live and not ready" in done.stdout
    assert "its weights do not fit" in done.stdout


def test_status_without_a_server_exits_with_two_and_one_sentence(run: Run, nowhere: str) -> None:
    done = run("status", "--server", nowhere)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"no server answers at {nowhere}; start one with `zoo serve`\n"


def test_status_as_json_has_the_same_exit_codes(run: Run, zoo: FakeZoo, nowhere: str) -> None:
    done = run("status", "--json", "--server", zoo.target)
    status = json.loads(done.stdout)
    assert (done.exit_code, status["live"], status["ready"], len(status["models"])) == (0, True, True, 3)
    done = run("status", "--json", "--server", nowhere)
    status = json.loads(done.stdout)
    assert (done.exit_code, status["live"], status["models"]) == (2, False, [])


def test_load_and_unload_print_the_new_state(run: Run, zoo: FakeZoo) -> None:
    done = run("unload", "silero_vad", "--server", zoo.target)
    assert done.exit_code == 0
    assert (
        done.stdout == "silero_vad is UNAVAILABLE: it was unloaded\nfreed 19.5 MB of memory; its weights have 20.0 MB\n"
    )
    done = run("load", "silero_vad", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (0, "silero_vad is READY, fp32 on cpu, 18.6 MB\n")


def test_load_rejected_by_the_server_prints_its_message(run: Run, zoo: FakeZoo) -> None:
    zoo.fail_next("LoadModel", "FAILED_PRECONDITION", "model 'silero_vad' is UNLOADING\x1b[2J")
    done = run("load", "silero_vad", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "model 'silero_vad' is UNLOADING\\x1b[2J\n"


def test_load_and_unload_as_json_print_the_model(run: Run, zoo: FakeZoo) -> None:
    unloaded = json.loads(run("unload", "silero_vad", "--json", "--server", zoo.target).stdout)["model"]
    assert (unloaded["state"], unloaded["held_bytes"], unloaded["freed_bytes"]) == (
        "UNAVAILABLE",
        20_000_000,
        19_500_000,
    )
    assert json.loads(run("load", "silero_vad", "--json", "--server", zoo.target).stdout)["model"]["state"] == "READY"


def test_set_changes_options_and_names_those_that_wait_for_a_load(run: Run, zoo: FakeZoo) -> None:
    done = run(
        *(
            "set",
            "silero_vad",
            "max_batch_size=4",
            "weight=2",
            "pinned=true",
            "precision=bf16",
            "max_queue_delay_ms=0.5",
        ),
        *("--server", zoo.target),
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "silero_vad: max_batch_size is 4",
        "silero_vad: weight is 2",
        "silero_vad: pinned is true",
        "silero_vad: precision is bf16, once it is loaded the next time",
        "silero_vad: max_queue_delay_ms is 0.5",
    ]
    [request] = zoo.calls["UpdateModel"]
    assert request.model.options.max_batch_size == 4
    assert not request.model.options.HasField("max_queue_size")


def test_set_with_default_restores_the_default(run: Run, zoo: FakeZoo) -> None:
    assert run("set", "silero_vad", "weight=default", "--server", zoo.target).exit_code == 0
    [request] = zoo.calls["UpdateModel"]
    assert list(request.update_mask.paths) == ["options.weight"]
    assert not request.model.options.HasField("weight")


def test_set_as_json_prints_the_model(run: Run, zoo: FakeZoo) -> None:
    model = json.loads(run("set", "silero_vad", "precision=fp32", "--json", "--server", zoo.target).stdout)["model"]
    assert (model["options"]["precision"], model["at_next_load"]) == ("fp32", ["precision"])


def test_set_with_unknown_option_or_malformed_value_is_rejected(run: Run, zoo: FakeZoo) -> None:
    for text, code, sentence in (
        ("weight", 2, "expected OPTION=VALUE"),
        ("=2", 2, "expected OPTION=VALUE"),
        ("weight=", 2, "expected OPTION=VALUE"),
        ("weight=heavy", 1, "options.weight: expected a number, got 'heavy'"),
        ("max_batch_size=1.5", 1, "options.max_batch_size: expected a whole number, got 1.5"),
        ("pinned=2", 1, "options.pinned: expected true or false, got 2"),
        ("max_batch_size=99999999999", 1, "options.max_batch_size: expected a whole number"),
        ("precision=8", 1, "options.precision: expected a word, got 8"),
        ("wieght=2", 1, "options.wieght: no such option"),
    ):
        done = run("set", "silero_vad", text, "--server", zoo.target)
        assert (done.exit_code, done.stdout) == (code, ""), text
        assert sentence in " ".join(done.stderr.replace("│", " ").split()), done.stderr
