"""Networks that write text token by token: the loop of transformers' ``generate``, for the rows of a batch at once.

Each step takes the likeliest token, so that an answer is the same in every batch. Rows end on their own: at a token that ends an
answer, or at their own limit.
"""

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.signature import NO_TOKEN

__all__ = ["GreedyText", "TextGenerator"]


class GreedyText:
    """The settings of one network, and the loop."""

    def __init__(self, backbone: nn.Module, generation: Mapping[str, Any]) -> None:
        """``generation``: fields of the library's GenerationConfig that change which token is the likeliest."""
        self._settings = {**generation, "do_sample": False, "num_beams": 1, "use_cache": True}
        network: Any = backbone
        network.generation_config = _config(self._settings)  # its own might say more
        self._stops = _as_list(generation.get("eos_token_id"))
        self._continues = not network.config.is_encoder_decoder

    def __call__(
        self, backbone: nn.Module, limits: Tensor, inputs: Mapping[str, Any], *processors: Any
    ) -> dict[str, Tensor]:
        """``limits`` (B) of new tokens; ``inputs`` of ``generate``; further processors of its logits → ``output_ids`` (B, N) and
        ``probabilities`` (B, N)."""
        recorder = _Recorder()
        prompt = inputs["input_ids"] if self._continues else inputs.get("decoder_input_ids")
        start = 1 if prompt is None else prompt.shape[1]
        config = _config({**self._settings, "max_new_tokens": int(limits.max())})
        mixin: Any = transformers.GenerationMixin  # Whisper's own loop is over windows
        sequences: Tensor = mixin.generate(
            backbone,
            **inputs,
            generation_config=config,
            logits_processor=[*processors, recorder],
            stopping_criteria=[_RowLimits(limits, start)],
        )
        ids = sequences[:, start:]
        kept = self._kept(ids, limits)
        return {
            "output_ids": ids.masked_fill(~kept, NO_TOKEN),
            "probabilities": torch.stack(recorder.found, dim=1).masked_fill(~kept, 0.0),
        }

    def _kept(self, ids: Tensor, limits: Tensor) -> Tensor:
        """(B, N): tokens up to the row's limit, and up to the first that ends the answer, which is kept."""
        kept = torch.arange(ids.shape[1], device=ids.device)[None] < limits[:, None]
        if not self._stops:
            return kept
        ended = torch.isin(ids, torch.tensor(self._stops, device=ids.device)).cumsum(dim=1)
        before = torch.nn.functional.pad(ended, (1, 0))[:, :-1]  # ends before this token
        return kept & (before == 0)


class TextGenerator(Network):
    """A causal language model, or an encoder and decoder, of transformers."""

    def __init__(self, backbone: nn.Module, generation: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self._write = GreedyText(backbone, generation)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding, ``max_new_tokens`` (B, 1) →
        ``output_ids`` (B, N), ``NO_TOKEN`` after a row's end, and ``probabilities`` (B, N) of these tokens, 0 after it."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._write(self.backbone, max_new_tokens[:, 0], inputs)


class _Recorder:
    """Notes the probability of the likeliest token at each step, after all other processors."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []  # (B) each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.found.append((scores.max(dim=-1).values - scores.logsumexp(dim=-1)).exp())
        return scores


class _RowLimits:
    """Ends each row at its own number of new tokens."""

    def __init__(self, limits: Tensor, start: int) -> None:
        self._limits, self._start = limits, start

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return input_ids.shape[1] - self._start >= self._limits


def _config(settings: Mapping[str, Any]) -> Any:
    library: Any = transformers  # untyped upstream
    return library.GenerationConfig(**settings)


def _as_list(found: Any) -> list[int]:
    return [] if found is None else list(found) if isinstance(found, list | tuple) else [int(found)]
