"""The encoder of BERT (Devlin et al., arXiv:1810.04805) for whole texts: without a pooler and without token types.

Names, order of operations and dropouts are those of ``BertModel`` of transformers, whose import takes seconds: states of the one
load into the other, and the answers are equal. A card has this network as ``transformers`` with ``model_type: bert``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BertEncoder", "Encoded", "is_plain_bert"]

_ARGUMENTS = frozenset(
    {"model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
    | {"hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings"}
    | {"type_vocab_size", "layer_norm_eps", "pad_token_id"}
)


def is_plain_bert(arguments: Mapping[str, Any]) -> bool:
    """Whether `BertEncoder` is the network of these arguments; the library builds the others."""
    return arguments.keys() == _ARGUMENTS and arguments["model_type"] == "bert" and arguments["hidden_act"] == "gelu"


class Encoded(NamedTuple):
    """What the encoder returns."""

    last_hidden_state: Tensor
    """Vectors of the tokens, (B, T, D)."""


class BertEncoder(nn.Module):
    """Tokens → a vector for each, which depends on all tokens of the mask."""

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_dropout_prob: float,
        attention_probs_dropout_prob: float,
        max_position_embeddings: int,
        type_vocab_size: int,
        layer_norm_eps: float,
        pad_token_id: int | None,
    ) -> None:
        """The names of `BertConfig`. Raises ValueError if the heads do not divide the width."""
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(f"hidden_size {hidden_size} is no multiple of num_attention_heads {num_attention_heads}")
        width, dropout = hidden_size, hidden_dropout_prob
        self.embeddings = _Embeddings(
            nn.Embedding(vocab_size, width, padding_idx=pad_token_id),
            nn.Embedding(max_position_embeddings, width),
            nn.Embedding(type_vocab_size, width),
            nn.LayerNorm(width, eps=layer_norm_eps),
            nn.Dropout(dropout),
        )
        layers = []
        for _ in range(num_hidden_layers):
            attention = _Attention(
                _SelfAttention(width, num_attention_heads, attention_probs_dropout_prob),
                _Residual(width, width, layer_norm_eps, dropout),
            )
            layers.append(_Layer(attention, width, intermediate_size, layer_norm_eps, dropout))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding. Raises RuntimeError for too long a T."""
        hidden = self.embeddings(input_ids)
        mask = _attended(attention_mask)
        layers: Any = self.encoder["layer"]
        for layer in layers:
            hidden = layer(hidden, mask)
        return Encoded(hidden)


class _Embeddings(nn.Module):
    def __init__(
        self, words: nn.Embedding, positions: nn.Embedding, types: nn.Embedding, norm: nn.LayerNorm, dropout: nn.Dropout
    ) -> None:
        super().__init__()
        self.word_embeddings = words
        self.position_embeddings = positions
        self.token_type_embeddings = types
        self.LayerNorm = norm
        self.dropout = dropout

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, D). Every token is of the first type."""
        hidden = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        hidden = hidden + self.position_embeddings.weight[: ids.shape[1]]
        out: Tensor = self.dropout(self.LayerNorm(hidden))
        return out


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self._heads, self._dropout = heads, dropout

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) and (B, 1, T, T) → (B, T, D)."""
        query, key, value = (self._split(linear(hidden)) for linear in (self.query, self.key, self.value))
        dropout = self._dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return mixed.transpose(1, 2).flatten(2)  # (B, H, T, D / H) → (B, T, D)

    def _split(self, hidden: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, D / H)."""
        return hidden.view(*hidden.shape[:-1], self._heads, -1).transpose(1, 2)


class _Residual(nn.Module):
    """A linear layer whose output is added to an earlier state, and a norm."""

    def __init__(self, inputs: int, width: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, earlier: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + earlier)
        return out


class _Attention(nn.Module):
    def __init__(self, attention: _SelfAttention, output: _Residual) -> None:
        super().__init__()
        self.self = attention
        self.output = output

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        out: Tensor = self.output(self.self(hidden, mask), hidden)
        return out


class _Layer(nn.Module):
    def __init__(self, attention: _Attention, width: int, inner: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _Residual(inner, width, eps, dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.attention(hidden, mask)
        out: Tensor = self.output(functional.gelu(self.intermediate["dense"](hidden)), hidden)
        return out


def _attended(mask: Tensor) -> Tensor | None:
    """The pairs of tokens of which the one sees the other, (B, 1, T, T); None where no row is padded: then kernels are faster.

    A graph that is traced or recorded takes every mask, and must not depend on the values of this one.
    """
    recorded = torch.compiler.is_compiling() or (mask.is_cuda and torch.cuda.is_current_stream_capturing())
    if not recorded and bool(mask.all()):
        return None
    return mask.bool()[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
