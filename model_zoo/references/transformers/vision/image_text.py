"""Networks of transformers that compare an image with texts: CLIP and SigLIP."""

from typing import Any

from model_zoo.architectures.transformers.image_text import IMAGES, TEXTS
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.image_processor import image_recipe, processor_file
from model_zoo.references.repository import config_of
from model_zoo.references.text_fields import TOKENIZER_FILES, text_batching, text_inputs, text_recipe, tokenizer_class
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.transformers.vision.pieces import PIECES, of_sentencepiece, piece_recipes
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_image_text"]

TASK, AUTO_CLASS = "zero-shot-image-classification", "AutoModelForZeroShotImageClassification"
MOST_LABELS = 100
"""Texts of a row."""
_TYPES = ("clip", "siglip")
_SIGLIP_TOKENS = 64
"""Tokens of every text for SigLIP, as the pipeline of transformers pads it."""


def plan_image_text(network: NetworkClass) -> CardPlan:
    """The plan of a network for images and texts, or of one of its two encoders where a user asks for its task.

    Raises NotDerivable.
    """
    kind = str(network.config.get("model_type"))
    if kind not in _TYPES:
        raise network.refuse(
            f"it is a network of the type {kind[:80]!r}; of networks for images and texts Zoo takes "
            f"{' and '.join(_TYPES)}"
        )
    match network.given.task:
        case "image-feature-extraction":
            return _image_tower(network)
        case "feature-extraction":
            return _text_tower(network)
    return _matcher(network)


def _matcher(network: NetworkClass) -> CardPlan:
    """The plan of both encoders together."""
    fields, config = _fields(network, TASK)
    pieces: dict[str, Any] = {}
    if of_sentencepiece(network):
        text, pieces = piece_recipes(network, config.text_config.vocab_size, _SIGLIP_TOKENS)
        fixed, masked = True, _gives_mask(network)
        _check_positions(network, config)
    else:
        text, fixed, masked = _text(network, config)
    image, dimensions = image_recipe(network.repository, config.vision_config.to_dict()), _dimensions(config)
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
            "vocabulary": config.text_config.vocab_size,
            "fixed_length": fixed,
            **({"pieces": pieces} if pieces else {}),
        },
        "batching": {**IMAGE_BATCHING, "length_of": "input_ids", "max_length": MOST_LABELS},
    }
    return _plan(network, fields, images=True, texts=True, pieces=bool(pieces))


def _image_tower(network: NetworkClass) -> CardPlan:
    """The plan of the encoder of images."""
    fields, config = _fields(network, "image-feature-extraction")
    recipe = image_recipe(network.repository, config.vision_config.to_dict())
    fields |= {
        "raw_input": "image",
        "signature": image_signature(tuple(recipe["size"]), _dimensions(config), False),
        "recipe": recipe,
        "batching": IMAGE_BATCHING,
    }
    return _plan(network, fields, images=True)


def _text_tower(network: NetworkClass) -> CardPlan:
    """The plan of the encoder of texts."""
    if of_sentencepiece(network):
        raise network.refuse("its encoder of texts alone needs a tokenizer of sentencepiece, which Zoo does not have")
    fields, config = _fields(network, "feature-extraction")
    recipe, fixed, masked = _text(network, config)
    arguments = dict(fields["architecture"]["arguments"])
    arguments |= {"tokens": _SIGLIP_TOKENS, "masked": masked} if fixed else {}
    output = {"name": "embedding", "datatype": "FP32", "shape": (-1, _dimensions(config))}
    fields |= {
        "architecture": {**fields["architecture"], "arguments": arguments},
        "raw_input": "text",
        "signature": {"inputs": text_inputs(), "outputs": [output]},
        "recipe": {**recipe, "normalize": True},
        "batching": text_batching(recipe["max_tokens"]),
    }
    return _plan(network, fields, texts=True)


def _fields(network: NetworkClass, task: str) -> tuple[dict[str, Any], Any]:
    """Fields of every card, and the library's own configuration, with its defaults. The number of tokens stands in the outer part
    of the card's, where tasks on texts look for it."""
    _, first = network.fields(task, AUTO_CLASS)
    config: Any = first.config
    fields, built = network.fields(task, AUTO_CLASS, vocab_size=config.text_config.vocab_size)
    return fields, built.config


def _text(network: NetworkClass, config: Any) -> tuple[dict[str, Any], bool, bool]:
    """The recipe of a text; whether every text has one length; whether the network is told what is padding."""
    # Neither network knows its padding by the number: CLIP takes the features of a text's end, which see nothing behind it.
    texts = {**config.text_config.to_dict(), "pad_token_id": None}
    if config.model_type != "siglip":
        return text_recipe(network.repository, texts, network.given), False, False
    _check_positions(network, config)
    recipe = text_recipe(network.repository, texts, network.given, most=_SIGLIP_TOKENS)
    if recipe["max_tokens"] != _SIGLIP_TOKENS:
        raise network.refuse(f"its texts have {_SIGLIP_TOKENS} tokens, and not {recipe['max_tokens']}")
    return recipe, True, _gives_mask(network)


def _check_positions(network: NetworkClass, config: Any) -> None:
    """Raises NotDerivable for a SigLIP with fewer positions than the pipeline pads its texts to."""
    positions = config.text_config.max_position_embeddings
    if positions < _SIGLIP_TOKENS:
        raise network.refuse(f"its texts have {positions} positions, and the pipeline pads them to {_SIGLIP_TOKENS}")


def _plan(
    network: NetworkClass,
    fields: dict[str, Any],
    *,
    images: bool = False,
    texts: bool = False,
    pieces: bool = False,
) -> CardPlan:
    """The files of both are fetched in any case: the library reads them together."""
    files = network.repository.files
    roles = {**weight_files(network.repository), "config": "config.json"}
    if texts:
        roles |= {"pieces": PIECES} if pieces else {"tokenizer": "tokenizer.json"}
    processor = processor_file(network.repository)
    others = (processor, "tokenizer.json", *TOKENIZER_FILES, PIECES)
    needed = (processor,) if images else ()
    extra = tuple(dict.fromkeys([*needed, *(name for name in others if name in files)]))
    return CardPlan("transformers", fields, roles, extra)


def _dimensions(config: Any) -> int:
    """Of an embedding. SigLIP has them by its encoders: of texts by a projection, of images as they are."""
    found = getattr(config, "projection_dim", None)
    return int(config.vision_config.hidden_size if found is None or config.model_type == "siglip" else found)


def _gives_mask(network: NetworkClass) -> bool:
    """Whether the makers' tokenizer gives a mask of the padding, which the pipeline passes on."""
    settings = config_of(network.repository, "tokenizer_config.json")
    names: Any = settings.get("model_input_names")
    if not isinstance(names, list):
        names = getattr(tokenizer_class(network.config, settings), "model_input_names", ("attention_mask",))
    return "attention_mask" in names


PLANNERS = {"CLIPModel": plan_image_text, "SiglipModel": plan_image_text, "Siglip2Model": plan_image_text}
TASKS = (TASK,)
