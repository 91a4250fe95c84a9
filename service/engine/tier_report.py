"""Which runtime serves a model, and why it may: figures from this machine, shown wherever a model is described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tier = Literal["eager", "compiled"]


@dataclass(frozen=True, slots=True)
class TierReport:
    """The outcome of making a model faster. The figures compare the last candidate with fp32 in eager torch (errors) and
    with the eager tier (rates); they are zero where nothing was measured."""

    tier: Tier
    """The tier in service: `eager` (torch, operation by operation; ONNX Runtime for an ONNX file) or `compiled`."""
    precision: str
    """Number format of the tier in service."""
    candidate: str = ""
    """The runtime that was measured, for example `openvino bf16`; empty where none was."""
    speedup: float = 0.0
    """Rows a second of the candidate ÷ of the eager tier, at full batch."""
    rows_per_s: float = 0.0
    """Of the candidate, at full batch, one lane."""
    rows_per_s_before: float = 0.0
    """Of the tier that was in service before, at full batch, one lane."""
    single_speedup: float = 0.0
    """The same ratio for a batch of one row."""
    max_error: float = 0.0
    """Largest absolute difference of an output."""
    cosine: float = 0.0
    """Least cosine similarity of a row's outputs."""
    top1_agreement: float | None = None
    """Share of decisions that are the same; None for models that decide nothing, such as embeddings."""
    compile_s: float = 0.0
    """Seconds that the compilation took, now or when its result was stored."""
    cached: bool = False
    """Whether the compiled code came from disk."""
    reason: str = ""
    """One sentence on why nothing faster is in service; empty where the candidate is."""
    length_step: int = 0
    """Rows a little shorter than a multiple of this are padded up to it, which was measured to be quicker; 0: no row is."""
    processes: int = 0
    """How many processes of its own the network runs in, one for each lane; 0: the server's process."""
    compiler: str = ""
    """The compiler of the tier in service: `openvino`, `aotinductor`, `cuda_graphs`, or two with a `+` between
    them, of which one runs few rows and the other many; `onnxruntime` for an ONNX file that nothing else has compiled; empty
    where torch runs it."""
