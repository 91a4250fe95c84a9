"""Tiny networks with random weights, written by the libraries that publish such networks: real classes, real layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "the film was a delight from first minute to last old lighthouse keeper climbed stairs each evening light lamp"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAGE = """---
license: apache-2.0
pipeline_tag: {task}
---
# A tiny network
"""


def write_page(folder: Path, task: str) -> None:
    (folder / "README.md").write_text(PAGE.format(task=task), "utf-8")


def tokenizer(folder: Path, max_length: int = 64) -> int:
    """Writes a fast tokenizer of words; gives the size of its vocabulary."""
    known = [*SPECIAL, *sorted(set(WORDS.split())), *"abcdefghijklmnopqrstuvwxyz?,.!"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(known))}
    words = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=True)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    fast.save_pretrained(folder)
    return len(vocabulary)


def text_classifier(folder: Path, labels: tuple[str, ...] = ("bad", "good"), **config: Any) -> Path:
    """A BERT for sequence classification."""
    size = tokenizer(folder)
    torch.manual_seed(3)
    names = dict(enumerate(labels))
    settings = transformers.BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=64,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        initializer_range=0.5,
        **config,
    )
    transformers.BertForSequenceClassification(settings).eval().save_pretrained(folder)
    write_page(folder, "text-classification")
    return folder


def sentence_encoder(folder: Path, pooling: str = "mean", normalize: bool = True, **files: Mapping[str, Any]) -> Path:
    """A BERT with the files of sentence-transformers."""
    size = tokenizer(folder)
    torch.manual_seed(4)
    settings = transformers.BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    transformers.BertModel(settings).eval().save_pretrained(folder)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    flags = {mode: name == pooling for name, mode in modes.items()}
    written: dict[str, Any] = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": 32, **flags},
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None},
        **files,
    }
    for name, content in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), "utf-8")
    write_page(folder, "feature-extraction")
    return folder


def image_classifier(folder: Path, kind: str = "vit") -> Path:
    """A network of transformers for image classification: `vit`, `convnext` or `resnet`."""
    torch.manual_seed(5)
    names = {0: "cat", 1: "cup", 2: "rocket"}
    common = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    network: Any
    processor: Any
    if kind == "vit":
        vit = transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=37,
            image_size=32,
            patch_size=8,
            initializer_range=0.3,
            **common,
        )
        network = transformers.ViTForImageClassification(vit)
        processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    elif kind == "convnext":
        convnext = transformers.ConvNextConfig(
            hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, initializer_range=0.3, **common
        )
        network = transformers.ConvNextForImageClassification(convnext)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)
    else:
        resnet = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **common
        )
        network = transformers.ResNetForImageClassification(resnet)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    write_page(folder, "image-classification")
    return folder


def timm_repository(folder: Path, architecture: str = "test_resnet", classes: int = 3, **config: Any) -> Path:
    """A network of timm, in the layout of its repositories on a hub."""
    torch.manual_seed(6)
    network = timm.create_model(architecture, pretrained=False, num_classes=classes).eval()
    named = {"label_names": ["cat", "cup", "rocket"][:classes]} if classes == 3 else {}
    timm.models.save_for_hf(network, folder, model_config={**named, **config}, safe_serialization=True)
    write_page(folder, "image-classification" if classes else "image-feature-extraction")
    return folder
