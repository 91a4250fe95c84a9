"""Options of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.client.errors import BadInput
from service.pb import prediction_pb2 as pb

KernelInput = str | Sequence[float] | Sequence[Sequence[float]] | NDArray[Any]
"""The name of a kernel, or its numbers row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """What a result contains and how it is computed. None leaves the default of the task, priority 0 the default priority."""

    top_k: int | None = None
    threshold: float | None = None
    include_tensors: bool = False
    priority: int = 0
    max_new_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    candidate_labels: Sequence[str] = ()
    hypothesis_template: str | None = None
    multi_label: bool | None = None
    kernel: KernelInput | None = None
    kernel_scale: float | None = None
    kernel_offset: float | None = None
    attribute: bool = False

    def message(self) -> pb.PredictOptions:
        """The options as a message. Raises BadInput for labels that are one text, and for a kernel that is no array of
        numbers."""
        if isinstance(self.candidate_labels, str):
            raise BadInput("candidate_labels is one text; a list of labels was expected")
        return pb.PredictOptions(
            top_k=self.top_k,
            threshold=self.threshold,
            include_tensors=self.include_tensors,
            priority=self.priority,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
            candidate_labels=self.candidate_labels,
            hypothesis_template=self.hypothesis_template,
            multi_label=self.multi_label,
            kernel=None if self.kernel is None else _kernel_text(self.kernel),
            kernel_scale=self.kernel_scale,
            kernel_offset=self.kernel_offset,
            attribute=self.attribute,
        )


def _kernel_text(kernel: KernelInput) -> str:
    """A kernel as the server reads it; it also says what is wrong with one."""
    if isinstance(kernel, str):
        return kernel
    try:
        numbers = np.asarray(kernel, np.float64).ravel().tolist()
    except (TypeError, ValueError):
        raise BadInput("kernel is no array of numbers, and no name") from None
    return ",".join(map(repr, numbers))
