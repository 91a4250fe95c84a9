"""The corridor that every inference call walks through."""

from service.inference.corridor import Inference, current_call
from service.inference.quick import QuickCall

__all__ = ["Inference", "QuickCall", "current_call"]
