"""Which models `zoo models` lists."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from model_zoo.similar_names import similar_names
from service.cli.rendering.console import quoted

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import ModelInfo

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_AMOUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmg]?)b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """What a listed model must be; empty, infinite and false ask for nothing."""

    family: str = ""
    task: str = ""
    licence: str = ""
    """A part of it, in any case."""
    max_parameters: float = math.inf
    max_bytes: float = math.inf
    """Of the weights."""
    source: str = ""
    on_disk: bool = False
    fine_tunable: bool = False

    @property
    def asks_catalog(self) -> bool:
        """Whether it asks for what only the catalog of this machine knows."""
        return bool(self.source or self.on_disk or self.fine_tunable or self.max_bytes < math.inf)

    def takes(self, model: ModelInfo | LocalModel) -> bool:
        """Whether a model is listed. Where `asks_catalog`, a model of the catalog."""
        return (
            self.family in ("", model.family)
            and self.task in ("", model.task)
            and self.licence.lower() in model.licence.lower()
            and model.parameter_count <= self.max_parameters
            and (not self.asks_catalog or self._takes_local(model))
        )

    def why_none(self, models: Sequence[ModelInfo | LocalModel]) -> str:
        """Why no model of a list is taken: a word that none has, or all of them together."""
        for option, word, known in (
            ("task", self.task, {model.task for model in models}),
            ("family", self.family, {model.family for model in models}),
        ):
            if word and word not in known:
                near = similar_names(word, known)
                return f"no model has the {option} {quoted(word)}" + (
                    f"; did you mean {' or '.join(near)}?" if near else ""
                )
        if self.licence and not any(self.licence.lower() in model.licence.lower() for model in models):
            return f"no licence has {quoted(self.licence)} in it"
        return "no model is of this kind"

    def _takes_local(self, model: ModelInfo | LocalModel) -> bool:
        from service.cli.local_catalog import LocalModel

        return (
            isinstance(model, LocalModel)
            and self.source in ("", model.source)
            and (model.downloaded or not self.on_disk)
            and (model.fine_tunable or not self.fine_tunable)
            and model.weights_bytes <= self.max_bytes
        )


def parse_amount(text: str) -> float:
    """`25M` → 25,000,000; infinite for an empty text. Raises BadParameter."""
    if not text:
        return math.inf
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"expected a number such as 25M or 100k, got {quoted(text)}")
    return float(found[1]) * _UNITS[found[2].lower()]
