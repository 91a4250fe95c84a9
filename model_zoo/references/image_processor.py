"""``preprocessor_config.json`` of transformers → the recipe of an image.

Only processors that Zoo knows are taken, each with its own defaults. Where they do something that the recipe cannot say, the card
is refused here; where a field means something else than it is taken for, the comparison of prepared pictures shows it.
"""

from typing import Any, TypeGuard

from model_zoo.cards.recipes import LONGEST_SIDE
from model_zoo.errors import NotDerivable
from model_zoo.references.repository import Repository, config_of
from model_zoo.references.transformers.vision.processor_class import CONVNEXT, LEVIT, processor_class, with_defaults

__all__ = ["PROCESSOR", "detection_recipe", "image_recipe", "processor_file"]

PROCESSOR = "preprocessor_config.json"
_OF_SEVERAL, _IMAGE_PART = "processor_config.json", "image_processor"
"""The file of a processor for images and texts together, as the library writes it from release 5 on, and its part for images."""
_METHODS = {2: "bilinear", 3: "bicubic"}
"""Numbers of Pillow's resampling filters."""
_FULL_CROP = 384
"""From this size on ConvNeXt's processor takes the whole image, squeezed into a square."""
_CROP = {"crop_rounding": "down"}


def image_recipe(repository: Repository, config: dict[str, Any]) -> dict[str, Any]:
    """The recipe by the repository's processor. Raises NotDerivable."""
    found = _processor(repository)
    name = processor_class(repository, found, config)
    found = with_defaults(name, found)
    return {"kind": "image", **_geometry(repository, found, name), **_pixel_fields(repository, config, found)}


def detection_recipe(
    repository: Repository, config: dict[str, Any], defaults: dict[str, Any], multiple_of: int
) -> dict[str, Any]:
    """The recipe of a detector: of an image in its proportions, or of one that is squeezed to a size.

    Args:
        defaults: of the library's processor, for fields that the repository leaves out.
        multiple_of: pixels; the sides of an image in its proportions are multiples of it.

    Raises:
        NotDerivable: the processor does something else.
    """
    found = {**defaults, **_processor(repository)}
    if found.get("pad_size"):
        raise NotDerivable(repository.name, "its images are padded to pad_size, which Zoo does not have")
    found.pop("do_pad", None)  # to the largest of a batch: a single image is not padded
    size = found["size"]
    if _is_side(size):
        size = {"shortest_edge": size, "longest_edge": found.get("max_size")}
    if isinstance(size, dict) and _is_side(size.get("shortest_edge")):
        longest = size.get("longest_edge") or found.get("max_size")
        if not found.get("do_resize", True) or not _is_side(longest):
            raise NotDerivable(repository.name, f"size in {PROCESSOR} does not bound the longer side")
        return {
            "kind": "scaled_image",
            "shortest_edge": _bounded(repository, size["shortest_edge"], "size"),
            "longest_edge": _bounded(repository, longest, "the longer side of size"),
            "multiple_of": multiple_of,
            **_pixel_fields(repository, config, found),
        }
    geometry = _geometry(repository, {**found, "size": size})
    if not geometry["stretch"]:
        raise NotDerivable(repository.name, "its images are cropped, so that a part of the image would have no boxes")
    return {"kind": "image", **geometry, **_pixel_fields(repository, config, found)}


def processor_file(repository: Repository) -> str:
    """The file that says how images are prepared: that of a processor of images, or else of one for images and texts together."""
    return _OF_SEVERAL if PROCESSOR not in repository.files and _OF_SEVERAL in repository.files else PROCESSOR


def _processor(repository: Repository) -> dict[str, Any]:
    path = processor_file(repository)
    found = config_of(repository, path)
    if path == _OF_SEVERAL:
        part = found.get(_IMAGE_PART)
        found = part if isinstance(part, dict) else {}
    if not found:
        raise NotDerivable(repository.name, f"it has no {PROCESSOR}, which says how images are resized")
    return found


