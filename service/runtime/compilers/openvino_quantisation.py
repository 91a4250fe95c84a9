"""Post-training quantisation of a converted network to int8 by NNCF, in the compile worker.

The ranges of activations come from calibration inputs. Weights become 8-bit integers with a scale for each output channel (Jacob
et al. 2018, arXiv:1712.05877); biases are corrected for the rounding (Nagel et al. 2019, arXiv:1906.04721).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from importlib import metadata
from typing import Any

from service.runtime.compilers.openvino import openvino
from service.types import Tensors


def version() -> str:
    """Of the library; empty where it is not installed. Imports nothing."""
    try:
        return metadata.version("nncf")
    except metadata.PackageNotFoundError:
        return ""


def quantise(
    network: Any, inputs: Sequence[str], batches: Sequence[Tensors], keep: Collection[str], *, transformer: bool
) -> Any:
    """The network in int8, a new one.

    `inputs` are the names of the network's inputs in order, `keep` the names of operations that are not quantised. Attention and
    normalisation of a transformer are treated apart. Raises ImportError, RuntimeError.
    """
    openvino()  # without its telemetry, which the library would load as well
    try:
        import nncf
    except Exception as error:  # a library that it needs is of another version, or the like
        raise ImportError("nncf does not load", name="nncf") from error

    nncf.set_log_level(logging.WARNING)
    dataset = nncf.Dataset([[batch[name] for name in inputs] for batch in batches])
    return nncf.quantize(
        network,
        dataset,
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        ignored_scope=nncf.IgnoredScope(names=sorted(keep)) if keep else None,
    )
