"""The catalog finds cards by name, or suggests similar names."""

import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.errors import InvalidCard, UnknownCard


def test_default_names_have_one_model_of_each_family() -> None:
    catalog = Catalog.from_package()
    assert {catalog.get(name).family for name in catalog.default_names()} == {"cnn", "rnn", "transformer"}


def test_catalog_is_sorted_by_name() -> None:
    catalog = Catalog.from_package()
    assert [card.name for card in catalog] == catalog.names() == sorted(catalog.names())
    assert len(catalog) == len(catalog.names())
    assert "silero_vad" in catalog


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("efficientnet_lite", "efficientnet_lite0"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("MiniLM", "all_minilm_l6_v2"),
        ("all-MiniLM-L6-v2", "all_minilm_l6_v2"),
        ("silero", "silero_vad"),
        ("sliero_vad", "silero_vad"),
    ],
)
def test_unknown_name_suggests_similar_names(asked: str, meant: str) -> None:
    with pytest.raises(UnknownCard, match=f"did you mean {meant}") as refusal:
        Catalog.from_package().get(asked)
    assert refusal.value.near[0] == meant


@pytest.mark.parametrize("asked", ["zzzz", "", "---"])
def test_unknown_name_without_similar_names_suggests_none(asked: str) -> None:
    with pytest.raises(UnknownCard) as refusal:
        Catalog.from_package().get(asked)
    assert refusal.value.near == []


def test_two_cards_of_one_name_are_rejected() -> None:
    card = Catalog.from_package().get("silero_vad")
    with pytest.raises(InvalidCard, match="another card has the same name"):
        Catalog([card, card])


def test_from_folder_reads_cards_and_names_an_invalid_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a card")
    assert Catalog.from_folder(tmp_path).names() == []
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    with pytest.raises(InvalidCard, match=r"broken\.yaml.*family"):
        Catalog.from_folder(tmp_path)


def test_catalog_import_does_not_import_torch() -> None:
    check = (
        "import sys, model_zoo.cards.card, model_zoo.store; from model_zoo.catalog import Catalog; Catalog.from_package();"
        "print([m for m in ('torch', 'timm', 'transformers', 'httpx', 'service') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
