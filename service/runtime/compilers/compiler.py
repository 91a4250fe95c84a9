"""From a card to its compiled runtime: from the cache, or compiled by a worker process. The server itself never compiles."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.store import Store
from service.observability.log import logger
from service.processes import ChildProcess
from service.runtime.compilers import openvino_quantisation
from service.runtime.compilers.aot_inductor import CompiledRuntime
from service.runtime.compilers.calibration import digest_of
from service.runtime.compilers.calibration import write as write_batches
from service.runtime.compilers.compilation_spec import CompilationSpec, CompileRequest
from service.runtime.compilers.compiled_cache import CannotCompile, CompiledCache, CompiledPackage
from service.runtime.compilers.compiled_manifest import LIBRARY
from service.runtime.compilers.cuda_graphs import GraphCompiler
from service.runtime.compilers.openvino import OpenVinoLoader, is_installed
from service.runtime.device import DevicePlan
from service.runtime.network import Runtime
from service.types import Tensors

log = logger(__name__)

WORKER_TIMEOUT_S = 1800.0
"""A worker that takes longer is killed."""
LOG_SHOWN = 4000
"""Characters at the end of a worker's log that the server's log repeats after a failure."""
WORKER_NICENESS = 19
Loader = Callable[[CompiledPackage, str], Runtime]
Calibration = Callable[[], Sequence[Tensors]]
"""Gives batches by which a network may be quantised."""
WORKER = (sys.executable, "-P", "-m", "service.runtime.compilers.compile_worker")


AOTINDUCTOR, OPENVINO = "aotinductor", "openvino"


@dataclass(frozen=True, slots=True)
class PreparedNetwork:
    """A compiled network on disk, that is not loaded yet."""

    package: CompiledPackage
    compiler: str
    precision: str
    cached: bool
    cache: CompiledCache
    loaders: Mapping[str, Loader]

    @property
    def compile_s(self) -> float:
        """Seconds of the compilation, also if the code is from the cache."""
        return self.package.compile_s

    def load(self) -> Runtime:
        """Load the network into this process. Raises CannotCompile."""
        try:
            return self.loaders[self.compiler](self.package, self.precision)
        except (OSError, RuntimeError, AttributeError, ImportError) as error:
            name = self.package.folder.name
            log.warning("compiled code does not load", key=name, compiler=self.compiler, reason=str(error))
            raise CannotCompile("the compiled code does not load on this machine") from error

    def trial(self) -> AbstractContextManager[None]:
        """Around its load and its check; see `CompiledCache`. Raises CannotCompile."""
        return self.cache.trial(self.package)

    def evidence(self) -> dict[str, Any] | None:
        """Its earlier measurements; see `CompiledCache`."""
        return self.cache.evidence(self.package)

    def store_evidence(self, body: dict[str, Any]) -> None:
        """Store what was measured of it."""
        self.cache.store_evidence(self.package, body)


@dataclass(slots=True)
class _Worker:
    process: ChildProcess
    staging: Path
    used: bool
    """Whether a compilation has it, or had it."""


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
        self._lock = threading.Lock()  # guards the three below
        self._worker: ChildProcess | None = None
        self._stopped = False
        self._ahead: Future[_Worker] | None = None
        self._openvino = OpenVinoLoader(plan)
        self._loaders: dict[str, Loader] = {AOTINDUCTOR: self._load_library, OPENVINO: self._openvino.load}

    @property
    def compilers(self) -> tuple[str, ...]:
        """The compilers to try, in this order: OpenVINO takes seconds, AOTInductor a minute."""
        return (OPENVINO, AOTINDUCTOR) if is_installed() else (AOTINDUCTOR,)

    def expect(self) -> None:
        """A network will be compiled soon: libraries for it are loaded in the background, before the server is busy.

        In a home without compiled networks a worker is started too, which imports torch meanwhile.
        """
        self._openvino.expect()
        with self._lock:
            if self._ahead is None and not self._stopped and self._cache.is_empty():
                self._ahead = self._openvino.submit(self._start)

    def compile(
        self, card: Card, precision: str, compiler: str = AOTINDUCTOR, calibration: Calibration = tuple
    ) -> PreparedNetwork:
        """A card's network as compiled code, from the cache or compiled now, which blocks for seconds or a minute.

        For int8 `calibration` gives inputs of the network. Raises CannotCompile with the reason.
        """
        batches = _calibration_batches(compiler, calibration) if precision == "int8" else ()
        found = self._store.find(card)
        if found is None:
            raise CannotCompile("its weights have left this machine")
        threads = self._plan.threads_per_lane
        quantised_by = f"nncf {openvino_quantisation.version()} {digest_of(batches)}" if batches else ""
        key = CompilationSpec.of(card, found.digest, precision, threads, compiler, quantised_by).key()
        package = self._cache.find(key)
        cached = package is not None
        if package is None:
            document = card.model_dump(mode="json")
            request = CompileRequest(document, str(found.weights), precision, threads, "", compiler, bool(batches))
            package = self._make(key, request, batches)
        return PreparedNetwork(package, compiler, precision, cached, self._cache, self._loaders)

    def stop(self) -> None:
        """End the worker, if one runs, and its child processes. Later calls of `compile` raise CannotCompile."""
        self._cache.stop()
        with self._lock:
            self._stopped = True
            if self._worker is not None:
                self._worker.kill()
            ahead = self._ahead
        if ahead is not None and ahead.done() and ahead.exception() is None and not ahead.result().used:
            shutil.rmtree(ahead.result().staging, ignore_errors=True)

    def _load_library(self, package: CompiledPackage, precision: str) -> Runtime:
        library = package.folder / LIBRARY
        return CompiledRuntime(library, package.inputs, package.outputs, precision, self._plan.lanes)

    def _make(self, key: str, request: CompileRequest, batches: Sequence[Tensors]) -> CompiledPackage:
        if request.compiler == AOTINDUCTOR and not has_cpp_compiler():
            raise CannotCompile("there is no C++ compiler on this machine; install g++, or name one by CXX")
        began = time.monotonic()
        worker = self._started_worker()
        staging = worker.staging
        try:
            if batches:
                write_batches(staging, batches)
            answer = self._run(CompileRequest(**{**asdict(request), "staging": str(staging)}), worker)
            if "reason" in answer:
                log.warning("a network cannot be compiled", model=request.card["name"], log=_tail(staging / "log"))
                if answer.get("lasting"):
                    self._cache.refuse(key, staging, str(answer["reason"]), request.compiler)
                raise CannotCompile(str(answer["reason"]))
            seconds = round(time.monotonic() - began, 1)
            return self._cache.publish(key, staging, answer["inputs"], answer["outputs"], seconds, request.compiler)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _started_worker(self) -> _Worker:
        """The worker that was started ahead, if nothing has used it and it lives; else a new one. Raises CannotCompile."""
        with self._lock:
            ahead = self._ahead
        if ahead is not None:
            with suppress(CannotCompile, OSError):
                worker = ahead.result()
                if not worker.used:
                    worker.used = True
                    return worker
        return self._start(used=True)

    def _start(self, used: bool = False) -> _Worker:
        """Start a worker in a staging folder of its own. Raises CannotCompile, OSError."""
        staging = self._cache.staging()
        # The compilation writes only into the private staging folder, and its files are removed with it.
        (staging / "tmp").mkdir(mode=0o700)
        environment = os.environ | {
            "TMPDIR": str(staging / "tmp"),
            "TORCHINDUCTOR_CACHE_DIR": str(staging / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "OMP_NUM_THREADS": str(self._plan.threads_per_lane),
        }
        with self._lock:
            if not self._stopped:
                with (staging / "log").open("wb") as errors:
                    process = ChildProcess.start(WORKER, env=environment, cwd=staging, stderr=errors)
                with suppress(OSError):  # the worker lowers its priority itself, but only after its imports
                    os.setpriority(os.PRIO_PROCESS, process.pid, WORKER_NICENESS)
                self._worker = process
                return _Worker(process, staging, used)
        shutil.rmtree(staging, ignore_errors=True)
        raise CannotCompile("the server is shutting down")

    def _run(self, request: CompileRequest, started: _Worker) -> dict[str, Any]:
        """Have a worker compile, and return its answer. Raises CannotCompile."""
        worker, staging = started.process, started.staging
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
            answer: dict[str, Any] = strict_json.read(line or b"")
        except ValueError:
            if self._stopped:
                raise CannotCompile("the server is shutting down") from None
            log.warning("the compile worker ended", code=worker.returncode, log=_tail(staging / "log"))
            raise CannotCompile("the process that compiles ended before it was done") from None
        return answer


def _calibration_batches(compiler: str, calibration: Calibration) -> Sequence[Tensors]:
    """The inputs by which a network becomes int8. Raises CannotCompile."""
    if compiler != OPENVINO:
        raise CannotCompile("int8 needs the package openvino; install zoo-serving[server]")
    if not openvino_quantisation.version():
        raise CannotCompile("int8 needs the package nncf; install zoo-serving[int8]")
    if not (batches := calibration()):
        raise CannotCompile(
            "int8 needs real data: the data set of a version that is tuned from the model, at its next load"
        )
    return batches


def has_cpp_compiler() -> bool:
    """Whether there is a C++ compiler, which AOTInductor needs."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")) is not None


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-LOG_SHOWN:]
    except OSError:
        return ""
