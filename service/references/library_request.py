"""What the process of the makers' library is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from model_zoo.golden.golden_case import GoldenInput


class LibraryRequest(BaseModel):
    """A network and the inputs that the library answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: Literal["timm", "transformers", "sentence-transformers"]
    folder: str
    """The repository's files in their own layout."""
    task: str
    max_tokens: int | None = None
    inputs: tuple[GoldenInput, ...]
