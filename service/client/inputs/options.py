"""Options of a prediction."""

from __future__ import annotations

from dataclasses import dataclass

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

    def message(self) -> pb.PredictOptions:
        """The options as a message."""
        return pb.PredictOptions(
            top_k=self.top_k,
            threshold=self.threshold,
            include_tensors=self.include_tensors,
            priority=self.priority,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
        )
