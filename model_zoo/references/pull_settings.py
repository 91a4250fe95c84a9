"""Settings of a pull: what a user states as KEY=VALUE beside a reference."""

from collections.abc import Mapping

from model_zoo.errors import NotDerivable

__all__ = ["FILE", "IMAGE_SETTINGS", "MAX_TOKENS", "SETTINGS", "TENSOR_SETTINGS", "check_settings", "settings_of"]

MAX_TOKENS = "max_tokens"
"""The longest text in tokens."""
FILE = "file"
"""Names one of several ONNX files of a repository."""
TENSOR_SETTINGS = ("max_batch_size", "max_length")
"""Of an ONNX file: rows of a batch, and the greatest size of an axis that varies."""
IMAGE_SETTINGS = ("size", "resize_shorter", "interpolation", "mean", "std")
"""Of an ONNX file that classifies images: together they say how an image becomes the input."""

_BY_KIND = {
    "hf": (MAX_TOKENS,),
    "local": (MAX_TOKENS,),
    "onnx": (*TENSOR_SETTINGS, *IMAGE_SETTINGS, FILE),
}
SETTINGS = tuple(dict.fromkeys(name for names in _BY_KIND.values() for name in names))
"""All of them, each once."""


def settings_of(kind: str) -> tuple[str, ...]:
    """Names of the settings that a reference of a kind may have; none for timm and torchvision, whose files say all."""
    return _BY_KIND.get(kind, ())


def check_settings(shown: str, kind: str, settings: Mapping[str, str]) -> None:
    """Raises NotDerivable for a setting that no network of this kind of reference has; `shown` is for its message."""
    known = settings_of(kind)
    for name in settings:
        if name not in known:
            expected = f"expected {' or '.join(known)}" if known else "its files say all"
            raise NotDerivable(shown, f"--set {name[:40]} has no meaning for it; {expected}")
