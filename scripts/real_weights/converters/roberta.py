"""RoBERTa on sequences of antibodies (sapiens): masked residues of the heavy or the light chain."""

from __future__ import annotations

from pathlib import Path

from model_zoo.formats.fairseq import LAYER_NORM_EPS, state_dict_of, symbols_of

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

_HEADS = 8


def convert_heavy(package: OpenedPackage, folder: Path) -> None:
    """Writes the network of heavy chains."""
    _convert(package, folder, "checkpoint_vh.pt")


def convert_light(package: OpenedPackage, folder: Path) -> None:
    """Writes the network of light chains."""
    _convert(package, folder, "checkpoint_vl.pt")


def _convert(package: OpenedPackage, folder: Path, checkpoint: str) -> None:
    from transformers import RobertaConfig, RobertaForMaskedLM

    tensors = state_dict_of(package.read(f"{_FOLDER}/{checkpoint}"))
    vocabulary = symbols_of(package.read(f"{_FOLDER}/dict.txt"))
    positions, width = tensors["roberta.embeddings.position_embeddings.weight"].shape
    network = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            num_hidden_layers=sum(name.endswith("attention.self.query.bias") for name in tensors),
            num_attention_heads=_HEADS,
            intermediate_size=len(tensors["roberta.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=positions,
            type_vocab_size=1,
            layer_norm_eps=LAYER_NORM_EPS,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
    load_strictly(network, tensors)
    network.save_pretrained(folder)
    tokenizer = symbols_tokenizer(vocabulary, "[A-Z]", start="<s>", end="</s>", unknown="<unk>")
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    save_tokenizer(folder, tokenizer, model_max_length=positions - 2, **special)
    save_page(folder, PACKAGE.licence, "fill-mask")
