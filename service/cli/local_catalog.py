"""The catalog and the weights on this machine, for commands that call no server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.cards.signature import TensorSpec as CardTensor
    from model_zoo.store import Store

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
        downloaded=found is not None,
        weights_folder=str(found.folder) if found else "",
        raw_input=card.raw_input,
        inputs=tuple(_spec(tensor) for tensor in card.signature.inputs),
        outputs=tuple(_spec(tensor) for tensor in card.signature.outputs),
        licence=card.licence.weights,
        provenance=card.provenance,
        paper=card.paper,
        weights_sha256=card.source.files["weights"].sha256 if "weights" in card.source.files else "",
        parameter_count=card.parameters,
        max_batch_size=card.batching.max_batch_size,
        note=f"a batch has one row: {because}" if (because := card.batching.single_rows_because) else "",
    )


def _spec(tensor: CardTensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tensor.shape)
