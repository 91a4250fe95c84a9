"""Processors of images that transformers has, and whose arithmetic Zoo has too: their names, and their defaults."""

from typing import Any

from model_zoo.errors import NotDerivable
from model_zoo.references.repository import Repository

__all__ = ["CONVNEXT", "LEVIT", "processor_class", "with_defaults"]

CONVNEXT, LEVIT = "ConvNext", "Levit"
_KNOWN = (
    "Beit",
    "Bit",
    "Blip",
    "ChineseCLIP",
    "CLIP",
    CONVNEXT,
    "DeiT",
    "DINOv3ViT",
    LEVIT,
    "MobileNetV1",
    "MobileNetV2",
    "MobileViT",
    "Pvt",
    "Segformer",
    "Siglip",
    "ViT",
)
"""Without ``ImageProcessor``. Others have steps of their own: EfficientNet's may normalise twice, Perceiver's crops first."""
_DEFAULTS = (
    "size",
    "default_to_square",
    "crop_size",
    "crop_pct",
    "resample",
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "do_flip_channel_order",
    "do_pad",
    "image_mean",
    "image_std",
)


def processor_class(repository: Repository, found: dict[str, Any], config: dict[str, Any]) -> str:
    """The name of a repository's processor without ``ImageProcessor``, as transformers finds it: in the processor's file, else by
    the type of the network. Raises NotDerivable for one that Zoo lacks."""
    named = found.get("image_processor_type") or found.get("feature_extractor_type") or _of_type(config)
    if not named:
        raise NotDerivable(repository.name, "neither its files nor the type of its network name an image processor")
    name = str(named)
    for end in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(end)
    if name not in _KNOWN:
        raise NotDerivable(repository.name, f"its image processor is {str(named)[:80]}, which Zoo does not have")
    return name


def with_defaults(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a processor's file, and for those that it leaves out the values of the library's class of that name."""
    import transformers

    library: Any = getattr(transformers, f"{name}ImageProcessor")
    given = {key: value for key, value in found.items() if value is not None}
    return {**{key: getattr(library, key, None) for key in _DEFAULTS}, **given}


def _of_type(config: dict[str, Any]) -> str:
    from transformers.models.auto import image_processing_auto

    kind = str(config.get("model_type")).removesuffix("_vision_model")
    names: Any = image_processing_auto  # it does not export them
    listed: Any = names.IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or {}
    return str(listed.get("torchvision") or listed.get("pil") or "")
