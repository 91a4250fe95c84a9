"""The base class of the parts of a card, and common types of their fields."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CardPart",
    "FileName",
    "Sha256",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


class CardPart(BaseModel):
    """Base of all parts of a card: frozen; unknown fields and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
