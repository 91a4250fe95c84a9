"""Whisper (Radford et al., arXiv:2212.04356): a window of a sound → what is said in it, with timestamps."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from model_zoo.architectures.transformers.generation import GreedyText
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.recipes import WindowDecoding

__all__ = ["WindowTranscriber"]


class WindowTranscriber(Network):
    """An encoder of spectrograms, and a decoder that writes text and timestamps."""

    def __init__(self, backbone: nn.Module, generation: Mapping[str, Any], windows: WindowDecoding) -> None:
        super().__init__()
        self.backbone = backbone
        self._write = GreedyText(backbone, generation)
        self._windows = windows

    def forward(self, input_features: Tensor, max_new_tokens: Tensor) -> dict[str, Tensor]:
        """``input_features`` (B, mels, frames), ``max_new_tokens`` (B, 1) → ``output_ids`` and their ``probabilities``, (B, N) as
        `TextGenerator` gives them."""
        network: Any = self.backbone
        encoded = network.get_encoder()(input_features)
        prompt = self._prompt(encoded, len(input_features))
        inputs = {"encoder_outputs": encoded, "decoder_input_ids": prompt}
        return self._write(self.backbone, max_new_tokens[:, 0], inputs, self._timestamps(prompt.shape[1]))

    def _prompt(self, encoded: Any, rows: int) -> Tensor:
        """(B, P): the first tokens, with the language of each row."""
        network: Any = self.backbone
        device = encoded.last_hidden_state.device
        parts = [torch.full((rows,), token or 0, device=device) for token in self._windows.prompt]
        for place, token in enumerate(self._windows.prompt):
            if token is None:
                first = parts[0][:, None]
                logits = network(encoder_outputs=encoded, decoder_input_ids=first, use_cache=False).logits[:, -1]
                known = torch.tensor(self._windows.languages, device=device)
                parts[place] = known[logits[:, known].argmax(dim=-1)]
        return torch.stack(parts, dim=1)

    def _timestamps(self, begin: int) -> Any:
        """The library's rules for timestamps: in pairs, never back, the first one early."""
        settings = SimpleNamespace(
            no_timestamps_token_id=self._windows.first_timestamp - 1,
            max_initial_timestamp_index=self._windows.max_initial_timestamp,
            eos_token_id=self._windows.stop_id,
            bos_token_id=self._windows.stop_id,  # read where the other one is 0
        )
        library: Any = transformers  # untyped upstream
        return library.WhisperTimeStampLogitsProcessor(settings, begin_index=begin)
