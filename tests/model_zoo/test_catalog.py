"""The catalog finds cards by name, or suggests similar names."""

import subprocess
import sys
from pathlib import Path

import pytest

import model_zoo.catalog
from model_zoo.catalog import CARDS, Catalog, card_files, parse_card
from model_zoo.errors import InvalidCard, UnknownCard

PACKAGE = Path(model_zoo.catalog.__file__).with_name(CARDS)


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


@pytest.mark.parametrize(
    "text", ["name: !!bool x", "a: !!int ''", "a: !!float ''", "a: !!timestamp x", "[", "- a", "\xff"]
)
def test_bad_card_of_a_home_leaves_the_others_usable(text: str, tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "evil.yaml").write_text(text, "latin-1")
    catalog = Catalog.of_home(tmp_path)
    assert catalog.get("efficientnet_lite0")
    assert set(catalog.damaged) == {"evil"}


def test_home_that_cannot_be_listed_has_no_cards_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for home in (tmp_path / "none", tmp_path / "file", tmp_path / ("a" * 5000)):
        assert Catalog.of_home(home).names() == Catalog.from_package().names()


def test_card_of_a_home_never_replaces_one_of_the_package(tmp_path: Path) -> None:
    package = Catalog.from_package().get("efficientnet_lite0")
    (tmp_path / "cards").mkdir()
    shipped = Path(model_zoo.catalog.__file__).parent / "cards" / "efficientnet_lite0.yaml"
    (tmp_path / "cards" / "efficientnet_lite0.yaml").write_text(
        shipped.read_text("utf-8").replace("summary: A", "summary: No")
    )
    (tmp_path / "cards" / "other.yaml").write_text(shipped.read_text("utf-8"))
    catalog = Catalog.of_home(tmp_path)
    assert catalog.get("efficientnet_lite0") == package
    assert set(catalog.damaged) == {"other"}


def test_cards_of_the_package_are_the_same_by_the_parser_for_cards_of_others() -> None:
    cards = [parse_card(path.read_text(encoding="utf-8"), path.name) for path in card_files(PACKAGE)]
    assert cards == list(Catalog.from_package())
    assert len(cards) > 0


def test_deeply_nested_card_of_a_home_is_named_and_does_not_end_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "deep.yaml").write_text("name: " + "[" * 100_000)
    assert Catalog.of_home(tmp_path).damaged == {"deep": "it is nested too deeply"}
