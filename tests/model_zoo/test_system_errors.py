"""A failed write of safetensors has the number and the path of the system's error."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from model_zoo.system_errors import system_errors


def test_failed_write_of_the_library_is_an_error_of_the_system(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "model.safetensors"
    with pytest.raises(FileNotFoundError) as caught, system_errors(path):
        save_file({"x": np.zeros(1)}, path)
    assert caught.value.filename == str(path)


def test_other_errors_of_the_library_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError, match="header"), system_errors(tmp_path):
        raise SafetensorError("Error while deserializing header: HeaderTooLarge")
