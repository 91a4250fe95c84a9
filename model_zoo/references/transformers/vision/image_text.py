"""Networks of transformers that compare an image with texts: CLIP and SigLIP."""

import importlib.util
from typing import Any

from model_zoo.architectures.image_text import IMAGES, TEXTS
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.image_fields import IMAGE_BATCHING
from model_zoo.references.image_processor import PROCESSOR, image_recipe
from model_zoo.references.repository import config_of
from model_zoo.references.text_fields import TOKENIZER_FILES, text_recipe, tokenizer_class
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_matcher"]

TASK = "zero-shot-image-classification"
MOST_LABELS = 100
"""Texts of a row."""
_TYPES = ("clip", "siglip")
_SIGLIP_TOKENS = 64
"""Tokens of every text for SigLIP, as the pipeline of transformers pads it."""
_SENTENCEPIECE = "SiglipTokenizer"
"""A tokenizer of the library that reads ``spiece.model``, and takes capitals and punctuation out of texts."""


def plan_matcher(network: NetworkClass) -> CardPlan:
    """The plan of a network for images and texts. Raises NotDerivable."""
    repository = network.repository
    kind = str(network.config.get("model_type"))
    if kind not in _TYPES:
        raise network.refuse(
            f"it is a network of the type {kind[:80]!r}; of networks for images and texts Zoo takes "
            f"{' and '.join(_TYPES)}"
        )
    fields, built = network.fields(TASK, "AutoModelForZeroShotImageClassification")
    config: Any = built.config  # the library's own, with its defaults
    # Neither network knows its padding by the number: CLIP takes the features of a text's end, which see nothing behind it.
    texts = {**config.text_config.to_dict(), "pad_token_id": None}
    fixed = kind == "siglip"
    if fixed and texts["max_position_embeddings"] < _SIGLIP_TOKENS:
        raise network.refuse(
            f"its texts have {texts['max_position_embeddings']} positions, and the pipeline pads them to {_SIGLIP_TOKENS}"
        )
    settings = config_of(repository, "tokenizer_config.json")
    text = text_recipe(repository, texts, network.given, most=_SIGLIP_TOKENS if fixed else None)
    if fixed and text["max_tokens"] != _SIGLIP_TOKENS:
        raise network.refuse(f"its texts have {_SIGLIP_TOKENS} tokens, and not {text['max_tokens']}")
    image = image_recipe(repository, config.vision_config.to_dict())
    masked = fixed and _gives_mask(network, settings)
    dimensions = _dimensions(config)
    tokens = _SIGLIP_TOKENS if fixed else -1
    ids = [
        {"name": name, "datatype": "INT64", "shape": (-1, -1, tokens)}
        for name in ("input_ids", *(("attention_mask",) if masked else ()))
    ]
    fields |= {
        "raw_input": "image",
        "activation": "sigmoid" if fixed else "softmax",
        "signature": {
            "inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": (-1, 3, *image["size"])}, *ids],
            "outputs": [
                {"name": "logits", "datatype": "FP32", "shape": (-1, -1)},
                {"name": IMAGES, "datatype": "FP32", "shape": (-1, dimensions)},
                {"name": TEXTS, "datatype": "FP32", "shape": (-1, -1, dimensions)},
            ],
        },
        "recipe": {
            "kind": "labelled_image",
            "image": image,
            "text": text,
            "vocabulary": texts["vocab_size"],
            "fixed_length": fixed,
            "simplified": _simplifies(network, settings),
        },
        "batching": {**IMAGE_BATCHING, "length_of": "input_ids", "max_length": MOST_LABELS},
    }
    roles = {**weight_files(repository), "config": "config.json", "tokenizer": "tokenizer.json"}
    extra = tuple(name for name in (*TOKENIZER_FILES, "spiece.model") if name in repository.files)
    return CardPlan("transformers", fields, roles, (PROCESSOR, *extra))


def _dimensions(config: Any) -> int:
    """Of an embedding. SigLIP has them by its encoders: of texts by a projection, of images as they are."""
    found = getattr(config, "projection_dim", None)
    return int(config.vision_config.hidden_size if found is None or config.model_type == "siglip" else found)


def _gives_mask(network: NetworkClass, settings: dict[str, Any]) -> bool:
    """Whether the makers' tokenizer gives a mask of the padding, which the pipeline passes on."""
    names: Any = settings.get("model_input_names")
    if not isinstance(names, list):
        names = getattr(tokenizer_class(network.config, settings), "model_input_names", ("attention_mask",))
    return "attention_mask" in names


def _simplifies(network: NetworkClass, settings: dict[str, Any]) -> bool:
    """Whether the makers' tokenizer changes texts before it splits them. Raises NotDerivable where it cannot be asked."""
    if settings.get("tokenizer_class") != _SENTENCEPIECE:
        return False
    if not settings.get("do_lower_case", True):
        raise network.refuse(f"its {_SENTENCEPIECE} keeps capitals, which Zoo does not have")
    if importlib.util.find_spec("sentencepiece") is None:
        raise network.refuse(
            f"its makers' {_SENTENCEPIECE} needs the Python package sentencepiece, which is not installed, so that "
            "its answers cannot be compared"
        )
    return True


PLANNERS = {"CLIPModel": plan_matcher, "SiglipModel": plan_matcher, "Siglip2Model": plan_matcher}
TASKS = (TASK,)
