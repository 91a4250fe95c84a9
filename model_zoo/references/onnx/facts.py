"""What an ONNX file says of its network."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_zoo.cards.signature import Datatype

__all__ = ["MOST_BYTES", "MOST_TENSORS", "OnnxFacts", "OnnxTensor", "Unusable"]

MOST_BYTES = (2 << 30) - 1
"""Of one file: the limit of Protocol Buffers."""
MOST_TENSORS = 64
"""Inputs and outputs, together."""
MOST_AXES = 16

Axis = Annotated[int, Field(gt=0)] | Annotated[str, Field(min_length=1, max_length=100)]
"""A size, or the name of a size that varies."""


class Unusable(Exception):
    """Zoo does not serve the file. The text is a reason for users, without a path."""


class OnnxTensor(BaseModel):
    """An input or output of the network. ``axes`` is None where the file does not say how many there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    datatype: Datatype
    axes: tuple[Axis, ...] | None


class OnnxFacts(BaseModel):
    """Facts of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    parameters: int
    """Numbers of the weights."""
    family: Literal["cnn", "rnn", "transformer", "mlp"]
    opset: int
    producer: str = Field(max_length=200)
    """Name and version of the program that wrote the file; empty where it does not say."""
    external: tuple[str, ...] = ()
    """Names of the files beside it that hold weights."""
    positions: dict[str, int] = Field(default_factory=dict)
    """Length of the table that an input's numbers are positions in, by the name of the input."""
    ends_in_probabilities: tuple[str, ...] = ()
    """Outputs that a softmax or a sigmoid gives."""
