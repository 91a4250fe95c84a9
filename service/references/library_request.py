"""What the process of the makers' library is asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from model_zoo.golden.golden_case import GoldenInput


class LibraryRequest(BaseModel):
    """A network and the inputs that the library answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: Literal["timm", "torchvision", "transformers", "sentence-transformers"]
    folder: str
    """The repository's files in their own layout."""
    published: str = ""
    """Of torchvision: the name that it gives its weights."""
    adapter: str | None = None
    """The folder of an adapter of peft for this network."""
    labels: tuple[str, ...] = ()
    """Names of the classes in the order of the logits, which the repository may not say; empty for a network without classes."""
    task: str
    part: Literal["", "image", "text"] = ""
    """Of a network for images and texts: the encoder that the task is about, if it is one of the two."""
    max_tokens: int | None = None
    generation: dict[str, Any] | None = None
    """Of a network that writes text: fields of the library's GenerationConfig."""
    first_timestamp: int | None = None
    """Of a network that writes timestamps: the token id of the first one."""
    inputs: tuple[GoldenInput, ...]
    pictures: bool = False
    """Whether the answers are followed by the pictures of `comparison.pictures`, as the library prepares them."""
