"""Tiny networks of transformers with random weights that compare images with texts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.support.references.tiny_repositories import WORDS, write_page

TASK = "zero-shot-image-classification"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def clip(folder: Path, **text: Any) -> Path:
    """A CLIP with its own tokenizer, which pads with the token that ends a text."""
    size = clip_tokenizer(folder)
    torch.manual_seed(21)
    config = transformers.CLIPConfig(
        text_config={**_tower(), "vocab_size": size, "max_position_embeddings": 32, "eos_token_id": size - 1, **text},
        vision_config={**_tower(), "image_size": 64, "patch_size": 16},
        projection_dim=24,
    )
    network = transformers.CLIPModel(config)
    _spread(network)
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return _written(folder, network, processor)


def earlier_clip(folder: Path) -> Path:
    """A CLIP whose configuration has other numbers of special tokens than its tokenizer, as those of OpenAI have."""
    return clip(folder, eos_token_id=2, bos_token_id=0, pad_token_id=1)


def siglip(folder: Path, masked: bool = False) -> Path:
    """A SigLIP, whose texts always have 64 tokens; `masked`: whether its tokenizer gives a mask of the padding."""
    size = word_tokenizer(folder, ["input_ids", "attention_mask"] if masked else ["input_ids"])
    torch.manual_seed(22)
    config = transformers.SiglipConfig(
        text_config={
            **_tower(),
            "vocab_size": size,
            "max_position_embeddings": 64,
            "projection_size": 32,
        },
        vision_config={**_tower(), "image_size": 64, "patch_size": 16},
    )
    network = transformers.SiglipModel(config)
    _spread(network)
    with torch.no_grad():
        network.logit_scale.fill_(2.0)
        network.logit_bias.fill_(-1.0)
    processor = transformers.SiglipImageProcessor(size={"height": 64, "width": 64})
    return _written(folder, network, processor)


def sentencepiece_siglip(folder: Path) -> Path:
    """A SigLIP of the first generation: its tokenizer reads `spiece.model`, and takes capitals and punctuation out of texts."""
    siglip(folder)
    size = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, "this is a photo of a cat, a cup or a rocket"] * 20),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    library: Any = transformers
    library.SiglipTokenizer(
        str(folder / "spiece.model"), model_max_length=64, model_input_names=["input_ids"]
    ).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    return folder


def masked_siglip(folder: Path) -> Path:
    """A SigLIP whose tokenizer gives a mask of the padding."""
    return siglip(folder, masked=True)


MATCHERS: dict[str, Callable[[Path], Path]] = {
    "clip": clip,
    "earlier_clip": earlier_clip,
    "siglip": siglip,
    "masked_siglip": masked_siglip,
}


def clip_tokenizer(folder: Path) -> int:
    """Writes CLIP's own fast tokenizer, of bytes; gives the size of its vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters), BEGIN, END])
    vocabulary = {piece: number for number, piece in enumerate(known)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=32).save_pretrained(folder)
    return len(vocabulary)


def word_tokenizer(folder: Path, inputs: list[str]) -> int:
    """Writes a fast tokenizer of words that ends each text; gives the size of its vocabulary."""
    known = dict.fromkeys(
        ["<pad>", "</s>", "<unk>", *sorted({*WORDS.split(), "this", "is", "photo", "of", "cat", "cup"}), *"!?.,"]
    )
    vocabulary = {word: number for number, word in enumerate(known)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=64,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=inputs,
    )
    fast.save_pretrained(folder)
    return len(vocabulary)


def _tower() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 37,
    }


def _spread(network: Any) -> None:
    """Larger weights than the library begins with: otherwise all texts have nearly one embedding."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)


def _written(folder: Path, network: Any, processor: Any) -> Path:
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    write_page(folder, TASK)
    return folder
