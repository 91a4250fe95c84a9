"""From a card to its compiled runtime: from the cache, or compiled by a worker process. The server itself never compiles."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.store import Store
from service.observability.log import logger
from service.processes import ChildProcess
from service.runtime.compilers.aot_inductor import CompiledRuntime
from service.runtime.compilers.compiled_cache import (
    CannotCompile,
    CompilationSpec,
    CompiledCache,
    CompiledPackage,
    CompileRequest,
)
from service.runtime.compilers.cuda_graphs import GraphCompiler
from service.runtime.device import DevicePlan

log = logger(__name__)

WORKER_TIMEOUT_S = 1800.0
"""A worker that takes longer is killed."""
LOG_SHOWN = 4000
"""Characters at the end of a worker's log that the server's log repeats after a failure."""
WORKER = (sys.executable, "-P", "-m", "service.runtime.compilers.compile_worker")


@dataclass(frozen=True, slots=True)
class CompilationResult:
    """A compiled runtime and its origin."""

    runtime: CompiledRuntime
    compile_s: float
    """Seconds of the compilation, also if the code is from the cache."""
    cached: bool


def compiler_for(home: Path, store: Store, plan: DevicePlan) -> Compiler | GraphCompiler:
    """The compiler for a device."""
    return GraphCompiler(home, store, plan.name) if plan.name.startswith("cuda") else Compiler(home, store, plan)


class Compiler:
    """Compiles networks for one CPU, one at a time. Call `compile` from one thread; `stop` from any."""

    def __init__(self, home: Path, store: Store, plan: DevicePlan) -> None:
        """`home` is ZOO_HOME; `store` finds the weights."""
        self._store = store
        self._cache = CompiledCache(home)
        self._plan = plan
        self._lock = threading.Lock()  # guards the two below
        self._worker: ChildProcess | None = None
        self._stopped = False

    def compile(
        self, card: Card, precision: str, before_load: Callable[[], object] = lambda: None
    ) -> CompilationResult:
        """A card's network as compiled code, from the cache or compiled now, which blocks for about a minute.

        `before_load` is called before the code is loaded into this process. Raises CannotCompile with the reason.
        """
        found = self._store.find(card)
        if found is None:
            raise CannotCompile("its weights have left this machine")
        threads = self._plan.threads_per_lane
        key = CompilationSpec.of(card, found.digest, precision, threads).key()
        package = self._cache.find(key)
        cached = package is not None
        if package is None:
            request = CompileRequest(card.model_dump(mode="json"), str(found.weights), precision, threads, "")
            package = self._make(key, request)
        before_load()
        try:
            runtime = CompiledRuntime(package.library, package.inputs, package.outputs, precision, self._plan.lanes)
        except (OSError, RuntimeError, AttributeError) as error:
            log.warning("compiled code does not load", model=card.name, precision=precision, reason=str(error))
            raise CannotCompile("the compiled code does not load on this machine") from error
        return CompilationResult(runtime, package.compile_s, cached)

    def stop(self) -> None:
        """End the worker, if one runs, and its child processes. Later calls of `compile` raise CannotCompile."""
        with self._lock:
            self._stopped = True
            if self._worker is not None:
                self._worker.kill()

    def _make(self, key: str, request: CompileRequest) -> CompiledPackage:
        if shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")) is None:
            raise CannotCompile("there is no C++ compiler on this machine; install g++, or name one by CXX")
        staging = self._cache.staging()
        try:
            began = time.monotonic()
            answer = self._run(CompileRequest(**{**asdict(request), "staging": str(staging)}), staging)
            if "reason" in answer:
                log.warning("a network cannot be compiled", model=request.card["name"], log=_tail(staging / "log"))
                raise CannotCompile(str(answer["reason"]))
            seconds = round(time.monotonic() - began, 1)
            return self._cache.publish(key, staging, answer["inputs"], answer["outputs"], seconds)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _run(self, request: CompileRequest, staging: Path) -> dict[str, list[str]]:
        """Run a worker for a request and return its answer. Raises CannotCompile."""
        # The compilation writes only into the private staging folder, and its files are removed with it.
        (staging / "tmp").mkdir(mode=0o700)
        environment = os.environ | {
            "TMPDIR": str(staging / "tmp"),
            "TORCHINDUCTOR_CACHE_DIR": str(staging / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "OMP_NUM_THREADS": str(request.threads),
        }
        with (staging / "log").open("wb") as errors:
            with self._lock:
                if self._stopped:
                    raise CannotCompile("the server is shutting down")
                self._worker = worker = ChildProcess.start(WORKER, env=environment, cwd=staging, stderr=errors)
            try:
                with worker.killed_after(WORKER_TIMEOUT_S):
                    with suppress(BrokenPipeError):  # the worker has ended already; the answer below is missing
                        worker.write_line(strict_json.text(asdict(request)).encode())
                    line = worker.read_line()
            finally:
                with self._lock:
                    self._worker = None
                worker.end()
        try:
            answer: dict[str, list[str]] = strict_json.read(line or b"")
        except ValueError:
            if self._stopped:
                raise CannotCompile("the server is shutting down") from None
            log.warning("the compile worker ended", code=worker.returncode, log=_tail(staging / "log"))
            raise CannotCompile("the process that compiles ended before it was done") from None
        return answer


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-LOG_SHOWN:]
    except OSError:
        return ""
