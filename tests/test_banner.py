"""Lines that the server prints at start."""

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.catalog import Catalog
from service import banner
from service.registry.states import ModelState
from service.runtime.device import DevicePlan

RAW_INPUTS = [kind for kind in get_args(Card.model_fields["raw_input"].annotation) if isinstance(kind, str)]


def status(name: str, raw_input: str) -> Any:
    card = SimpleNamespace(task="a-task", raw_input=raw_input, golden=(), recipe=None)
    return SimpleNamespace(name=name, card=card, state=ModelState.READY, reason="", ever_loaded=True)


@pytest.mark.parametrize("raw_input", [*RAW_INPUTS, ""])
def test_banner_prints_a_predict_command_for_a_model_of_any_input(
    raw_input: str, capsys: pytest.CaptureFixture[str]
) -> None:
    banner.show_ready([status("mine", raw_input)], DevicePlan("cpu", 2, 1), "127.0.0.1", 8001)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Serving on cpu, 2 × 1 threads:"
    assert lines[-1].split(" predict mine ")[1].strip()


@pytest.mark.parametrize("name", Catalog.from_package().pretrained_names())
def test_banner_prints_an_input_that_the_card_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    card = Catalog.from_package().get(name)
    banner.show_ready(
        [SimpleNamespace(name=name, card=card, state=ModelState.READY, reason="", ever_loaded=True)],  # type: ignore[list-item]
        DevicePlan("cpu", 2, 1),
        "127.0.0.1",
        8001,
    )
    given = shlex.split(capsys.readouterr().out.splitlines()[-1].split(f" predict {name} ")[1])
    if isinstance(card.recipe, TextRecipe) and card.task == "fill-mask":
        assert all(card.recipe.mask_token in text for text in given)
    match card.raw_input:
        case "image" | "audio":
            assert Path(given[0]).is_file()
        case "row":
            assert json.loads(given[0]).keys() <= {
                column.name for column in (*card.recipe.numbers, *card.recipe.categories)
            }  # type: ignore[union-attr]


def test_raw_inputs_of_the_test_are_those_of_cards() -> None:
    assert {"image", "text", "audio", "row", "series", "record"} <= {*RAW_INPUTS}


def test_banner_names_a_unix_socket_for_grpc_and_loopback_for_http(capsys: pytest.CaptureFixture[str]) -> None:
    banner.show_live("unix:/run/zoo.sock", 0, 8002, ["mine"])
    banner.show_ready([status("mine", "image")], DevicePlan("cpu", 2, 1), "unix:/run/zoo.sock", 0)
    shown = capsys.readouterr().out
    assert "  gRPC     unix:/run/zoo.sock\n" in shown
    assert "http://127.0.0.1:8002/metrics" in shown
    assert " predict --server unix:/run/zoo.sock mine " in shown


@pytest.mark.parametrize(
    ("tls", "tokens", "line"),
    [
        (False, False, "Call it from another terminal:\n"),
        (True, False, "Call it from another terminal, with ZOO_TLS_CA_FILE or ZOO_TLS=true:\n"),
        (
            True,
            True,
            "Call it from another terminal, with ZOO_TLS_CA_FILE or ZOO_TLS=true, and ZOO_TOKEN_FILE or ZOO_TOKEN:\n",
        ),
    ],
)
def test_banner_names_what_a_client_needs(
    tls: bool, tokens: bool, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = DevicePlan("cpu", 2, 1)
    banner.show_ready([status("mine", "image")], plan, "127.0.0.1", 8001, tls=tls, tokens=tokens)
    assert line in capsys.readouterr().out
