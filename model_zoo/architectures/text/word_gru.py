"""A gated recurrent unit over the words of a text, whose last state tells the text's class.

Many steps in, one answer out: the encoder of Cho et al. (EMNLP 2014, arXiv:1406.1078) with a linear classifier.
"""

from torch import Tensor, nn

from model_zoo.architectures.text.char_gru import last_state

__all__ = ["WordGru"]


class WordGru(nn.Module):
    """Texts as ids of their words → logits of classes. Padding after a text does not change its answer."""

    def __init__(self, vocab_size: int, classes: int, embedding: int = 32, hidden: int = 64) -> None:
        """Build the network with random weights; ``vocab_size`` counts the ids, those of padding and of unknown words
        among them."""
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)
        self.output: nn.Linear | None = nn.Linear(hidden, classes)

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and mask → (B, hidden): the state after the last word."""
        return last_state(self.gru(self.embedding(ids))[0], mask)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and mask → (B, classes)."""
        assert self.output is not None
        logits: Tensor = self.output(self.features(ids, mask))
        return logits
