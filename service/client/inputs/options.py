"""Options of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.client.errors import BadInput
from service.pb import prediction_pb2 as pb


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

    def message(self) -> pb.PredictOptions:
        """The options as a message. Raises BadInput for labels that are one text."""
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
        )
