"""What of this machine decides the last digits of an answer: torch's version and the processor's instructions."""

from __future__ import annotations

import hashlib
from functools import cache

import torch

from model_zoo import strict_json
from service.runtime.compilers.compiled_cache import processor


@cache
def environment() -> str:
    """A fingerprint, 12 hex digits: equal where the same network gives the same answers."""
    text = strict_json.text([str(torch.__version__), processor()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
