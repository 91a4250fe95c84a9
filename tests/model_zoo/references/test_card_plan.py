"""A setting is of one kind of reference, and of no other."""

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import SETTINGS, check_settings


def test_setting_of_another_kind_of_reference_is_refused() -> None:
    check_settings("hf:org/x", "hf", {"max_tokens": "5"})
    check_settings("onnx:x", "onnx", {"size": "5", "file": "x.onnx"})
    with pytest.raises(NotDerivable, match="--set size has no meaning for it; expected max_tokens"):
        check_settings("hf:org/x", "hf", {"size": "5"})
    with pytest.raises(NotDerivable, match="--set max_tokens has no meaning for it; expected max_batch_size or "):
        check_settings("onnx:x", "onnx", {"max_tokens": "5"})
    with pytest.raises(NotDerivable, match="its files say all"):
        check_settings("timm:x", "timm", {"max_tokens": "5"})
    assert len(set(SETTINGS)) == len(SETTINGS) == 9
