"""From a card to a checked network: fetch, build, warm up, check. Blocking; runs in the thread of a load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import WITHOUT_NETWORK, InitialSource, TunedSource
from model_zoo.errors import SourceUnavailable, ZooModelError, panics_as_errors
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from model_zoo.sources.artifact_source import Progress
from model_zoo.store import Store
from model_zoo.version_folder import GOLDEN, Version
from model_zoo.versions import Versions
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.errors import NotReady
from service.observability.log import logger
from service.registry.loading.loaded import Loaded, LoadedHead, no_golden_items
from service.registry.loading.onnx_loading import check_precision, is_onnx, open_network
from service.runtime.heads import HeadPool, PooledHead
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Item, Tensors
from service.verification.golden_check import golden_problem, items_of
from service.verification.probes import Runs, alone, closeness_problem, compare, invariance_problem, probe_items
from service.verification.tuned_network_check import decisions_of

log = logger(__name__)

HEADS_BYTES = 64 << 20
"""Default for the memory of all heads: some thousands of them."""


class Loader:
    """Loads cards onto one device."""

    def __init__(
        self,
        store: Store,
        device: str,
        offline: bool,
        progress: Callable[[str], Progress],
        precision: Callable[[str], str] = lambda model: "auto",
        bases: Mapping[str, Card] | None = None,
        heads: HeadPool | None = None,
        onnx_threads: int = 1,
    ) -> None:
        """`progress(model)` returns the callback for a download's progress. `offline` forbids downloads. `precision(model)` is
        the precision that a model must run in; `auto` begins in fp32. `bases`: the catalog's cards by name, the bases of tuned
        versions; `heads` bounds the memory of their heads. `onnx_threads`: of ONNX Runtime, for each network."""
        self._bases = bases or {}
        self._head_pool = heads or HeadPool(HEADS_BYTES)
        self._store = store
        self._device = device
        self._offline = offline
        self._progress = progress
        self._precision = precision
        self._onnx_threads = onnx_threads

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        """Raises NotReady with a reason fit for a client.

        A tuned version that does not hold in its precision runs in fp32 instead, since its job has published it.
        """
        with _as_not_ready(card.name):
            if is_onnx(card):
                return self._load_onnx(card, precision or self._precision(card.name))
            files, base = self._files(card)
            started = time.monotonic()
            try:
                with panics_as_errors():
                    task, network = self._build(card, files, base)
            except Exception:  # readers raise many kinds of errors for a damaged file
                files, base = self._repair(card)
                task, network = self._build(card, files, base)
            golden = (
                partial(read_golden_items, card.name, files.folder / GOLDEN) if _is_tuned(card) else no_golden_items
            )
            runtime = NetworkRuntime(network, self._device)
            timings = _warm_up(task, runtime)
            problem = golden_problem(task, runtime, golden())
            if problem is not None and not self._decides_as_published(task, runtime, card, files):
                raise NotReady(f"the golden check failed: {problem}")
            items = probe_items(task, items_of(card, golden())) if card.golden or golden() else []
            reference = alone(task, runtime, items)
            problem = invariance_problem(task, runtime, reference, items) if items else None
            if problem is not None:
                raise NotReady(f"the batch-invariance check failed: {problem}")
            precision = precision or self._precision(card.name)
            note, decisions = "", None
            if precision not in ("auto", "fp32"):
                record = CheckRecord(self._version_of(card, files))
                try:
                    if not items:
                        raise NotReady(f"it cannot run in {precision}: there is nothing to check it with")
                    runtime, decisions = self._reduced(task, network, precision, reference, items, record)
                    timings = []  # they were of fp32
                except NotReady as error:
                    if not _is_tuned(card):
                        raise
                    note = f"{error.message}; it runs in fp32"
                    log.warning("a version runs in fp32", model=card.name, reason=error.message)
                    network = self._build(card, files, base)[1]  # the present one was cast
                    runtime = NetworkRuntime(network, self._device)
                    timings = _warm_up(task, runtime)
            spent = time.monotonic() - started
            return Loaded(task, runtime, spent, reference if items else None, timings, golden, decisions, note)

    def _load_onnx(self, card: Card, precision: str) -> Loaded:
        """As `load`, for a network that ONNX Runtime runs. Its golden cases come from seeded inputs."""
        check_precision(precision)
        files = self._materialise(card)
        started = time.monotonic()
        try:
            runtime = open_network(card, files, self._device, self._onnx_threads)
        except ZooModelError:  # a damaged file, which is fetched again
            files = self._repair(card)[0]
            runtime = open_network(card, files, self._device, self._onnx_threads)
        task = task_for(card, files)
        timings = _warm_up(task, runtime)
        problem = golden_problem(task, runtime)
        if problem is not None:
            raise NotReady(f"the golden check failed: {problem}")
        items = probe_items(task)
        reference = alone(task, runtime, items)
        problem = invariance_problem(task, runtime, reference, items)
        if problem is not None:
            raise NotReady(f"the batch-invariance check failed: {problem}")
        because = card.batching.single_rows_because
        note = f"a batch has one row: {because}" if because else ""
        return Loaded(task, runtime, time.monotonic() - started, reference, timings, note=note)

    def load_head(self, card: Card) -> LoadedHead:
        """See ModelLoader. The head is not checked yet: that takes the base."""
        with _as_not_ready(card.name):
            assert card.head is not None
            files, base = self._files(card)
            head = PooledHead(card.name, card.head, files.weights, self._head_pool)
            self._head_pool.get(head)
            return LoadedHead(
                task_for(card, _with_companions(files, base)), head, read_golden_items(card.name, files.folder / GOLDEN)
            )

    def _files(self, card: Card) -> tuple[Materialised, Materialised | None]:
        """A card's files, and those of the base that a tuned version needs."""
        files, base = self._materialise(card), None
        if isinstance(card.source, TunedSource) and card.source.method != "full":
            if card.source.base not in self._bases:
                raise NotReady(f"its base {card.source.base!r} is not in the zoo")
            base = self._materialise(self._bases[card.source.base])
            if base.digest != card.source.base_digest:
                raise NotReady(f"its base {card.source.base!r} has other weights than it was tuned on")
        return files, base

    @staticmethod
    def _build(card: Card, files: Materialised, base: Materialised | None) -> tuple[Task, Network]:
        return task_for(card, _with_companions(files, base)), load_network(card, files, base, share=True)

    def _materialise(self, card: Card) -> Materialised:
        if isinstance(card.source, InitialSource):
            raise NotReady("it has no weights of its own; tune it on your data")
        found = self._store.find(card)
        if found is not None:
            return found
        if isinstance(card.source, TunedSource):
            raise NotReady("its files are gone or damaged")
        if self._offline and not isinstance(card.source, WITHOUT_NETWORK):
            raise NotReady(f"its weights are not on this machine and the server is offline; run `zoo pull {card.name}`")
        return self._store.materialise(card, self._progress(card.name))

    def _reduced(
        self,
        task: Task,
        network: Network,
        precision: str,
        reference: Sequence[Tensors],
        items: Sequence[Item],
        record: CheckRecord,
    ) -> tuple[NetworkRuntime, Decisions | None]:
        """The network in the precision that it must run in, if it is close enough to fp32; a tuned one by its decisions.

        Raises NotReady.
        """
        runtime = NetworkRuntime(network, self._device, precision)
        _warm_up(task, runtime)
        rows = task.card.batching.max_batch_size
        decisions = decisions_of(task, runtime, record, rows)
        if decisions is not None:
            problem = decisions.problem or None
        else:
            found = compare(task, runtime, reference, items, min(len(items), rows))
            problem = closeness_problem(task.card, precision, found)
        if problem is not None:
            raise NotReady(f"it cannot run in {precision}: {problem}")
        return runtime, decisions

    def _decides_as_published(self, task: Task, runtime: NetworkRuntime, card: Card, files: Materialised) -> bool:
        """Whether a tuned version that misses its golden items, as on another processor or with another torch, still decides as
        it did where it was trained."""
        record = CheckRecord(self._version_of(card, files))
        decisions = decisions_of(task, runtime, record, card.batching.max_batch_size, remeasure=True)
        return decisions is not None and decisions.holds

    @staticmethod
    def _version_of(card: Card, files: Materialised) -> Version | None:
        """The version of a tuned card; None where its folder cannot be opened, and for a model of the zoo."""
        if not _is_tuned(card):
            return None
        try:
            return Versions(files.folder.parents[2]).open(card.name, int(files.folder.name))
        except (ZooModelError, ValueError):
            return None

    def _repair(self, card: Card) -> tuple[Materialised, Materialised | None]:
        """Files that did not load: verifies all of them, deletes the damaged ones, and fetches them again.

        Files that a job has published cannot be fetched, but those of its base can.
        """
        source = card.source
        fetched = self._bases.get(source.base) if isinstance(source, TunedSource) else card
        if fetched is not None:
            try:
                self._store.verify(fetched)
            except ZooModelError as error:
                log.warning("the stored files are damaged and fetched again", model=fetched.name, reason=str(error))
        return self._files(card)


