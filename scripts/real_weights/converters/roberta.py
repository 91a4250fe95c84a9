"""RoBERTa on sequences of antibodies (sapiens): masked residues of the heavy or the light chain."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from ..package import OpenedPackage, Package
from ..written import load_strictly, save_page, save_tokenizer, symbols_tokenizer

_FOLDER = "sapiens/models/v1"
PACKAGE = Package(
    name="sapiens",
    version="1.0.5",
    wheel="sapiens-1.0.5-py3-none-any.whl",
    sha256="af1a8d445e9d7ab9f5f04512cf325acdfd9dd0930eb957b63ec234df1f141a8b",
    size=6965670,
    files={
        f"{_FOLDER}/checkpoint_vh.pt": (4590491, "43254666e9ac0d5aa8fc120f12ac02b6ff082cd1f107c389023c1b947f214825"),
        f"{_FOLDER}/checkpoint_vl.pt": (4573875, "570a63a6bdd60750c2cc2d280a419c300fafff8ab83f343f8e3847fd07903f6e"),
        f"{_FOLDER}/dict.txt": (80, "8ff5c1d10c4e921ffb6c4ef6161e55880c1d9efb1c7c74fa3b39654470118dcd"),
    },
    licence="mit",
)

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
"""Parts of fairseq's names → those of transformers."""
_HEADS = 8


def convert_heavy(package: OpenedPackage, folder: Path) -> None:
    """Writes the network of heavy chains."""
    _convert(package, folder, "checkpoint_vh.pt")


def convert_light(package: OpenedPackage, folder: Path) -> None:
    """Writes the network of light chains."""
    _convert(package, folder, "checkpoint_vl.pt")


def _convert(package: OpenedPackage, folder: Path, checkpoint: str) -> None:
    import torch
    from transformers import RobertaConfig, RobertaForMaskedLM

    # The settings of the training are an argparse.Namespace, which is a plain container.
    with torch.serialization.safe_globals([argparse.Namespace]):
        stored = torch.load(io.BytesIO(package.read(f"{_FOLDER}/{checkpoint}")), "cpu", weights_only=True)
    tensors = {_renamed(name): tensor for name, tensor in stored["model"].items()}
    residues = [line.split()[0] for line in package.read(f"{_FOLDER}/dict.txt").decode().splitlines()]
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *residues, "<mask>"]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    positions, width = tensors["roberta.embeddings.position_embeddings.weight"].shape
    network = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(symbols),
            hidden_size=width,
            num_hidden_layers=sum(name.endswith("attention.self.query.bias") for name in tensors),
            num_attention_heads=_HEADS,
            intermediate_size=len(tensors["roberta.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=positions,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
    # fairseq has no embedding of the number of a text.
    tensors["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, width)
    load_strictly(network, tensors, tied=("lm_head.decoder.bias",))
    network.save_pretrained(folder)
    tokenizer = symbols_tokenizer(vocabulary, "[A-Z]", start="<s>", end="</s>", unknown="<unk>")
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    save_tokenizer(folder, tokenizer, model_max_length=positions - 2, **special)
    save_page(folder, PACKAGE.licence, "fill-mask")


def _renamed(name: str) -> str:
    for old, new in _RENAMED:
        name = name.replace(old, new)
    return name
