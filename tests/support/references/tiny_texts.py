"""Tiny networks of transformers for texts, beside the plain classifier of `tiny_repositories.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from tests.support.references.tiny_repositories import SPECIAL, WORDS, text_classifier, tokenizer, write_page

NLI_LABELS = ("contradiction", "neutral", "entailment")


def bert_tokenizer(folder: Path, max_length: int = 64) -> int:
    """Writes BERT's own fast tokenizer, which numbers the texts of a pair; gives the size of its vocabulary."""
    known = [*SPECIAL, *sorted(set(WORDS.split())), *"abcdefghijklmnopqrstuvwxyz?,.!"]
    pieces = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*known, *pieces]))}
    transformers.BertTokenizer(vocab=vocabulary, model_max_length=max_length).save_pretrained(folder)
    return len(vocabulary)


def bert_config(size: int, labels: tuple[str, ...], **config: Any) -> transformers.BertConfig:
    """A configuration with these classes."""
    names = dict(enumerate(labels))
    settings = {
        "vocab_size": size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 37,
        "max_position_embeddings": 64,
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "initializer_range": 0.5,
    }
    return transformers.BertConfig(**{**settings, **config})


def pair_classifier(folder: Path, labels: tuple[str, ...] = NLI_LABELS) -> Path:
    """A BERT that tells the two texts of a pair apart."""
    torch.manual_seed(13)
    config = bert_config(bert_tokenizer(folder), labels)
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    write_page(folder, "text-classification")
    return folder


def roberta_pair_classifier(folder: Path) -> Path:
    """A RoBERTa, which tells two texts apart by the tokens between them alone."""
    torch.manual_seed(14)
    names = dict(enumerate(NLI_LABELS))
    config = transformers.RobertaConfig(
        vocab_size=tokenizer(folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=0,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        initializer_range=0.5,
    )
    transformers.RobertaForSequenceClassification(config).eval().save_pretrained(folder)
    write_page(folder, "text-classification")
    return folder


def multi_label_classifier(folder: Path) -> Path:
    """A BERT whose classes do not exclude each other."""
    return text_classifier(folder, ("angry", "glad", "long"), problem_type="multi_label_classification")


ENTITY_LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def token_classifier(folder: Path, labels: tuple[str, ...] = ENTITY_LABELS) -> Path:
    """A BERT that gives each token of a text a class."""
    torch.manual_seed(15)
    config = bert_config(bert_tokenizer(folder), labels, initializer_range=0.3)
    transformers.BertForTokenClassification(config).eval().save_pretrained(folder)
    write_page(folder, "token-classification")
    return folder


def mask_filler(folder: Path, **config: Any) -> Path:
    """A BERT that finds masked tokens."""
    torch.manual_seed(16)
    settings = bert_config(bert_tokenizer(folder), ("a", "b"), **config)
    transformers.BertForMaskedLM(settings).eval().save_pretrained(folder)
    write_page(folder, "fill-mask")
    return folder


def roberta_mask_filler(folder: Path) -> Path:
    """A RoBERTa that finds masked tokens, with a tokenizer that has no class of its own."""
    torch.manual_seed(17)
    config = transformers.RobertaConfig(
        vocab_size=tokenizer(folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=0,
        initializer_range=0.5,
    )
    transformers.RobertaForMaskedLM(config).eval().save_pretrained(folder)
    write_page(folder, "fill-mask")
    return folder


def albert_mask_filler(folder: Path) -> Path:
    """An ALBERT, whose layers share their weights."""
    torch.manual_seed(18)
    config = transformers.AlbertConfig(
        vocab_size=bert_tokenizer(folder),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    transformers.AlbertForMaskedLM(config).eval().save_pretrained(folder)
    write_page(folder, "fill-mask")
    return folder


def zero_shot_classifier(folder: Path, labels: tuple[str, ...] = NLI_LABELS) -> Path:
    """The pair classifier, published for labels that callers name."""
    pair_classifier(folder, labels)
    write_page(folder, "zero-shot-classification")
    return folder


def reranker(folder: Path, **config: Any) -> Path:
    """A BERT that scores a pair of texts, as transformers writes it."""
    torch.manual_seed(19)
    settings = bert_config(bert_tokenizer(folder), ("LABEL_0",), **config)
    transformers.BertForSequenceClassification(settings).eval().save_pretrained(folder)
    write_page(folder, "text-ranking")
    return folder


def cross_encoder(folder: Path, activation: str = "Identity") -> Path:
    """The same, as sentence-transformers writes it."""
    from sentence_transformers import CrossEncoder

    kinds = {"Identity": torch.nn.Identity, "Sigmoid": torch.nn.Sigmoid, "Tanh": torch.nn.Tanh}
    reranker(folder)
    network = CrossEncoder(str(folder), device="cpu", local_files_only=True, activation_fn=kinds[activation]())
    network.save_pretrained(str(folder))
    return folder


def earlier_cross_encoder(folder: Path) -> Path:
    """The same with the settings of sentence-transformers 4, and without a task on its page."""
    reranker(folder, sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"})
    (folder / "README.md").unlink()
    return folder
