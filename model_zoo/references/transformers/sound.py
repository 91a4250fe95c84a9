"""Networks of transformers for sounds."""

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.extractor import PROCESSORS, sound_inputs, sound_recipe
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_sound_classifier"]

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


_OF_WAVEFORMS = ("Data2VecAudio", "Hubert", "SEW", "UniSpeech", "UniSpeechSat", "Wav2Vec2", "WavLM")
PLANNERS = {
    "ForAudioClassification": plan_sound_classifier,
    **dict.fromkeys((f"{kind}ForSequenceClassification" for kind in _OF_WAVEFORMS), plan_sound_classifier),
}
TASKS = ("audio-classification",)
