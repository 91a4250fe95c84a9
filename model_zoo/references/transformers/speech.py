"""Networks of transformers that transcribe speech."""

import math
from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.common_fields import positive
from model_zoo.references.repository import config_of
from model_zoo.references.transformers.extractor import PROCESSORS, sound_inputs, sound_recipe
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.transformers.prompt import name_dropped
from model_zoo.references.transformers.sound import EMBEDDING, plan_sound_encoder
from model_zoo.references.transformers.whisper import plan_whisper
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_ctc"]

CTC_SECONDS, CHUNK_SECONDS = 600.0, 30.0
"""Longest recording, and the part of it that the network reads at once."""
MOST_LOGITS = 16_000_000
"""Of a whole recording, which its answer holds in memory: a network of many tokens takes shorter ones."""

_LANGUAGE_MODEL = "language_model/"
"""Folder of a model of words, by which the makers choose among transcripts."""
_VOCABULARY = ("vocab.json", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")


def plan_ctc(network: NetworkClass) -> CardPlan:
    """The plan of a network that tells the token of each frame, or of its encoder. Raises NotDerivable."""
    if network.given.task == EMBEDDING:
        return plan_sound_encoder(network)
    repository = network.repository
    count = positive(repository, network.config.get("vocab_size"), "vocab_size in config.json")
    recipe = sound_recipe(network, CTC_SECONDS)
    if recipe["extractor"] != "Wav2Vec2FeatureExtractor":
        raise network.refuse(f"its sounds are prepared by {recipe['extractor']}, with which Zoo reads no frames")
    settings = config_of(repository, "tokenizer_config.json")
    tokens = _tokens(network, settings, count)
    strides = network.config["conv_stride"]
    frame = math.prod(strides)
    seconds = min(CTC_SECONDS, MOST_LOGITS // count * frame / recipe["sample_rate"])
    recipe |= {
        "max_seconds": float(math.floor(max(seconds, CHUNK_SECONDS))),
        "ctc": {**_decoding(network, settings, tokens), "frame_samples": frame, "chunk_seconds": CHUNK_SECONDS},
    }
    inputs, batching = sound_inputs(network, {**recipe, "max_seconds": CHUNK_SECONDS})
    fields, _ = network.fields("automatic-speech-recognition", "AutoModelForCTC")
    fields |= {
        "labels": "labels.txt",
        "class_names": tuple(tokens),
        "raw_input": "audio",
        "signature": {
            "inputs": inputs,
            "outputs": [
                {"name": "logits", "datatype": "FP32", "shape": (-1, -1, count)},
                {"name": "frames", "datatype": "INT64", "shape": (-1, 1)},
            ],
        },
        "recipe": recipe,
        "batching": batching,
    }
    roles = {**weight_files(repository), "config": "config.json"}
    extra = tuple(name for name in (*PROCESSORS, *_VOCABULARY) if name in repository.files)
    models = [path for path in repository.files if path.startswith(_LANGUAGE_MODEL)]
    return CardPlan("transformers", fields, roles, extra, name_dropped(fields, models[:1] and [_LANGUAGE_MODEL[:-1]]))


def _tokens(network: NetworkClass, settings: dict[str, Any], count: int) -> list[str]:
    """The tokens in the order of their ids. Raises NotDerivable where one has no name, or the names depend on a language."""
    found = {**config_of(network.repository, "vocab.json"), **config_of(network.repository, "added_tokens.json")}
    added = settings.get("added_tokens_decoder")
    if isinstance(added, dict):
        found |= {str(one.get("content")): int(number) for number, one in added.items() if isinstance(one, dict)}
    by_id = {number: token for token, number in found.items() if isinstance(number, int)}
    missing = next((number for number in range(count) if number not in by_id), None)
    if missing is not None:
        raise network.refuse(f"its vocab.json has no token number {missing}, of {count:,}; Zoo reads one flat list")
    tokens = [by_id[number] for number in range(count)]
    if any("\n" in token for token in tokens):
        raise network.refuse("a token of its vocab.json has a line end")
    return tokens


def _decoding(network: NetworkClass, settings: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    """How tokens become a text. Raises NotDerivable for a tokenizer of another kind."""
    kind = settings.get("tokenizer_class", "Wav2Vec2CTCTokenizer")
    if kind != "Wav2Vec2CTCTokenizer":
        raise network.refuse(f"its tokens become text by {str(kind)[:80]}; Zoo has Wav2Vec2CTCTokenizer")
    names = config_of(network.repository, "special_tokens_map.json") | settings
    blank = _content(names.get("pad_token", "<pad>"))
    if blank not in tokens:
        raise network.refuse(f"its token for padding, {blank[:50]!r}, is not in its vocab.json")
    return {
        "blank": tokens.index(blank),
        "delimiter": _content(settings.get("word_delimiter_token", "|")),
        "space": str(settings.get("replace_word_delimiter_char", " ")),
        "lower": settings.get("do_lower_case") is True,
        "clean_up": settings.get("clean_up_tokenization_spaces") is True,
    }


def _content(token: Any) -> str:
    return str(token.get("content")) if isinstance(token, dict) else "" if token is None else str(token)


PLANNERS = {"ForCTC": plan_ctc, "WhisperForConditionalGeneration": plan_whisper}
TASKS = ("automatic-speech-recognition",)
