"""The options of one model, which settings and calls may give."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Optimize = Literal["auto", "off"]


class ModelOptions(BaseModel):
    """Options of one model. `None` takes the server's setting, or the card's value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch_size: int | None = Field(default=None, ge=1, le=4096)
    """Most rows in a batch, up to the card's limit. Lower it to bound memory or the time of a batch."""

    max_queue_size: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most rows of the model that wait or run; further requests are rejected at once."""

    max_queue_delay_ms: float | None = Field(default=None, ge=0.0, le=10_000.0)
    """How long an idle device waits for a fuller batch."""

    default_timeout_ms: float | None = Field(default=None, gt=0.0, le=3_600_000.0)
    """Deadline of requests to this model that have none."""

    weight: float = Field(default=1.0, gt=0.0, le=1000.0)
    """Share of a busy device, relative to the weights of other models. Raise it for the model that matters most."""

    pinned: bool = False
    """Whether the model stays loaded when other models need its memory."""

    precision: Precision | None = None
    """Number format of the network; `auto` takes the fastest that passes the checks."""

    optimize: Optimize | None = None
    """`auto` compiles the network in the background and swaps it in if it passes the checks and is faster."""
