"""The corridor that every inference call walks through."""

from service.inference.pipeline import Inference, current_call
from service.inference.tensor_request import TensorRequest

__all__ = ["Inference", "TensorRequest", "current_call"]
