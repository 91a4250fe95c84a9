"""The tensors of a network: names, datatypes and shapes."""

from typing import Annotated, Literal

from pydantic import Field

from model_zoo.cards.part import CardPart

__all__ = [
    "FEATURES",
    "NO_TOKEN",
    "RANKED_IDS",
    "Datatype",
    "Signature",
    "TensorSpec",
]

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
"""Datatype names of the Open Inference Protocol."""


FEATURES = "features"
"""An output that a network may have beside those of its signature: its features, for heads on the same backbone. Clients never
see it. A network whose first output is its features, such as an embedding, has them under that name only."""


RANKED_IDS = "token_ids"
"""An output of ids beside the output of their scores, best first. Ids with nearly equal scores may change places by rounding."""
NO_TOKEN = -1
"""Fills the ids of generated tokens where a row of a batch ended before others. Tasks cut it off."""


class TensorSpec(CardPart):
    """Name, datatype and shape of one tensor. A leading -1 counts rows; any other -1 varies from batch to batch."""

    name: str = Field(min_length=1)
    datatype: Datatype
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(min_length=1)


class Signature(CardPart):
    """The tensors of a served network, in the order in which clients see them."""

    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
