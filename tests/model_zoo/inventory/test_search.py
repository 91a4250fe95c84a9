"""Words find models of the zoo and of the hub catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.inventory.hub_catalog import HubEntry
from model_zoo.inventory.search import Found, search
from model_zoo.store import Store
from tests.support.model_zoo.pulled_cards import add_weights, pulled_card

ENTRIES = (
    HubEntry("timm:test_resnet.x", "image-classification", "A small network.", "none"),
    HubEntry("hf:org/tiny", "feature-extraction", "Embeddings of texts.", "none"),
    HubEntry("hf:org/painter", "text-to-image", "Paints.", "none"),
)
PULLED = pulled_card()
CATALOG = Catalog([*Catalog.from_package(), PULLED])


def find(home: Path, *words: str, catalog: Catalog = CATALOG) -> list[Found]:
    return search(words, catalog, Store(home), ENTRIES, ("feature-extraction", "image-classification"))


def names(found: list[Found]) -> list[str]:
    return [one.name or one.reference for one in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("resnet",), ["timm:test_resnet.x"]),
        (("RESNET", "image"), ["timm:test_resnet.x"]),
        (("resnet", "text"), []),
        (("paints",), ["hf:org/painter"]),
        (("minilm-l6",), ["all_minilm_l6_v2"]),
        (("hf:org/tiny",), ["tiny"]),
        (("voice", "activity"), ["silero_vad"]),
        (("rnn", "activity"), ["silero_vad"]),
        (("vit",), []),
        (("vad",), ["silero_vad"]),
        (("a small network",), ["timm:test_resnet.x"]),
    ],
)
def test_all_words_must_occur(words: tuple[str, ...], expected: list[str], tmp_path: Path) -> None:
    assert names(find(tmp_path, *words)) == expected


def test_no_words_find_everything_models_of_the_zoo_first(tmp_path: Path) -> None:
    assert names(find(tmp_path)) == [*CATALOG.names(), "timm:test_resnet.x", "hf:org/painter"]


def test_entry_is_listed_until_it_is_pulled(tmp_path: Path) -> None:
    assert "hf:org/tiny" in names(find(tmp_path, catalog=Catalog.from_package()))
    alias = PULLED.model_copy(update={"name": "x", "reference": "hf:timm/test_resnet.x"})
    assert "timm:test_resnet.x" not in names(find(tmp_path, catalog=Catalog([alias])))


def test_command_gets_what_is_not_here(tmp_path: Path) -> None:
    add_weights(tmp_path, PULLED, "b" * 64)
    found = {one.name or one.reference: one for one in find(tmp_path)}
    assert found["timm:test_resnet.x"].command == "zoo pull timm:test_resnet.x"
    assert found["silero_vad"].command == "zoo pull silero_vad"
    assert (found["tiny"].downloaded, found["tiny"].command) == (True, "")
    assert (found["hf:org/painter"].pullable, found["hf:org/painter"].command) == (False, "")
    assert found["series_gru"].command == "", "a base without weights"
