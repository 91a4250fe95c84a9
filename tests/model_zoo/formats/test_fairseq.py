"""A checkpoint of fairseq becomes a network of transformers, and its list of symbols a tokenizer."""

import argparse
import io
import pickle
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from model_zoo.catalog import Catalog
from model_zoo.formats.fairseq import _RENAMED, state_dict_of, tokenizer_of
from model_zoo.network import build_network

SYMBOLS = b"L 100\nA 90\nG 80\n"


def checkpoint(model: Any, **beside: Any) -> bytes:
    written = io.BytesIO()
    torch.save({"args": argparse.Namespace(arch="roberta_small", heads=8), "model": model, **beside}, written)
    return written.getvalue()


def test_tensors_get_the_names_of_transformers() -> None:
    layer = "decoder.sentence_encoder.layers.1."
    names = {
        "decoder.sentence_encoder.embed_tokens.weight": "roberta.embeddings.word_embeddings.weight",
        "decoder.sentence_encoder.emb_layer_norm.bias": "roberta.embeddings.LayerNorm.bias",
        f"{layer}self_attn.q_proj.weight": "roberta.encoder.layer.1.attention.self.query.weight",
        f"{layer}self_attn_layer_norm.weight": "roberta.encoder.layer.1.attention.output.LayerNorm.weight",
        f"{layer}fc2.bias": "roberta.encoder.layer.1.output.dense.bias",
        f"{layer}final_layer_norm.weight": "roberta.encoder.layer.1.output.LayerNorm.weight",
        "decoder.lm_head.weight": "lm_head.decoder.weight",
        "decoder.lm_head.bias": "lm_head.bias",
    }
    given = {name: torch.full((3, 4), float(i), dtype=torch.float16) for i, name in enumerate(names)}
    found = state_dict_of(checkpoint(given))
    assert all(torch.equal(found[new], given[old].float()) for old, new in names.items())
    assert {*found} - {*names.values()} == {
        "roberta.embeddings.token_type_embeddings.weight",
        "lm_head.decoder.bias",
    }
    assert found["roberta.embeddings.token_type_embeddings.weight"].tolist() == [[0.0] * 4]


def test_checkpoint_with_code_is_not_read() -> None:
    with pytest.raises(pickle.UnpicklingError):
        state_dict_of(checkpoint({}, hook=print))


@pytest.mark.parametrize("model", [None, [torch.zeros(1)], {"a": 1}])
def test_checkpoint_without_plain_tensors_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="no network"):
        state_dict_of(checkpoint(model))


def test_symbols_are_tokens_in_the_order_of_fairseq() -> None:
    tokenizer = Tokenizer.from_str(tokenizer_of(SYMBOLS).decode())
    found = tokenizer.encode("LAG<mask>LX")
    assert found.tokens == ["<s>", "L", "A", "G", "<mask>", "L", "<unk>", "</s>"]
    assert found.ids == [0, 4, 5, 6, 7, 4, 3, 2]
    assert tokenizer.decode(found.ids) == "LAGL"
    assert tokenizer.decode([4, 7, 6], skip_special_tokens=False) == "L<mask>G"


@pytest.mark.parametrize("symbols", [b"", b"\n\n", b"AB 1\n", b"A 1\nA 2\n", b"\xff"])
def test_list_of_other_things_than_characters_is_refused(symbols: bytes) -> None:
    with pytest.raises(ValueError, match=r"different characters|decode"):
        tokenizer_of(symbols)


def test_every_tensor_of_the_card_s_network_is_found() -> None:
    """Of a network with few channels, written under fairseq's names."""
    card = Catalog.from_package().get("protein_roberta")
    arguments = card.architecture.arguments
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    architecture = card.architecture.model_copy(
        update={"arguments": {**arguments, "config": {**arguments["config"], **small}}}
    )
    state = build_network(card.model_copy(update={"architecture": architecture})).backbone.state_dict()
    state["roberta.embeddings.token_type_embeddings.weight"].zero_()
    made = ("roberta.embeddings.token_type_embeddings.weight", "lm_head.decoder.bias")
    found = state_dict_of(checkpoint({fairseq_name(name): t for name, t in state.items() if name not in made}))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def fairseq_name(name: str) -> str:
    for old, new in sorted(_RENAMED, key=lambda pair: -len(pair[1])):
        if new in name:
            name = name.replace(new, old)
            if not new.startswith("roberta.encoder"):
                return name.replace("roberta.encoder.layer", "decoder.sentence_encoder.layers")
    return name
