"""Tiny networks with random weights that read sounds: real classes of transformers with their own feature extractors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken

from tests.support.references.tiny_generation import byte_tokenizer
from tests.support.references.tiny_repositories import write_page

NAMES = {0: "speech", 1: "music", 2: "noise"}
CLASSES: dict[str, Any] = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
CONV: dict[str, Any] = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 4, 4),
    "conv_stride": (8, 4, 4),
    "num_feat_extract_layers": 3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.4,
}
"""Of networks that read samples: a frame every 128 samples; the first takes 130."""


def wav2vec2(folder: Path, norm: str = "layer", kind: str = "Wav2Vec2") -> Path:
    """A classifier of samples. `norm` `group` is that of networks that no mask keeps padding from."""
    torch.manual_seed(21)
    config = getattr(transformers, f"{kind}Config")(
        **CONV, **CLASSES, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", classifier_proj_size=12
    )
    network = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    return _written(folder, network, extractor)


def ast(folder: Path) -> Path:
    """A classifier of spectrograms of one size: 64 frames of 16 bands."""
    torch.manual_seed(22)
    config = transformers.ASTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=64,
        num_mel_bins=16,
        initializer_range=0.4,
        **CLASSES,
    )
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=64)
    return _written(folder, transformers.ASTForAudioClassification(config), extractor)


def whisper_classifier(folder: Path) -> Path:
    """A classifier by Whisper's encoder, whose window has two seconds."""
    torch.manual_seed(23)
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        num_mel_bins=16,
        max_source_positions=100,
        init_std=0.4,
        classifier_proj_size=12,
        **CLASSES,
    )
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    return _written(folder, transformers.WhisperForAudioClassification(config), extractor)


def _written(folder: Path, network: Any, extractor: Any, task: str = "audio-classification") -> Path:
    network.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    write_page(folder, task)
    return folder


def wav2vec2_group(folder: Path) -> Path:
    """A classifier of samples that takes no mask."""
    return wav2vec2(folder, "group")


def hubert(folder: Path) -> Path:
    """Another classifier of samples."""
    return wav2vec2(folder, "layer", "Hubert")


def wavlm(folder: Path) -> Path:
    """Another classifier of samples."""
    return wav2vec2(folder, "layer", "WavLM")


def hubert_encoder(folder: Path) -> Path:
    """An encoder of samples without a head."""
    torch.manual_seed(26)
    config = transformers.HubertConfig(**CONV, feat_extract_norm="layer", do_stable_layer_norm=True)
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return _written(folder, transformers.HubertModel(config), extractor, "feature-extraction")


def wav2vec2_pretraining(folder: Path) -> Path:
    """An encoder of samples that takes no mask, as its makers have trained it."""
    torch.manual_seed(27)
    sizes = {"codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4}
    config = transformers.Wav2Vec2Config(**CONV, **sizes, feat_extract_norm="group")
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    return _written(folder, transformers.Wav2Vec2ForPreTraining(config), extractor, "")


def ast_encoder(folder: Path) -> Path:
    """An encoder of spectrograms without a head."""
    classifier = transformers.ASTForAudioClassification.from_pretrained(ast(folder))
    return _written(
        folder,
        classifier.audio_spectrogram_transformer,
        transformers.ASTFeatureExtractor.from_pretrained(folder),
        "feature-extraction",
    )


LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'")


def ctc(folder: Path, norm: str = "layer") -> Path:
    """A network that tells the letter of each frame."""
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}), "utf-8")
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    torch.manual_seed(24)
    config = transformers.Wav2Vec2Config(
        **{**CONV, "initializer_range": 0.9},
        vocab_size=len(LETTERS),
        pad_token_id=0,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    return _written(folder, transformers.Wav2Vec2ForCTC(config), extractor, "automatic-speech-recognition")


LANGUAGES = ("<|en|>", "<|de|>")
TASKS = ("<|translate|>", "<|transcribe|>")


def whisper(folder: Path, multilingual: bool = True) -> Path:
    """An encoder and decoder that write what is said in windows of two seconds, with timestamps."""
    special = ["<|endoftext|>", "<|startoftranscript|>", *LANGUAGES, *TASKS, "<|notimestamps|>"]
    fast = byte_tokenizer(folder, eos_token="<|endoftext|>")
    fast.add_special_tokens({"additional_special_tokens": special[1:]})
    fast.add_tokens([AddedToken(f"<|{i * 0.02:.2f}|>", normalized=False) for i in range(101)])
    fast.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    named = {**settings, "tokenizer_class": "WhisperTokenizer", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named), "utf-8")
    ids = {token: fast.convert_tokens_to_ids(token) for token in special}
    torch.manual_seed(25)
    config = transformers.WhisperConfig(
        vocab_size=len(fast),
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        num_mel_bins=16,
        max_source_positions=100,
        max_target_positions=40,
        init_std=0.5,
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
    )
    network = transformers.WhisperForConditionalGeneration(config)
    rules: dict[str, Any] = {
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "max_initial_timestamp_index": 20,
        "max_length": 40,
        "is_multilingual": multilingual,
        "suppress_tokens": [*(ids[name] for name in special[1:])],
        "begin_suppress_tokens": [ids["<|endoftext|>"]],
        "return_timestamps": False,
    }
    if multilingual:
        rules |= {
            "lang_to_id": {name: ids[name] for name in LANGUAGES},
            "task_to_id": {name.strip("<|>"): ids[name] for name in TASKS},
            "forced_decoder_ids": [[1, None], [2, ids["<|transcribe|>"]]],
        }
    ends = {name: getattr(config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    network.generation_config = transformers.GenerationConfig(
        **rules, **ends, decoder_start_token_id=config.decoder_start_token_id
    )
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    return _written(folder, network, extractor, "automatic-speech-recognition")
