"""A pull runs in a process of its own: files of strangers cannot crash or exhaust the process that asked for it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.errors import PullRefused
from model_zoo.store import Store
from service.errors import CannotPull, InvalidInput
from service.references import pull_process, pull_worker, remote_pulls
from service.references.footprint import Footprint
from service.references.pull_messages import PullOrder, PullReport
from service.references.pull_process import PulledModel, PullProcess
from service.references.remote_pulls import PullRequest, RemotePulls
from tests.support.paths import REPOSITORY
from tests.support.preloaded_process import forked_worker
from tests.support.references.tiny_repositories import text_classifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny").mkdir()
    return text_classifier(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a pull are forks, unless a test depends on an interpreter of its own."""
    if "cold" not in request.node.name:
        monkeypatch.setattr(pull_process, "WORKER", forked_worker("service.references.pull_worker"))


def order(folder: Path, home: Path, **changes: object) -> PullOrder:
    given = {"reference": f"local:{folder}", "home": home, "memory": 1 << 40, **changes}
    return PullOrder.model_validate(given)


def run(asked: PullOrder, lines: list[str] | None = None) -> PulledModel:
    return PullProcess(asked).run((lines if lines is not None else []).append, lambda done, total, what: None)


def leftovers(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


def test_model_is_pulled_by_a_cold_process_with_its_lines_and_the_second_time_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    home = tmp_path / "home"
    assert run(order(folder, home), lines) == PulledModel("tiny", already=False)
    assert [line.partition(":")[0] for line in lines] == ["tiny"] * 3
    assert "on disk" in lines[0]
    assert Store(home).find(Catalog.of_home(home).get("tiny")) is not None
    monkeypatch.setattr(pull_process, "WORKER", forked_worker("service.references.pull_worker"))
    assert run(order(folder, home)) == PulledModel("tiny", already=True)


def test_refusal_keeps_its_message_and_kind(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(PullRefused, match=r"^local:tiny cannot be served: it has no tokenizer\.json") as refused:
        run(order(folder, tmp_path / "home"))
    assert refused.value.error == "NotDerivable"
    assert leftovers(tmp_path / "home") == []


@pytest.mark.parametrize("line", [2, 3])
def test_stopped_pull_leaves_nothing(folder: Path, tmp_path: Path, line: int) -> None:
    asked, lines = PullProcess(order(folder, tmp_path / "home")), list[str]()

    def say(text: str) -> None:
        lines.append(text)
        if len(lines) == line:
            asked.stop()

    with pytest.raises(PullRefused, match="tiny was not pulled: it was stopped"):
        asked.run(say, lambda done, total, what: None)
    assert leftovers(tmp_path / "home") == []


def test_end_of_the_caller_ends_the_pull_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """The pipe to the process closes, as it does when its parent is killed."""
    asked = PullProcess(order(folder, tmp_path / "home"))

    class CallerGone(Exception):
        pass

    def say(text: str) -> None:
        if "compared" in text:
            raise CallerGone

    with pytest.raises(CallerGone):
        asked.run(say, lambda done, total, what: None)
    assert leftovers(tmp_path / "home") == []


def test_death_of_the_process_is_an_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in place of the worker says a line and then reads for ever."""
    program = (
        f"import sys; print({PullReport(kind='line', text='a line').model_dump_json()!r}, flush=True); sys.stdin.read()"
    )
    monkeypatch.setattr(pull_process, "WORKER", (sys.executable, "-I", "-S", "-c", program))
    asked = PullProcess(order(folder, tmp_path / "home"))

    def say(text: str) -> None:
        process = asked._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(PullRefused, match="the process that pulls it ended, perhaps for want of memory"):
        asked.run(say, lambda done, total, what: None)


def test_two_pulls_of_one_reference_make_one_model(folder: Path, tmp_path: Path) -> None:
    found: list[PulledModel] = []
    threads = [threading.Thread(target=lambda: found.append(run(order(folder, tmp_path / "home")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.already for one in found) == [False, True]


@pytest.mark.parametrize(
    ("reference", "needed"),
    [
        ("hf:org/tiny", ()),
        (f"onnx:https://host/net.onnx#sha256={'0' * 64}", ()),
        (f"onnx:s3://bucket/net.onnx#sha256={'0' * 64}", ("AWS_",)),
    ],
)
def test_only_a_pull_from_a_bucket_has_the_keys_of_the_bucket(reference: str, needed: tuple[str, ...]) -> None:
    assert pull_process._needed(PullOrder(reference=reference, home=Path("/"), memory=1)) == needed


def test_credentials_come_after_the_process_of_the_library_was_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process stays readable in its memory, so that the child of the library must never have had them."""
    seen: list[dict[str, str]] = []

    def start(command: object, *, env: dict[str, str], **_: object) -> None:
        seen.append(env)
        raise PullRefused("stopped here", "")

    secrets = {"HF_TOKEN": "t", "HTTPS_PROXY": "http://user:password@proxy", "HF_ENDPOINT": "http://hub"}
    for name, value in {**secrets, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "ZOO_ADMIN_TOKEN": "a"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pull_process.ChildProcess, "start", start)
    asked = PullOrder(reference="hf:org/tiny", home=Path("/"), memory=1)
    with pytest.raises(PullRefused, match="stopped here"):
        run(asked)
    assert not seen[0].keys() & {*secrets, "ZOO_ADMIN_TOKEN"}
    assert seen[0]["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1", "it is read when the library is imported"
    given = pull_process._credentials(asked)
    assert secrets.items() <= given.items()
    assert "ZOO_ADMIN_TOKEN" not in given


def test_memory_beyond_the_prediction_is_refused(folder: Path, tmp_path: Path) -> None:
    """The bound is put below what the libraries need, in a process that then pulls."""
    import subprocess

    program = (
        "import sys; from service.references import pull_worker as w; "
        "w.BESIDE = -(64 << 20); w.limit_memory.__globals__['BESIDE'] = w.BESIDE; w.main()"
    )
    asked = order(folder, tmp_path / "home").model_dump_json()
    done = subprocess.run(
        [sys.executable, "-c", program], input=asked + "\n", capture_output=True, text=True, timeout=120, check=False
    )
    assert '"kind": "refused"' in done.stdout or done.returncode != 0, done.stdout
    assert '"kind": "pulled"' not in done.stdout
    assert not (tmp_path / "home" / "cards" / "tiny.yaml").exists()


def test_lack_of_memory_is_recognised_through_the_errors_that_it_caused() -> None:
    def raised() -> BaseException:
        try:
            try:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
            except RuntimeError as error:
                raise ValueError("the library cannot read the files") from error
        except ValueError as error:
            return error

    assert pull_worker._lacked_memory(raised())
    assert pull_worker._lacked_memory(MemoryError())
    assert not pull_worker._lacked_memory(ValueError("a wrong file"))


def test_bound_of_memory_is_the_prediction_and_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(pull_worker.resource, "getrlimit", lambda _: (-1, -1))
    monkeypatch.setattr(pull_worker.resource, "setrlimit", lambda _, pair: limits.append(pair))
    monkeypatch.setattr(pull_worker, "data_bytes", lambda: 1000)
    pull_worker.limit_memory(Footprint(1, 1, 1, pull_memory=100, memory=100))
    most = 1000 + pull_worker.BESIDE + 130
    assert limits == [(most, most)]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("silero_vad", CannotPull, "there is a model silero_vad already; give another name$"),
        ("tuned", CannotPull, "there is a fine-tuned model tuned already"),
        ("../x", InvalidInput, r"^name: '\.\./x' is no name of a model: expected a to z, .* 63 characters at most$"),
    ],
)
def test_name_that_cannot_be_given_is_refused_without_a_process(
    name: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.references.remote_pulls.PullProcess", None)
    (tmp_path / "versions" / "tuned" / "1").mkdir(parents=True)
    pulls = RemotePulls(tmp_path, allowed=True, offline=False, memory=1, budget=0)
    with pytest.raises(error, match=words):
        asyncio.run(pulls.pull(PullRequest("hf:org/tiny", name)))


@pytest.mark.parametrize(
    ("reference", "setting", "words"),
    [
        ("hf:org/tiny", "zzz", r"settings\[zzz\]: is unknown; expected max_tokens$"),
        ("hf:org/tiny", "size", r"settings\[size\]: is unknown; expected max_tokens$"),
        ("timm:resnet18", "max_tokens", r"settings\[max_tokens\]: is unknown; expected no setting"),
    ],
)
def test_setting_that_the_reference_does_not_have_is_refused_without_a_process(
    reference: str, setting: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.references.remote_pulls.PullProcess", None)
    pulls = RemotePulls(tmp_path, allowed=True, offline=False, memory=1, budget=0)
    with pytest.raises(InvalidInput, match=words):
        asyncio.run(pulls.pull(PullRequest(reference, settings={setting: "1"})))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("it does not name its 3 classes; give --labels FILE, a name a line", "3 classes; give labels"),
        (
            "(1) a (give --labels FILE); (2) b (give --set max_tokens=N)",
            "(give labels); (2) b (give settings[max_tokens])",
        ),
        ("it has a.onnx, b.onnx; give one of them by --set file=PATH", "give one of them as settings[file]"),
        ("one number; give --task text-ranking, if it scores", "give the task text-ranking, if it scores"),
        ("hf:org/a--name; without its tokenizer: zoo pull onnx:x --set file=a", "zoo pull onnx:x --set file=a"),
    ],
)
def test_refusal_over_grpc_names_fields_of_the_request(message: str, told: str) -> None:
    pull = PullOrder(reference="hf:org/tiny", home=Path("/"), memory=1)
    error = remote_pulls._as_zoo_error(pull, PullRefused(message, "NotDerivable"))
    assert isinstance(error, CannotPull)
    assert error.message.endswith(told)


def test_options_of_which_refusals_speak_have_a_field() -> None:
    folders = (REPOSITORY / "model_zoo/references", REPOSITORY / "service/references")
    texts = [path.read_text() for folder in folders for path in folder.rglob("*.py") if path.stem != "remote_pulls"]
    options = {option for text in texts for option in re.findall(r"[\s\"(](--[a-z]\w+)", text)}
    of_the_command = {"--sha256"}
    assert options - of_the_command == {"--labels", "--name", "--set", "--task"}
