"""What the converters share: strict loading, and the tokenizers and pages that they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn


def load_strictly(network: nn.Module, tensors: Mapping[str, torch.Tensor], tied: Sequence[str] = ()) -> None:
    """Puts every tensor into the network.

    Args:
        tied: names of tensors that the network has from others.

    Raises:
        ValueError: a tensor is missing, or left over.
    """
    floats = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    missing, unexpected = network.load_state_dict(floats, strict=False)
    if left := [name for name in missing if name not in tied]:
        raise ValueError(f"the package has no {left[0]}")
    if unexpected:
        raise ValueError(f"the network has no {unexpected[0]}")


def symbols_tokenizer(vocabulary: Mapping[str, int], pattern: str, *, start: str, end: str, unknown: str) -> Tokenizer:
    """A tokenizer for strings of symbols: each match of `pattern` is a token, and what matches nothing is left out."""
    found = Tokenizer(models.WordLevel(dict(vocabulary), unk_token=unknown))
    # The pattern is inverted: what lies between two symbols is removed.
    found.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    found.decoder = decoders.Fuse()
    found.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B {end}",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return found


def save_tokenizer(folder: Path, tokenizer: Tokenizer, **settings: Any) -> None:
    """Writes the files of a fast tokenizer; `settings` are its special tokens and limits."""
    import transformers

    library: Any = transformers  # untyped upstream
    library.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)


def save_page(folder: Path, licence: str, task: str) -> None:
    """Writes the page of the repository, from which licence and task are read."""
    (folder / "README.md").write_text(f"---\nlicense: {licence}\npipeline_tag: {task}\n---\n", encoding="utf-8")