def _pixel_fields(repository: Repository, config: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """How pixels are resampled and normalised."""
    if config.get("num_channels", 3) != 3:
        raise NotDerivable(repository.name, f"its network takes {config['num_channels']} channels; Zoo feeds three")
    for flag in ("do_flip_channel_order", "do_pad"):
        if found.get(flag):
            raise NotDerivable(repository.name, f"its images are prepared by {flag}, which Zoo does not have")
    scale = found.get("rescale_factor", 1 / 255)
    if not found.get("do_rescale", True) or not isinstance(scale, int | float) or abs(scale * 255 - 1.0) > 1e-6:
        raise NotDerivable(repository.name, "its pixels are not scaled from 0..255 to 0..1")
    method = _METHODS.get(found.get("resample", 2))
    if method is None:
        raise NotDerivable(
            repository.name, f"its images are resized by filter {found.get('resample')}; Zoo has 2 and 3"
        )
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if found.get("do_normalize", True):
        mean, std = (_triple(repository, found.get(name), name) for name in ("image_mean", "image_std"))
    return {"interpolation": method, "mean": mean, "std": std}


def _geometry(repository: Repository, found: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Fields of the recipe for its sizes: of the result, of the image before the crop, and whether that keeps its proportions.

    Args:
        name: of the processor, as `processor_class` gives it.
    """
    if not found.get("do_resize", True):
        raise NotDerivable(repository.name, "its images are not resized")
    given = found.get("size")
    size, crop = _sides(repository, given, "size"), _sides(repository, found.get("crop_size"), "crop_size")
    if size is None:
        raise NotDerivable(repository.name, f"size in {PROCESSOR} is none that Zoo understands")
    shortest = "shortest_edge" in given if isinstance(given, dict) else not found.get("default_to_square", True)
    if name == CONVNEXT:
        return _share_of_image(repository, size[0] if shortest else 0, found.get("crop_pct"))
    if not found.get("do_center_crop"):
        if shortest:
            raise NotDerivable(repository.name, "its images keep their proportions, so that they differ in size")
        return {"size": size, "resize_shorter": max(size), "stretch": True}
    if crop is None:
        raise NotDerivable(repository.name, f"crop_size in {PROCESSOR} is none that Zoo understands")
    if name == LEVIT and shortest:
        size = (int(256 / 224 * size[0]),) * 2
    if max(crop) > min(size):
        raise NotDerivable(repository.name, "its crop is larger than the resized image")
    squeezed = {} if shortest else {"stretch_to": size}
    return {"size": crop, "resize_shorter": min(size), "stretch": False, **squeezed, **_CROP}


def _share_of_image(repository: Repository, side: int, share: Any) -> dict[str, Any]:
    """ConvNeXT's sizes, which are none of its crop but a share of the image."""
    if not side or not isinstance(share, int | float) or not 0 < share <= 1:
        raise NotDerivable(repository.name, f"size and crop_pct in {PROCESSOR} are none that Zoo understands")
    if side >= _FULL_CROP:
        return {"size": (side, side), "resize_shorter": side, "stretch": True}
    shorter = _bounded(repository, int(side / share), "the size by crop_pct")
    return {"size": (side, side), "resize_shorter": shorter, "stretch": False, **_CROP}


def _sides(repository: Repository, found: Any, name: str) -> tuple[int, int] | None:
    """(height, width) of a size: a number, or an object with one of two pairs of keys. Raises NotDerivable."""
    pair = (found, found)
    if isinstance(found, dict):
        if "shortest_edge" in found and not found.get("longest_edge"):
            pair = (found["shortest_edge"],) * 2
        else:
            pair = (found.get("height"), found.get("width"))
    height, width = pair
    if not (_is_side(height) and _is_side(width)):
        return None
    return _bounded(repository, height, name), _bounded(repository, width, name)


def _bounded(repository: Repository, side: int, name: str) -> int:
    """A side. Raises NotDerivable where it is longer than a recipe may have it."""
    if side > LONGEST_SIDE:
        raise NotDerivable(
            repository.name, f"{name} in {PROCESSOR} is {str(side)[:20]} pixels; expected at most {LONGEST_SIDE:,}"
        )
    return side


def _is_side(found: Any) -> TypeGuard[int]:
    return isinstance(found, int) and not isinstance(found, bool) and found > 0


def _triple(repository: Repository, found: Any, name: str) -> tuple[float, ...]:
    if isinstance(found, list) and len(found) == 3 and all(isinstance(part, int | float) for part in found):
        return tuple(float(part) for part in found)
    raise NotDerivable(repository.name, f"{name} in {PROCESSOR} does not have three numbers")
