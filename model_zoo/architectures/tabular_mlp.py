"""A multilayer perceptron with residual blocks over the columns of a table, numbers and categories alike.

The architecture is the "ResNet" of Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021,
arXiv:2106.11959, which they find a strong baseline beside attention: categories are embedded and concatenated with the numbers,
and residual blocks of normalise, linear, ReLU, dropout, linear, dropout follow. The original normalises over the batch. This
one normalises over the layer, so that the answer for a row does not depend on other rows, and a batch of one row can be trained
on.

An optional linear term is added, as in Cheng et al., Wide & Deep Learning, 2016, arXiv:1606.07792: a regression finds the
linear part of a table exactly, and better than any network from few rows. The blocks start at zero and only correct it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LinearTerm", "TabularMlp"]

_WIDEST_EMBEDDING = 16


class _Block(nn.Module):
    """x + the output of two layers for x."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) → (B, width)."""
        inner = self.dropout(functional.relu(self.widen(self.norm(x))))
        added: Tensor = x + self.dropout(self.narrow(inner))
        return added


class LinearTerm(nn.Module):
    """A linear function of the columns: a weight for each number and for each value of a category. Starts at zero."""

    def __init__(self, numbers: int, sizes: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, numbers)) if numbers else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.categories = nn.ModuleList(nn.Embedding(size, outputs) for size in sizes)
        for parameter in self.categories.parameters():
            nn.init.zeros_(parameter)
        self.sizes = tuple(sizes)

    def forward(self, numbers: Tensor | None, categories: Tensor | None) -> Tensor:
        """See `TabularMlp.forward`."""
        out: Tensor = self.bias
        if numbers is not None and self.weight is not None:
            out = functional.linear(numbers, self.weight, self.bias)
        if categories is not None:
            for i, table in enumerate(self.categories):
                out = out + table(categories[:, i])
        return out


class TabularMlp(nn.Module):
    """Columns of a table → logits of classes, or numbers."""

    def __init__(
        self,
        numbers: int,
        categories: Sequence[int],
        outputs: int,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
        line: bool = False,
    ) -> None:
        """Build the network with random weights.

        Args:
            numbers: columns of standardised numbers; may be 0.
            categories: number of values of each column of categories, with the value for "unknown"; may be empty.
            outputs: classes, or numbers to predict.
            width: of the residual stream; the hidden layer of a block is twice as wide.
            depth: blocks.
            line: whether a linear term is added to the blocks, which then start at zero.

        Raises:
            ValueError: there is no column at all.
        """
        super().__init__()
        # At least two rows, so that a column without known values accepts the indices 0 and 1 too.
        sizes = [(max(2, count), min(_WIDEST_EMBEDDING, (count + 1) // 2)) for count in categories]
        embeddings = [nn.Embedding(count, size) for count, size in sizes]
        for embedding in embeddings:
            # The embedding of unknown values is zero, unless training rows change it.
            nn.init.zeros_(embedding.weight[0])
        self.embeddings = nn.ModuleList(embeddings)
        inputs = numbers + sum(size for _, size in sizes)
        if not inputs:
            raise ValueError("a table without columns")
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(_Block(width, 2 * width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, outputs)
        self.line = LinearTerm(numbers, [count for count, _ in sizes], outputs) if line else None
        if line:
            self.zero_blocks()

    @torch.no_grad()
    def zero_blocks(self) -> None:
        """Set the output of the blocks to zero, so that only the linear term remains."""
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def features(self, numbers: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """The last hidden vector, (B, width). A kind of column that the table lacks is None."""
        parts = [] if numbers is None else [numbers]
        if categories is not None:
            parts += [embed(categories[:, i]) for i, embed in enumerate(self.embeddings)]
        x = self.first(torch.cat(parts, dim=1))
        for block in self.blocks:
            x = block(x)
        return functional.relu(self.norm(x))

    def forward(self, numbers: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """``numbers`` (B, n) standardised, ``categories`` (B, m) int64, 0 for unknown → (B, outputs)."""
        out: Tensor = self.out(self.features(numbers, categories))
        return out if self.line is None else self.line(numbers, categories) + out
