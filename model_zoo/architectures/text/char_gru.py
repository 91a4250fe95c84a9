"""A gated recurrent unit over characters that predicts the next one at every step.

The recurrent language model of Mikolov et al. (Interspeech 2010) with the unit of Cho et al. (EMNLP 2014,
arXiv:1406.1078). Its methods are those of ``char_lstm``, so that it is served and tuned as that one.
"""

import torch
from torch import Tensor, nn

from model_zoo.architectures.text.char_lstm import CharLstm

__all__ = ["CharGru", "last_state"]


def last_state(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) and the mask (B, T) → (B, H): the state of the last step under the mask; of the first one if there is
    none."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = (steps * mask.long()).amax(dim=1)  # (B)
    found: Tensor = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
    return found


class CharGru(nn.Module):
    """Texts as ids of their characters → the next character. Padding after a text does not reach the states before
    it."""

    def __init__(self, symbols: int, embedding: int = 32, hidden: int = 128) -> None:
        """Build the network with random weights; ``symbols`` counts the ids, that of padding among them."""
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, symbols)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and mask → (B, symbols) logits of the next character."""
        return self.next_logits(self.states(ids), mask)

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) → (B, 2 hidden): features of the whole text."""
        return self.summary(self.states(ids), mask)

    def next_logits(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, T, hidden) → (B, symbols), from the last state under the mask."""
        logits: Tensor = self.output(last_state(states, mask))
        return logits

    @staticmethod
    def summary(states: Tensor, mask: Tensor) -> Tensor:
        """(B, T, hidden) → (B, 2 hidden): the mean under the mask, followed by the maximum of each channel."""
        return CharLstm.summary(states, mask)

    def every_step(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, symbols): at each step the logits of the next character."""
        logits: Tensor = self.output(self.states(ids))
        return logits

    def states(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, hidden): the state after each character."""
        states: Tensor = self.gru(self.embedding(ids))[0]
        return states
