"""Networks of transformers for sounds."""

from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.extractor import PROCESSORS, sound_inputs, sound_recipe
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["EMBEDDING", "PLANNERS", "TASKS", "plan_sound_classifier", "plan_sound_encoder"]

EMBEDDING = "feature-extraction"
"""The task under which hubs list encoders of sounds, as they do those of texts."""

CLASSIFIED_SECONDS = 30.0
"""Longest sound of a classifier: attention over a sound takes memory by the square of its length."""


def plan_sound_classifier(network: NetworkClass) -> CardPlan:
    """The plan of a classifier of sounds. Raises NotDerivable."""
    count, classes = class_fields(network)
    recipe = sound_recipe(network, CLASSIFIED_SECONDS)
    inputs, batching = sound_inputs(network, recipe)
    fields, _ = network.fields("audio-classification", "AutoModelForAudioClassification", num_labels=count)
    fields |= {
        **classes,
        "raw_input": "audio",
        "signature": {
            "inputs": inputs,
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": (-1, count)}],
        },
        "recipe": recipe,
        "batching": batching,
    }
    roles = {**weight_files(network.repository), "config": "config.json"}
    return CardPlan("transformers", fields, roles, tuple(n for n in PROCESSORS if n in network.repository.files))


def plan_sound_encoder(network: NetworkClass) -> CardPlan:
    """The plan of an encoder of sounds, whose frames are pooled, or of a network's encoder alone. Raises NotDerivable."""
    recipe = sound_recipe(network, CLASSIFIED_SECONDS)
    inputs, batching = sound_inputs(network, recipe)
    if network.config.get("add_adapter"):
        raise network.refuse("its frames pass through an adapter (add_adapter), which Zoo does not pool")
    built: Any
    fields, built = network.fields(
        EMBEDDING, "AutoModel", part="encoder" if network.config.get("is_encoder_decoder") else ""
    )
    fields |= {
        "family": "transformer",
        "raw_input": "audio",
        "signature": {
            "inputs": inputs,
            "outputs": [{"name": "embedding", "datatype": "FP32", "shape": (-1, built.config.hidden_size)}],
        },
        "recipe": recipe,
        "batching": batching,
    }
    roles = {**weight_files(network.repository), "config": "config.json"}
    return CardPlan("transformers", fields, roles, tuple(n for n in PROCESSORS if n in network.repository.files))


_OF_WAVEFORMS = ("Data2VecAudio", "Hubert", "SEW", "UniSpeech", "UniSpeechSat", "Wav2Vec2", "WavLM")
PLANNERS = {
    "ForAudioClassification": plan_sound_classifier,
    **dict.fromkeys((f"{kind}ForSequenceClassification" for kind in _OF_WAVEFORMS), plan_sound_classifier),
    **dict.fromkeys((f"{kind}Model" for kind in (*_OF_WAVEFORMS, "AST", "Whisper")), plan_sound_encoder),
    **dict.fromkeys((f"{kind}ForPreTraining" for kind in _OF_WAVEFORMS), plan_sound_encoder),
}
TASKS = ("audio-classification", EMBEDDING)
