"""Networks of transformers that write text: causal language models, and encoders with a decoder."""

from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.text_fields import TOKENIZER_FILES, text_inputs
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.transformers.prompt import (
    GENERATION,
    dropped_rules,
    generation_settings,
    name_dropped,
    prompt_recipe,
)
from model_zoo.references.weight_files import weight_files

__all__ = ["GENERATED", "GENERATION_BATCHING", "PLANNERS", "TASKS", "plan_text_generator"]

GENERATION_BATCHING = {"max_batch_size": 16, "cpu_batch_size": 8}

GENERATED: list[dict[str, Any]] = [
    {"name": "output_ids", "datatype": "INT64", "shape": (-1, -1)},
    {"name": "probabilities", "datatype": "FP32", "shape": (-1, -1)},
]
"""Outputs: ids of the tokens of the answer, and their probabilities."""


def plan_text_generator(network: NetworkClass) -> CardPlan:
    """The plan of a network that continues or rewrites a text. Raises NotDerivable."""
    import transformers.models.auto.modeling_auto as auto

    repository, model_type = network.repository, str(network.config.get("model_type"))
    if dict(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES).get(model_type) == network.kind:
        task, auto_class, continues = "text-generation", "AutoModelForCausalLM", True
    elif dict(auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES).get(model_type) == network.kind:
        task, auto_class, continues = "text2text-generation", "AutoModelForSeq2SeqLM", False
    else:
        raise network.refuse(f"its network {network.kind[:80]} does not write texts from texts alone")
    generation = generation_settings(repository, network.config, continues)
    recipe = prompt_recipe(repository, network.config, network.given, generation, continues)
    fields, _ = network.fields(task, auto_class)
    fields["architecture"]["arguments"]["generation"] = generation
    notes = name_dropped(fields, dropped_rules(repository, network.config, generation))
    fields |= {
        "family": "transformer",
        "raw_input": "text",
        "signature": {
            "inputs": [*text_inputs(), {"name": "max_new_tokens", "datatype": "INT64", "shape": (-1, 1)}],
            "outputs": GENERATED,
        },
        "recipe": recipe,
        "batching": {**GENERATION_BATCHING, "length_of": "input_ids", "max_length": recipe["max_tokens"]},
    }
    roles = {**weight_files(repository), "config": "config.json", "tokenizer": "tokenizer.json"}
    extra = tuple(name for name in (*TOKENIZER_FILES, GENERATION) if name in repository.files)
    return CardPlan("transformers", fields, roles, extra, notes)


PLANNERS = dict.fromkeys(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel"), plan_text_generator)
TASKS = ("text-generation", "text2text-generation")
