"""Adapters that peft writes, for tiny networks of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from tests.support.references.tiny_repositories import tokenizer, write_page


def base_network(folder: Path, **config: Any) -> Path:
    """A BERT as it was pretrained: it has no head for classes."""
    size = tokenizer(folder)
    torch.manual_seed(11)
    settings = transformers.BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=64,
        initializer_range=0.5,
        **config,
    )
    transformers.BertForPreTraining(settings).eval().save_pretrained(folder)
    write_page(folder, "fill-mask")
    return folder


def text_adapter(
    folder: Path,
    base: Path,
    named: str = "",
    classes: int = 3,
    changes: Mapping[str, Any] | None = None,
    task: str = "SEQ_CLS",
    **lora: Any,
) -> Path:
    """A LoRA adapter with a head for classes of texts or, for `TOKEN_CLS`, of tokens. `named`: the base in its configuration;
    `changes`: further fields of it; `lora`: further settings of peft."""
    library: Any = transformers
    auto = (
        library.AutoModelForTokenClassification if task == "TOKEN_CLS" else library.AutoModelForSequenceClassification
    )
    network: Any = auto.from_pretrained(base, num_labels=classes)
    settings = peft.LoraConfig(task_type=task, r=4, lora_alpha=16, target_modules=["query", "value"], **lora)
    return _saved(folder, network, settings, named or str(base), changes)


def writing_adapter(folder: Path, base: Path, modules: list[str]) -> Path:
    """A LoRA adapter, scaled by the root of its rank, for a causal network."""
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(base)
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=8,
        target_modules=modules,
        use_rslora=True,
        fan_in_fan_out="c_attn" in modules,
    )
    return _saved(folder, network, settings, str(base), None)


def _saved(folder: Path, network: Any, settings: Any, named: str, changes: Mapping[str, Any] | None) -> Path:
    adapted: Any = peft.get_peft_model(network, settings)
    torch.manual_seed(12)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name or (settings.bias == "all" and name.endswith("bias")):
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**written, "base_model_name_or_path": named, **(changes or {})}), "utf-8")
    write_page(folder, "text-classification")
    return folder
