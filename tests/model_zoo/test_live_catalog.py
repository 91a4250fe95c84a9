"""A running process sees the models that are pulled into its home, and keeps those that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_zoo.catalog import CARDS, Catalog
from model_zoo.errors import InvalidCard, UnknownCard
from model_zoo.live_catalog import LiveCatalog
from tests.support.model_zoo.home_cards import write_card


def test_new_card_is_known_after_a_look(tmp_path: Path) -> None:
    live = LiveCatalog.of_home(tmp_path)
    assert live.look() is None
    write_card(tmp_path, "pulled")
    with pytest.raises(UnknownCard):
        live.get("pulled")
    found = live.look()
    assert found is not None
    assert "pulled" not in live, "a look changes nothing that another thread reads"
    assert [card.name for card in live.add(found)] == ["pulled"]
    assert (live.get("pulled").name, "pulled" in live.cards, "pulled" in live.names()) == ("pulled", True, True)
    assert live.look() is None


def test_card_of_a_known_model_stays_as_it_was(tmp_path: Path) -> None:
    write_card(tmp_path, "pulled", summary="First.")
    live = LiveCatalog.of_home(tmp_path)
    write_card(tmp_path, "pulled", summary="A second one.")
    found = live.look()
    assert found is not None
    assert live.add(found) == []
    assert live.get("pulled").summary == "First."
    (tmp_path / CARDS / "pulled.yaml").unlink()
    found = live.look()
    assert found is not None
    live.add(found)
    assert live.get("pulled").summary == "First."


def test_damaged_card_is_named_until_it_is_mended(tmp_path: Path) -> None:
    write_card(tmp_path, "pulled").write_text("name: [", "utf-8")
    live = LiveCatalog.of_home(tmp_path)
    assert set(live.damaged) == {"pulled"}
    with pytest.raises(InvalidCard):
        live.get("pulled")
    write_card(tmp_path, "pulled")
    found = live.look()
    assert found is not None
    assert [card.name for card in live.add(found)] == ["pulled"]
    assert not live.damaged


def test_catalog_without_a_home_does_not_grow(tmp_path: Path) -> None:
    live = LiveCatalog(Catalog.from_package())
    write_card(tmp_path, "pulled")
    assert live.look() is None
    assert live.names() == Catalog.from_package().names()
