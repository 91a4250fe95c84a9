"""Whether a candidate runtime answers as the network in fp32 does. Blocks: in the tiering thread."""

from __future__ import annotations

from collections.abc import Sequence

from model_zoo.golden.golden_items import GoldenItem
from service.engine.decisions import Decisions
from service.engine.served_model import ServedModel
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.golden_check import golden_problem, items_of
from service.verification.probes import (
    Comparison,
    alone,
    closeness_problem,
    compare,
    invariance_problem,
    probe_items,
)
from service.verification.tuned_network_check import decisions_of


def compare_with_reference(
    served: ServedModel, runtime: Runtime, others: Sequence[tuple[Item, Tensors]] = ()
) -> tuple[Comparison, str | None, Decisions | None]:
    """How close a runtime's answers come to the reference; the problem, where they are not close enough; a tuned version's
    decisions.

    In a reduced precision a tuned version is judged by its decisions, if its held-out examples exist. `others` are items beside
    the golden ones, with the answers of the network in fp32.
    """
    task = served.task
    assert served.reference is not None
    golden = served.golden()
    reference = [*served.reference, *(answer for _, answer in others)]
    items = [*probe_items(task, items_of(served.card, golden)), *(item for item, _ in others)]
    found = compare(task, runtime, reference, items, served.limits.max_batch_size)
    decisions = decisions_in_reduced_precision(served, runtime)
    if decisions is not None:
        return found, decisions.problem or None, decisions
    problem = closeness_problem(served.card, runtime.precision, found)
    if problem is None and runtime.precision == "fp32":
        problem = _load_check_problem(task, runtime, items, golden)
    return found, problem, None


def decisions_in_reduced_precision(served: ServedModel, runtime: Runtime) -> Decisions | None:
    """The decisions of a tuned version; None in fp32, and without held-out examples."""
    if runtime.precision == "fp32":
        return None
    return decisions_of(served.task, runtime, served.record, served.limits.max_batch_size)


def _load_check_problem(
    task: Task, runtime: Runtime, items: Sequence[Item], golden: Sequence[GoldenItem]
) -> str | None:
    """The checks that a network in fp32 passes at load hold for every fp32 runtime."""
    own = alone(task, runtime, items)
    return invariance_problem(task, runtime, own, items) or golden_problem(task, runtime, golden)