def _is_tuned(card: Card) -> bool:
    return isinstance(card.source, TunedSource)


def _with_companions(files: Materialised, base: Materialised | None) -> Materialised:
    """A version's files, and those files of its base that it has no own ones for, such as a tokenizer."""
    if base is None:
        return files
    return Materialised(files.folder, files.weights, {**base.files, **files.files}, files.digest)


@contextmanager
def _as_not_ready(model: str) -> Iterator[None]:
    """Turns every error in the block into NotReady, with a reason fit for a client."""
    try:
        with panics_as_errors():
            yield
    except NotReady:
        raise
    except SourceUnavailable as error:  # its reason names hosts and quotes texts of others
        log.error("weights could not be fetched", model=model, reason=str(error))
        raise NotReady("its weights could not be fetched; the server's log says why") from error
    except ZooModelError as error:
        raise NotReady(str(error)) from error
    except Exception as error:
        log.exception("loading failed", model=model)
        raise NotReady("loading failed; the server's log has the details") from error


def _warm_up(task: Task, runtime: Runs) -> list[tuple[int, int, float]]:
    """Runs batches: the first runs allocate memory and choose kernels. Returns rows, length and seconds of the later runs."""
    item = task.warmup_item()
    timings = []
    for rows in (1, 2)[: task.card.batching.max_batch_size]:
        for attempt in range(3):
            started = time.monotonic()
            task.split(runtime.run(task.collate([item] * rows)[0]), [item] * rows)
            if attempt:
                timings.append((rows, item.length, time.monotonic() - started))
    return timings
