"""The server compiles in a worker process, loads only code that this user alone can write, and leaves no process behind.

The worker is a script of a few lines here; the real one compiles in test_compiled_runtimes.py.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.store import Store
from service.processes import ChildProcess
from service.runtime.compilers import compiler as module
from service.runtime.compilers.compilation_spec import CompilationSpec
from service.runtime.compilers.compiled_cache import CannotCompile, CompiledCache
from service.runtime.compilers.compiler import Compiler
from service.runtime.device import DevicePlan
from tests.support.model_zoo.tiny_model import tiny_card

PATIENCE_S = 60.0
CARD = tiny_card()
WRITES = """
import json, os, sys
job = json.loads(sys.stdin.readline())
open(job["staging"] + "/network.so", "w").write("code in " + job["precision"] + " for " + str(job["threads"]))
print(json.dumps({"inputs": ["input_ids"], "outputs": ["embedding"]}))
"""


class Loaded(SimpleNamespace):
    """In place of CompiledRuntime: keeps its arguments."""

    def __init__(self, library: Path, inputs: Any, outputs: Any, precision: str, runners: int) -> None:
        super().__init__(code=library.read_text(), inputs=inputs, outputs=outputs, precision=precision, runners=runners)


class FakeStore:
    digest = "a" * 64

    def find(self, card: object) -> object:
        return SimpleNamespace(weights=Path("/weights/model.safetensors"), digest=self.digest)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the script that a worker runs."""
    monkeypatch.setattr(module, "CompiledRuntime", Loaded)
    monkeypatch.setenv("CXX", sys.executable)  # any program that exists: nothing here calls it

    def script(text: str) -> None:
        monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", text))

    script(WRITES)
    return script


def compiler(home: Path, store: object | None = None) -> Compiler:
    return Compiler(home, cast(Store, store or FakeStore()), DevicePlan("cpu", 3, 2))


def code(compiled: Any) -> str:
    return str(compiled.load().code)


# ── the worker ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_compiled_library_is_loaded_for_every_lane(home: Path, runs: Any) -> None:
    compiled: Any = compiler(home).compile(CARD, "bf16")
    assert code(compiled) == "code in bf16 for 2"
    runtime = compiled.load()
    assert (runtime.inputs, runtime.outputs) == (("input_ids",), ("embedding",))
    assert (runtime.precision, runtime.runners, compiled.cached) == ("bf16", 3, False)
    assert not list((home / "compiled").glob(".staging-*")), "only the package stays"


def test_reason_of_the_worker_is_raised_as_it_is(home: Path, runs: Any) -> None:
    runs("""print('{"reason": "the compiler failed on the network"}')""")
    with pytest.raises(CannotCompile, match=r"^the compiler failed on the network$"):
        compiler(home).compile(CARD, "fp32")
    assert not list((home / "compiled").iterdir())


@pytest.mark.parametrize("script", ["raise SystemExit(3)", "print('not JSON')", "import os; os.kill(os.getpid(), 9)"])
def test_worker_that_dies_or_writes_no_answer_is_a_reason(home: Path, runs: Any, script: str) -> None:
    runs(script)
    with pytest.raises(CannotCompile, match=r"^the process that compiles ended before it was done$"):
        compiler(home).compile(CARD, "fp32")


