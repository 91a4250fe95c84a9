"""``preprocessor_config.json`` of a feature extractor → the recipe of a sound."""

from typing import Any

from model_zoo.references.common_fields import positive
from model_zoo.references.image_processor import PROCESSOR
from model_zoo.references.repository import config_of
from model_zoo.references.transformers.network_class import NetworkClass

__all__ = ["PROCESSORS", "conv_samples", "sound_inputs", "sound_recipe"]

PROCESSORS = (PROCESSOR, "processor_config.json")
"""Files that describe an extractor; the second one holds it beside a tokenizer."""

_KINDS = ("ASTFeatureExtractor", "Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor")
_DROPPED = ("feature_extractor_type", "processor_class", "mel_filters", "image_processor_type", "auto_map")
"""Names of classes, and filters that the library computes from the other fields."""
_MASKED = ("wav2vec2", "wav2vec2-conformer", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
"""Types whose networks keep padding out of their answers by a mask, where each frame is normalised for itself."""
_MOST_SETTING = 1_000_000
"""Of samples in a window and the like: the extractor allocates by them."""
_FBANK_SAMPLES, _FBANK_HOP = 400, 160
"""Samples of a frame of AST's filter bank, and from one to the next."""


def sound_recipe(network: NetworkClass, max_seconds: float) -> dict[str, Any]:
    """The recipe by the repository's extractor. Raises NotDerivable for one that Zoo does not have."""
    found = config_of(network.repository, PROCESSORS[0])
    if not found:
        nested = config_of(network.repository, PROCESSORS[1]).get("feature_extractor")
        found = nested if isinstance(nested, dict) else {}
    if not found:
        raise network.refuse(f"it has no {PROCESSOR}, which says how sounds are prepared")
    kind = found.get("feature_extractor_type") or _usual_kind(network)
    if kind not in _KINDS:
        raise network.refuse(f"its sounds are prepared by {str(kind)[:80]}; Zoo has {', '.join(_KINDS)}")
    settings = {name: value for name, value in found.items() if name not in _DROPPED}
    large = next((n for n, v in settings.items() if isinstance(v, int | float) and abs(v) > _MOST_SETTING), "")
    if large:
        raise network.refuse(f"{large[:80]} in {PROCESSOR} is more than {_MOST_SETTING:,}")
    if settings.get("dither"):
        raise network.refuse("its sounds are prepared with random noise (dither), so that no answer repeats")
    rate = positive(network.repository, found.get("sampling_rate", 16000), f"sampling_rate in {PROCESSOR}")
    recipe = {
        "kind": "sound",
        "extractor": kind,
        "settings": settings,
        "sample_rate": rate,
        "max_seconds": max_seconds,
    }
    if kind == "Wav2Vec2FeatureExtractor":
        config = network.config
        masked = config.get("model_type") in _MASKED and config.get("feat_extract_norm") == "layer"
        return recipe | {"masked": masked, "least_samples": conv_samples(network)}
    if kind == "ASTFeatureExtractor":
        frames = positive(network.repository, found.get("max_length", 1024), f"max_length in {PROCESSOR}")
        window = (_FBANK_SAMPLES + (frames - 1) * _FBANK_HOP) / rate
        return recipe | {"least_samples": _FBANK_SAMPLES, "window_seconds": window}
    return recipe | {"window_seconds": positive(network.repository, found.get("chunk_length", 30), "chunk_length")}


def sound_inputs(network: NetworkClass, recipe: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Inputs of the signature, and limits of a batch."""
    settings, repository = recipe["settings"], network.repository
    if recipe["extractor"] == "Wav2Vec2FeatureExtractor":
        inputs: list[dict[str, Any]] = [
            {"name": "input_values", "datatype": "FP32", "shape": (-1, -1)},
            {"name": "attention_mask", "datatype": "INT64", "shape": (-1, -1)},
        ]
        length = {"length_of": "input_values", "max_length": int(recipe["max_seconds"] * recipe["sample_rate"])}
        rows = {"max_batch_size": 8, "cpu_batch_size": 4} if recipe["masked"] else {"max_batch_size": 1}
        return inputs, {**rows, **length, "min_length": recipe["least_samples"]}
    if recipe["extractor"] == "ASTFeatureExtractor":
        mels = positive(repository, settings.get("num_mel_bins", 128), f"num_mel_bins in {PROCESSOR}")
        shape: tuple[int, ...] = (-1, settings.get("max_length", 1024), mels)
        return [{"name": "input_values", "datatype": "FP32", "shape": shape}], {"max_batch_size": 8}
    mels = positive(repository, settings.get("feature_size", 80), f"feature_size in {PROCESSOR}")
    hop = positive(repository, settings.get("hop_length", 160), f"hop_length in {PROCESSOR}")
    shape = (-1, mels, int(recipe["window_seconds"]) * recipe["sample_rate"] // hop)
    return [{"name": "input_features", "datatype": "FP32", "shape": shape}], {"max_batch_size": 8, "cpu_batch_size": 4}


def conv_samples(network: NetworkClass) -> int:
    """Samples of the first frame that the convolutions in front of the network give. Raises NotDerivable."""
    kernels, strides = (network.config.get(name) for name in ("conv_kernel", "conv_stride"))
    if not (isinstance(kernels, list) and isinstance(strides, list) and len(kernels) == len(strides)):
        raise network.refuse("its config.json has no conv_kernel and conv_stride of one length")
    samples, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        samples += (positive(network.repository, kernel, "conv_kernel in config.json") - 1) * step
        step *= positive(network.repository, stride, "conv_stride in config.json")
    return samples


def _usual_kind(network: NetworkClass) -> str:
    import transformers.models.auto.feature_extraction_auto as auto

    known: Any = auto  # untyped upstream
    return str(known.FEATURE_EXTRACTOR_MAPPING_NAMES.get(str(network.config.get("model_type")), "nothing"))
