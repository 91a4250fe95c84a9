"""The linear classifier of texts of fastText (Joulin et al., Bag of Tricks for Efficient Text Classification, EACL 2017,
arXiv:1607.01759): the mean of the vectors of words and of their character n-grams, and one layer behind it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.wrappers import masked_mean

__all__ = ["SubwordClassifier"]


class SubwordClassifier(nn.Module):
    """Ids of words and n-grams → logits of the classes."""

    def __init__(self, symbols: int, width: int, classes: int, tree: bool) -> None:
        """
        Args:
            symbols: words and n-grams.
            tree: whether the classes are the leaves of a binary tree (hierarchical softmax): the layer then tells at each inner
                node how probable the way to the right is.
        """
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.tree = Tree(classes) if tree else None
        self.output = nn.Linear(width, classes - 1 if tree else classes, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and mask → (B, classes) logits."""
        return self.classify(self.features(ids, mask))

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) → (B, width): the mean vector under the mask."""
        return masked_mean(self.embedding(ids), mask)

    def classify(self, features: Tensor) -> Tensor:
        """(B, width) → (B, classes) logits; of a tree the logarithms of the probabilities."""
        scores: Tensor = self.output(features)
        found: Tensor = scores if self.tree is None else self.tree(scores)
        return found


class Tree(nn.Module):
    """Scores of the inner nodes of a binary tree → logarithms of the probabilities of its leaves."""

    def __init__(self, leaves: int) -> None:
        super().__init__()
        self.register_buffer("right", torch.zeros(leaves, leaves - 1))
        self.register_buffer("left", torch.zeros(leaves, leaves - 1))

    def forward(self, scores: Tensor) -> Tensor:
        """(B, nodes) → (B, leaves)."""
        right, left = functional.logsigmoid(scores), functional.logsigmoid(-scores)
        return functional.linear(right, self.get_buffer("right")) + functional.linear(left, self.get_buffer("left"))