def test_missing_compiler_is_a_reason_and_starts_no_worker(
    home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(CannotCompile, match=r"^there is no C\+\+ compiler on this machine; install g\+\+"):
        compiler(home).compile(CARD, "fp32")
    assert not (home / "compiled").exists()


def test_worker_writes_only_to_folders_of_this_user(home: Path, runs: Any) -> None:
    runs("""
import json, os, sys, tempfile
json.loads(sys.stdin.readline())
print(json.dumps({"reason": " ".join([tempfile.gettempdir(), os.environ["TORCHINDUCTOR_CACHE_DIR"], os.getcwd()])}))
""")
    with pytest.raises(CannotCompile) as caught:
        compiler(home).compile(CARD, "fp32")
    for folder in str(caught.value).split():
        assert Path(folder).is_relative_to(home / "compiled")
    assert stat.S_IMODE((home / "compiled").stat().st_mode) == 0o700


def test_stop_ends_the_worker_and_the_processes_it_started(home: Path, runs: Any) -> None:
    runs("""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
path = os.environ["TMPDIR"] + "/../../pids"
open(path + "~", "w").write(f"{os.getpid()} {child.pid}")
os.rename(path + "~", path)
child.wait()
""")
    pids, it = home / "compiled" / "pids", compiler(home)
    problems: list[str] = []

    def run() -> None:
        try:
            it.compile(CARD, "fp32")
        except CannotCompile as error:
            problems.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not pids.exists():
        assert thread.is_alive()
    it.stop()
    thread.join(PATIENCE_S)
    assert problems == ["the server is shutting down"]
    for pid in map(int, pids.read_text().split()):
        gone(pid)
    with pytest.raises(CannotCompile, match="shutting down"):
        it.compile(CARD, "fp32")


def test_processes_of_a_killed_worker_end_with_it(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system kills the worker alone, for its memory."""
    runs("""
import os, subprocess, sys
command = [sys.executable, "-c", "import signal; signal.pause()"]
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
open(os.environ["TMPDIR"] + "/../../pid", "w").write(str(child.pid))
os.kill(os.getpid(), 9)
""")
    end = ChildProcess.end

    def end_once_dead(worker: ChildProcess) -> int:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # its output ends a moment before it does
        return end(worker)

    monkeypatch.setattr(ChildProcess, "end", end_once_dead)
    with pytest.raises(CannotCompile, match="ended before it was done"):
        compiler(home).compile(CARD, "fp32")
    child = int((home / "compiled" / "pid").read_text())
    try:
        gone(child)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def gone(pid: int) -> None:
    """Returns once a process has ended, reaped or not."""
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        except (FileNotFoundError, ProcessLookupError):
            return


def test_worker_ends_when_its_input_closes() -> None:
    """The real worker: it ends at once when the other end of its input closes, whatever it does."""
    worker = subprocess.Popen(
        [*module.WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    job = {
        "card": CARD.model_dump(mode="json"),
        "weights": "/dev/stdin",
        "precision": "fp32",
        "threads": 1,
        "staging": "/",
        "compiler": "aotinductor",
    }
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(job).encode() + b"\n")
    worker.stdin.close()
    out, _ = worker.stdout.read() if worker.stdout else b"", worker.wait(PATIENCE_S)
    for pipe in (worker.stdout, worker.stderr):
        assert pipe is not None
        pipe.close()
    assert (worker.returncode, out) == (-9, b"")


def test_compile_loads_nothing_into_this_process(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(module, "CompiledRuntime", lambda *_: calls.append("loads"))
    prepared = compiler(home).compile(CARD, "fp32")
    assert calls == []
    prepared.load()
    assert calls == ["loads"]


def test_library_that_does_not_load_is_a_reason(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("/secret/path: cannot open")

    monkeypatch.setattr(module, "CompiledRuntime", fails)
    prepared = compiler(home).compile(CARD, "fp32")
    with pytest.raises(CannotCompile, match=r"^the compiled code does not load on this machine$"):
        prepared.load()


# ── a worker that is started ahead ──────────────────────────────────────────────────────────────────────────────────


COUNTS = """
import json, os, sys
open(os.getcwd() + "/../started-" + str(os.getpid()), "w").close()
job = json.loads(sys.stdin.readline())
open(job["staging"] + "/network.so", "w").write("code of " + str(os.getpid()))
print(json.dumps({"inputs": ["input_ids"], "outputs": ["embedding"]}))
"""


def started(home: Path) -> list[str]:
    return [path.name.removeprefix("started-") for path in (home / "compiled").glob("started-*")]


def test_worker_that_was_started_ahead_compiles_the_first_network(home: Path, runs: Any) -> None:
    runs(COUNTS)
    it = compiler(home)
    it.expect()
    it.expect()
    first = code(it.compile(CARD, "fp32"))
    assert [f"code of {pid}" for pid in started(home)] == [first]
    assert code(it.compile(CARD, "bf16")) != first, "a worker compiles one network"
    assert not list((home / "compiled").glob(".staging-*"))


def test_no_worker_is_started_ahead_where_networks_are_stored(home: Path, runs: Any) -> None:
    compiler(home).compile(CARD, "fp32")
    it = compiler(home)
    it.expect()
    assert it._ahead is None


def test_stop_ends_a_worker_that_was_started_ahead_and_removes_its_folder(home: Path, runs: Any) -> None:
    it = compiler(home)
    it.expect()
    assert it._ahead is not None
    worker = it._ahead.result(PATIENCE_S)
    it.stop()
    gone(worker.process.pid)
    assert not worker.staging.exists()
    worker.process.end()


def test_dead_worker_that_was_started_ahead_is_a_reason_once(home: Path, runs: Any) -> None:
    it = compiler(home)
    it.expect()
    assert it._ahead is not None
    it._ahead.result(PATIENCE_S).process.kill()
    with pytest.raises(CannotCompile, match="ended before it was done"):
        it.compile(CARD, "fp32")
    assert code(it.compile(CARD, "fp32")) == "code in fp32 for 2"


# ── several compilers ─────────────────────────────────────────────────────────────────────────────────────────────


BOTH = """
import json, sys
job = json.loads(sys.stdin.readline())
names = ["network.xml", "network.bin"] if job["compiler"] == "openvino" else ["network.so"]
for name in names:
    open(job["staging"] + "/" + name, "w").write(job["compiler"])
print(json.dumps({"inputs": ["input_ids"], "outputs": ["embedding"]}))
"""


@pytest.mark.parametrize(("installed", "names"), [(True, ("openvino", "aotinductor")), (False, ("aotinductor",))])
def test_openvino_is_the_first_compiler_where_it_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(module, "is_installed", lambda: installed)
    assert compiler(home).compilers == names


def test_networks_of_two_compilers_have_packages_of_their_own(home: Path, runs: Any) -> None:
    runs(BOTH)
    packages = [compiler(home).compile(CARD, "fp32", name).package for name in ("openvino", "aotinductor")]
    assert [sorted(package.digests) for package in packages] == [["network.bin", "network.xml"], ["network.so"]]
    assert packages[0].folder != packages[1].folder
    assert all(compiler(home).compile(CARD, "fp32", name).cached for name in ("openvino", "aotinductor"))


def test_openvino_needs_no_cpp_compiler(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(BOTH)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(home))
    assert compiler(home).compile(CARD, "fp32", "openvino").package.digests


def test_openvino_of_another_version_converts_again(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(BOTH)
    old = compiler(home).compile(CARD, "fp32", "openvino").package
    for user in ("compiled_manifest", "compilation_spec"):
        monkeypatch.setattr(f"service.runtime.compilers.{user}.compiler_version", lambda name: "2099.1")
    assert not compiler(home).compile(CARD, "fp32", "openvino").cached
    assert not old.folder.exists(), "no server finds it any more"


def test_openvino_that_is_gone_is_a_reason(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(BOTH)
    prepared = compiler(home).compile(CARD, "fp32", "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(CannotCompile, match="does not load on this machine"):
        prepared.load()


# ── int8 ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CALIBRATED = """
import json, os, sys
job = json.loads(sys.stdin.readline())
for name in ("network.xml", "network.bin"):
    open(job["staging"] + "/" + name, "w").write("%s" % (job["calibration"] and os.listdir(job["staging"])))
print(json.dumps({"inputs": ["input_ids"], "outputs": ["embedding"]}))
"""


def batches(number: int = 1) -> list[dict[str, np.ndarray]]:
    return [{"input_ids": np.full((1, 3), number)}]


def test_worker_gets_the_inputs_by_which_it_quantises(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(CALIBRATED)
    monkeypatch.setattr(module.openvino_quantisation, "version", lambda: "3.4")
    package = compiler(home).compile(CARD, "int8", "openvino", batches).package
    assert "calibration.safetensors" in (package.folder / "network.bin").read_text()
    assert compiler(home).compile(CARD, "int8", "openvino", batches).cached
    other = compiler(home).compile(CARD, "int8", "openvino", lambda: batches(2))
    assert not other.cached, "other inputs give another network"
    monkeypatch.setattr(module.openvino_quantisation, "version", lambda: "3.5")
    assert not compiler(home).compile(CARD, "int8", "openvino", batches).cached, "so does another version"


def test_other_precisions_ask_for_no_inputs(home: Path, runs: Any) -> None:
    runs(CALIBRATED)
    package = compiler(home).compile(CARD, "bf16", "openvino", lambda: pytest.fail("asked")).package
    assert (package.folder / "network.bin").read_text() == "False"


@pytest.mark.parametrize(
    ("name", "installed", "given", "reason"),
    [
        ("aotinductor", True, batches, "int8 needs the package openvino; install zoo-serving[server]"),
        ("openvino", False, batches, "int8 needs the package nncf; install zoo-serving[int8]"),
        (
            "openvino",
            True,
            list,
            "int8 needs real data: the data set of a version that is tuned from the model, at its next load",
        ),
    ],
    ids=["no OpenVINO", "no NNCF", "no inputs"],
)
def test_int8_says_what_it_lacks(
    home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, name: str, installed: bool, given: Any, reason: str
) -> None:
    runs(CALIBRATED)
    monkeypatch.setattr(module.openvino_quantisation, "version", lambda: "3.4" if installed else "")
    with pytest.raises(CannotCompile) as raised:
        compiler(home).compile(CARD, "int8", name, given)
    assert str(raised.value) == reason


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lasting", [True, False])
def test_refusal_by_the_compiler_is_remembered_if_it_lasts(home: Path, runs: Any, lasting: bool) -> None:
    runs(f"""
import json, sys
sys.stdin.readline()
print(json.dumps({{"reason": "an operation is not known", "lasting": {lasting}}}))
""")
    with pytest.raises(CannotCompile, match="an operation is not known"):
        compiler(home).compile(CARD, "fp32")
    runs(WRITES)
    if lasting:
        with pytest.raises(CannotCompile, match="an operation is not known"):
            compiler(home).compile(CARD, "fp32")
    else:
        assert code(compiler(home).compile(CARD, "fp32"))
    assert not [*(home / "compiled").glob(".staging*")]


# ── the cache ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cached_network_needs_no_worker_and_no_compiler(home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiler(home).compile(CARD, "fp32")
    runs("raise SystemExit(1)")
    monkeypatch.setenv("PATH", str(home))  # without a compiler
    again = compiler(home).compile(CARD, "fp32")
    assert (again.cached, again.compile_s, code(again)) == (True, first.compile_s, code(first))


@pytest.mark.parametrize("damage", ["network.so", "manifest.json"])
def test_damaged_package_is_compiled_again(home: Path, runs: Any, damage: str) -> None:
    compiler(home).compile(CARD, "fp32")
    [file] = (home / "compiled").glob(f"*/{damage}")
    file.write_text(file.read_text()[:-5])
    again = compiler(home).compile(CARD, "fp32")
    assert (again.cached, code(again)) == (False, "code in fp32 for 2")
    assert compiler(home).compile(CARD, "fp32").cached


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
def test_folder_that_others_may_write_is_rejected(home: Path, runs: Any, mode: int) -> None:
    compiler(home).compile(CARD, "fp32")
    (home / "compiled").chmod(mode)
    with pytest.raises(CannotCompile, match="other users may write in the folder for compiled networks"):
        compiler(home).compile(CARD, "fp32")


def test_home_that_every_user_may_write_is_rejected(home: Path, runs: Any) -> None:
    compiler(home).compile(CARD, "fp32")
    home.chmod(0o777)
    with pytest.raises(CannotCompile, match="every user may write in ZOO_HOME"):
        compiler(home).compile(CARD, "fp32")


@pytest.mark.parametrize("what", ["", "network.so"])
def test_package_that_others_may_write_is_compiled_again(home: Path, runs: Any, what: str) -> None:
    compiler(home).compile(CARD, "fp32")
    [folder] = [path for path in (home / "compiled").iterdir() if path.is_dir()]
    (folder / what).chmod(0o777)
    assert not compiler(home).compile(CARD, "fp32").cached
    assert compiler(home).compile(CARD, "fp32").cached


def test_link_in_place_of_the_folder_is_rejected(home: Path, runs: Any, tmp_path: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "compiled").symlink_to(home / "elsewhere")
    with pytest.raises(CannotCompile, match="is not trusted"):
        compiler(home).compile(CARD, "fp32")


def test_home_that_cannot_be_written_is_a_reason(home: Path, runs: Any) -> None:
    (home / "compiled").write_text("a file where the folder should be")
    with pytest.raises(CannotCompile, match=r"^the folder for compiled networks cannot be written: "):
        compiler(home).compile(CARD, "fp32")


def test_key_covers_all_that_decides_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = CompilationSpec.of(CARD, "a" * 64, "fp32", 2)
    shorter = CARD.model_copy(update={"batching": CARD.batching.model_copy(update={"max_length": 9})})
    keys = {
        recipe.key(),
        replace(recipe, weights="b" * 64).key(),
        replace(recipe, precision="bf16").key(),
        replace(recipe, threads=1).key(),
        replace(recipe, compiler="openvino").key(),
        replace(recipe, version="2099.1").key(),
        CompilationSpec.of(shorter, "a" * 64, "fp32", 2).key(),
    }
    assert CompilationSpec.of(CARD.model_copy(update={"summary": "Other words."}), "a" * 64, "fp32", 2).key() in keys
    monkeypatch.setattr("torch.__version__", "99.0")
    keys.add(recipe.key())
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"cpu_name": "another", "num_sockets": 1})
    keys.add(recipe.key())
    assert len(keys) == 9


def test_key_ignores_the_size_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = CompilationSpec.of(CARD, "a" * 64, "fp32", 2)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"cpu_name": "a", "num_logical_cores": 2})
    one = recipe.key()
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"cpu_name": "a", "num_logical_cores": 64})
    assert recipe.key() == one


def test_packages_of_another_torch_and_staging_of_ended_servers_are_removed(
    home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(home).compile(CARD, "fp32")
    [old] = [path for path in (home / "compiled").iterdir() if path.is_dir()]
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"torch": "1.0"}))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, me = CompiledCache(home).staging(), os.getpid()
    left, same_pid, older = (
        home / "compiled" / name
        for name in (f".staging-{ended.pid}-x-y", f".staging-{me}-another-y", f".staging-{me}-x")
    )
    for folder in (left, same_pid, older):
        folder.mkdir()
    for folder in (left, same_pid, older, mine):
        os.utime(folder, (0, 0))
    compiler(home).compile(CARD, "bf16")
    assert not old.exists()
    assert not left.exists()
    assert not same_pid.exists(), "of an earlier server with the same id, as in a container"
    assert not older.exists()
    assert mine.exists(), "its server lives"


def test_staging_of_ended_servers_is_removed_on_a_cache_hit(home: Path, runs: Any) -> None:
    compiler(home).compile(CARD, "fp32")
    left = home / "compiled" / f".staging-{os.getpid()}-another-y"
    left.mkdir()
    assert compiler(home).compile(CARD, "fp32").cached
    assert left.exists(), "a young one may be of a server in another container"
    os.utime(left, (0, 0))
    assert compiler(home).compile(CARD, "fp32").cached
    assert not left.exists()


def test_packages_over_the_limit_are_removed_least_recently_used_first(
    home: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runtime.compilers.compiled_cache.MAX_NETWORKS", 2)
    store = FakeStore()
    for turn, digit in enumerate("abcd"):
        store.digest = digit * 64
        compiler(home, store).compile(CARD, "fp32")
        for age, folder in enumerate(sorted(CompiledCache(home)._folder.iterdir(), key=lambda f: f.stat().st_mtime)):
            os.utime(folder, (turn * 100 + age, turn * 100 + age))
    assert len(list((home / "compiled").iterdir())) == 3, "two, and the one that was compiled last"
    store.digest = "d" * 64
    assert compiler(home, store).compile(CARD, "fp32").cached
    store.digest = "a" * 64
    assert not compiler(home, store).compile(CARD, "fp32").cached
