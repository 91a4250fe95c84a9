"""Errors of the system that safetensors reports as its own, such as a full disk."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

__all__ = ["system_errors"]

_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def system_errors(path: Path | str) -> Iterator[None]:
    """Around a `save_file`: a failed write raises OSError, with its number and the path, as any other write does."""
    try:
        yield
    except SafetensorError as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error
