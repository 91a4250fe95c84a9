"""What the server says to the person who started it."""

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from model_zoo.cards.card import Card
from service import banner
from service.registry.states import ModelState
from service.runtime.device import DevicePlan

RAW_INPUTS = [kind for kind in get_args(Card.model_fields["raw_input"].annotation) if isinstance(kind, str)]


def status(name: str, raw_input: str) -> Any:
    card = SimpleNamespace(task="a-task", raw_input=raw_input)
    return SimpleNamespace(name=name, card=card, state=ModelState.READY, reason="", ever_loaded=True)


@pytest.mark.parametrize("raw_input", [*RAW_INPUTS, ""])
def test_a_model_of_any_input_gets_a_line_that_calls_it(raw_input: str, capsys: pytest.CaptureFixture[str]) -> None:
    banner.show_ready([status("mine", raw_input)], DevicePlan("cpu", 2, 1), "127.0.0.1", 8001)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Serving on cpu, 2 × 1 threads:"
    assert said[-1].split(" predict mine ")[1].strip()


def test_every_kind_of_input_of_a_card_is_among_those_tried() -> None:
    assert {"image", "text", "audio", "row", "series", "record"} <= {*RAW_INPUTS}
