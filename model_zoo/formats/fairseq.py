"""A RoBERTa that fairseq trained on sequences of symbols → the state dict of transformers' RobertaForMaskedLM, and a tokenizer.

A checkpoint of fairseq holds the network beside the settings of its training, which are an ``argparse.Namespace``: a container
of plain values, and the only class beside tensors that is read from the file (``weights_only``). Its list of symbols is a text
file with a symbol and its count on each line.
"""

import argparse
import io
from typing import Any

import torch

from model_zoo.formats.plain_state import is_plain_state

__all__ = ["LAYER_NORM_EPS", "MASK", "SYMBOLS_ROLE", "state_dict_of", "symbols_of", "tokenizer_of"]

MASK = "<mask>"
LAYER_NORM_EPS = 1e-5
"""That of torch's LayerNorm, with which fairseq builds; transformers' configuration of RoBERTa has another default."""
SYMBOLS_ROLE = "symbols"
"""Role of the list of symbols."""
_UNKNOWN = "<unk>"
_FIRST = ("<s>", "<pad>", "</s>", _UNKNOWN)
"""Symbols that fairseq puts in front of the listed ones; the mask comes behind them."""
_MOST_SYMBOLS = 1_000
_RENAMED = (
    ("decoder.lm_head.layer_norm", "lm_head.layer_norm"),
    ("decoder.lm_head.dense", "lm_head.dense"),
    ("decoder.lm_head.weight", "lm_head.decoder.weight"),
    ("decoder.lm_head.bias", "lm_head.bias"),
    ("decoder.sentence_encoder.embed_tokens", "roberta.embeddings.word_embeddings"),
    ("decoder.sentence_encoder.embed_positions", "roberta.embeddings.position_embeddings"),
    ("decoder.sentence_encoder.emb_layer_norm", "roberta.embeddings.LayerNorm"),
    ("decoder.sentence_encoder.layers", "roberta.encoder.layer"),
    ("self_attn_layer_norm", "attention.output.LayerNorm"),
    ("self_attn.out_proj", "attention.output.dense"),
    ("self_attn.q_proj", "attention.self.query"),
    ("self_attn.k_proj", "attention.self.key"),
    ("self_attn.v_proj", "attention.self.value"),
    ("fc1", "intermediate.dense"),
    ("fc2", "output.dense"),
    ("final_layer_norm", "output.LayerNorm"),
)
"""Parts of fairseq's names → those of transformers, replaced in this order."""


def state_dict_of(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors in float32 under the names of transformers.

    fairseq does not number the texts of a pair, so that the embedding of that number is zeros; and the bias of the last layer has
    a second name in transformers.

    Raises:
        ValueError: the file holds no plain tensors under ``model``.
        pickle.UnpicklingError, and others of torch: it is damaged, or holds other objects.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        stored: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    model = stored.get("model") if isinstance(stored, dict) else None
    if not isinstance(model, dict) or not is_plain_state(model):
        raise ValueError("the checkpoint has no network")
    state = {_renamed(name): tensor.to(torch.float32) for name, tensor in model.items()}
    if (words := state.get("roberta.embeddings.word_embeddings.weight")) is not None:
        state["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, words.shape[-1])
    if (bias := state.get("lm_head.bias")) is not None:
        state["lm_head.decoder.bias"] = bias
    return state


def tokenizer_of(symbols: bytes) -> bytes:
    """The list of symbols as a tokenizer in the JSON format of the ``tokenizers`` library: one token for a symbol, in the order
    of fairseq, with a beginning and an end. Raises ValueError for a list of other things than single characters."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = symbols_of(symbols)
    found = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    found.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S"), behavior="removed", invert=True)
    found.decoder = decoders.Fuse()
    found.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    found.add_special_tokens([*_FIRST, MASK])
    return found.to_str().encode()


def symbols_of(symbols: bytes) -> dict[str, int]:
    """Token ids by symbol, in the order of fairseq. Raises ValueError for a list of other things than single characters."""
    lines = symbols.decode("utf-8").split("\n")
    listed = [line.split()[0] for line in lines if line.strip()]
    if not 0 < len(listed) <= _MOST_SYMBOLS or len({*listed}) < len(listed) or any(len(one) != 1 for one in listed):
        raise ValueError(f"expected up to {_MOST_SYMBOLS} different characters, one on a line")
    return {symbol: i for i, symbol in enumerate([*_FIRST, *listed, MASK])}


def _renamed(name: str) -> str:
    for old, new in _RENAMED:
        name = name.replace(old, new)
    return name
