"""The request pipeline: every inference request of either protocol runs through it."""

from service.inference.pipeline import Inference, current_call
from service.inference.tensor_request import TensorRequest

__all__ = ["Inference", "TensorRequest", "current_call"]
