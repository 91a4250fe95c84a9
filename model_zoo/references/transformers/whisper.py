"""Whisper of transformers: transcripts window by window, token by token, with timestamps."""

from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.common_fields import positive
from model_zoo.references.repository import config_of
from model_zoo.references.text_fields import TOKENIZER_FILES
from model_zoo.references.transformers.extractor import PROCESSORS, sound_inputs, sound_recipe
from model_zoo.references.transformers.generation import GENERATED
from model_zoo.references.transformers.generation_rules import check_rules
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.transformers.prompt import (
    GENERATION,
    NEUTRAL_RULES,
    dropped_rules,
    name_dropped,
    token_numbers,
)
from model_zoo.references.transformers.sound import EMBEDDING, plan_sound_encoder
from model_zoo.references.transformers.tokenizer_file import require_tokenizer_file
from model_zoo.references.weight_files import weight_files

__all__ = ["WHISPER_RULES", "plan_whisper"]

RECORDED_SECONDS = 600.0
"""Longest recording."""
_KEPT = ("eos_token_id", "pad_token_id", "decoder_start_token_id", "suppress_tokens", "begin_suppress_tokens")

WHISPER_RULES: dict[str, Any] = {
    **NEUTRAL_RULES,
    "bad_words_ids": None,
    "condition_on_prev_tokens": False,
    "compression_ratio_threshold": None,
    "logprob_threshold": None,
    "no_speech_threshold": None,
    "prompt_ids": None,
}
"""Fields of its GenerationConfig that may change a transcript → the value without effect. The last ones repeat or skip
windows."""


def plan_whisper(network: NetworkClass) -> CardPlan:
    """The plan of a network that transcribes window by window, or of its encoder. Raises NotDerivable."""
    if network.given.task == EMBEDDING:
        return plan_sound_encoder(network)
    repository, config = network.repository, network.config
    require_tokenizer_file(repository)
    rules = config_of(repository, GENERATION)
    recipe = sound_recipe(network, RECORDED_SECONDS)
    if recipe["extractor"] != "WhisperFeatureExtractor":
        raise network.refuse(f"its sounds are prepared by {recipe['extractor']}, not by WhisperFeatureExtractor")
    inputs, _ = sound_inputs(network, recipe)
    frames = inputs[0]["shape"][2]
    steps = positive(repository, config.get("max_source_positions"), "max_source_positions in config.json")
    prompt, languages = _prompt(network, rules)
    no_timestamps = _number(network, rules, "no_timestamps_token_id")
    vocabulary = positive(repository, config.get("vocab_size"), "vocab_size in config.json")
    positions = positive(repository, config.get("max_target_positions"), "max_target_positions in config.json")
    if no_timestamps + 1 + steps >= vocabulary or positions <= len(prompt) + 1:
        raise network.refuse("its timestamps are beyond its tokens, or its decoder has too few positions")
    generation = {name: rules[name] for name in _KEPT if rules.get(name) is not None}
    check_rules(repository, generation, GENERATION, vocabulary)
    stop = _number(network, rules, "eos_token_id")
    initial = token_numbers(rules.get("max_initial_timestamp_index"))
    recipe["windows"] = {
        "prompt": prompt,
        "languages": languages,
        "first_timestamp": no_timestamps + 1,
        "max_initial_timestamp": initial[0] if initial else None,
        "timestamp_seconds": recipe["window_seconds"] / steps,
        "frame_seconds": recipe["window_seconds"] / frames,
        "stop_id": stop,
        "most_new_tokens": positions - len(prompt),
    }
    window = recipe.pop("window_seconds")
    fields, _ = network.fields("automatic-speech-recognition", "AutoModelForSpeechSeq2Seq")
    fields["architecture"]["arguments"]["generation"] = {"pad_token_id": stop, **generation}
    fields |= {
        "family": "transformer",
        "raw_input": "audio",
        "signature": {
            "inputs": [*inputs, {"name": "max_new_tokens", "datatype": "INT64", "shape": (-1, 1)}],
            "outputs": GENERATED,
        },
        "recipe": recipe | {"max_seconds": max(RECORDED_SECONDS, window)},
        "batching": {"max_batch_size": 8, "cpu_batch_size": 4},
    }
    roles = {**weight_files(repository), "config": "config.json", "tokenizer": "tokenizer.json"}
    beside = (*TOKENIZER_FILES, *PROCESSORS, GENERATION, "normalizer.json")
    notes = name_dropped(fields, dropped_rules(repository, {}, generation, WHISPER_RULES))
    return CardPlan("transformers", fields, roles, tuple(name for name in beside if name in repository.files), notes)


def _prompt(network: NetworkClass, rules: dict[str, Any]) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """The tokens with which the library begins an answer without further options, and the languages that it knows."""
    start = _number(network, rules, "decoder_start_token_id")
    known, tasks = rules.get("lang_to_id"), rules.get("task_to_id")
    languages = known if isinstance(known, dict) else {}
    language, task = rules.get("language"), rules.get("task")
    prompt: list[int | None] = [start]
    forced = rules.get("forced_decoder_ids", network.config.get("forced_decoder_ids"))
    if language is None and task is None and isinstance(forced, list):
        prompt += [pair[1] for place, pair in enumerate(forced, 1) if isinstance(pair, list) and pair[0] == place]
    if language is not None:
        found = languages.get(str(language), languages.get(f"<|{language}|>"))
        if found is None:
            raise network.refuse(f"its generation_config.json names the language {str(language)[:50]!r} and has no id")
        prompt[1:2] = [found]
    elif languages and (len(prompt) == 1 or prompt[1] is None):
        prompt[1:2] = [None]
    if (task is not None or language is not None) and isinstance(tasks, dict):
        number = tasks.get(task or "transcribe")
        prompt = [token for token in prompt if token not in tasks.values()] + [number]
    if prompt[-1] == rules.get("no_timestamps_token_id"):
        prompt.pop()
    numbers = tuple(token_numbers(list(languages.values())))
    if None in prompt[2:] or (None in prompt and not numbers):
        raise network.refuse("its generation_config.json does not say how an answer begins")
    return tuple(prompt), numbers if None in prompt else ()


def _number(network: NetworkClass, rules: dict[str, Any], name: str) -> int:
    found = token_numbers(rules.get(name))
    if len(found) != 1:
        raise network.refuse(f"{GENERATION} has no {name}, so that nothing says where parts begin and end")
    return found[0]
