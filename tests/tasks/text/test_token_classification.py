"""Places of tokens are places in the text that was sent, whatever stands before it for the network."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.tasks.text.token_classification import EntityAnswers, SpannedItem, SpannedTokenInput
from service.types import Options, TextInstance

VOCABULARY = {"[CLS]": 0, "query": 1, ":": 2, "anna": 3, "sleeps": 4, "[UNK]": 5}
TEXT = "anna sleeps"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Words; a token for the beginning comes first."""
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", 0)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def card(prefix: str) -> Card:
    shipped = Catalog.from_package().get("all_minilm_l6_v2")
    return shipped.model_copy(update={"recipe": shipped.recipe.model_copy(update={"prefix": prefix})})


def item_of(tokenizer: Path, prefix: str) -> SpannedItem:
    (item,) = SpannedTokenInput(card(prefix), {"tokenizer": tokenizer}).preprocess([TextInstance(TEXT.encode())], ["a"])
    assert isinstance(item, SpannedItem)
    return item


@pytest.mark.parametrize("prefix", ["", "query: ", "query:"])
def test_prefix_of_the_recipe_does_not_move_the_places_of_tokens(tokenizer: Path, prefix: str) -> None:
    item = item_of(tokenizer, prefix)
    assert item.spans[~item.added].tolist() == [[0, 4], [5, 11]]
    assert item.added.tolist() == [True] * (3 if prefix else 1) + [False, False]


def test_answer_of_a_network_with_a_prefix_names_the_text(tokenizer: Path) -> None:
    item = item_of(tokenizer, "query: ")
    logits = np.zeros((5, 2), np.float32)
    logits[:, 0], logits[[1, 3], 1] = 1.0, 5.0  # the network marks a word of the prefix as well
    output = card("").signature.outputs[0].name
    found = EntityAnswers(card(""), ["O", "B-PER"]).postprocess({output: logits}, item, Options())
    assert [(one.label, one.start, one.end, one.text) for one in found.entities] == [("PER", 0, 4, "anna")]


def test_token_that_joins_the_prefix_and_the_text_begins_with_the_text(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "query:": 1, "\u2581anna": 2, "\u2581sleeps": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # type: ignore[assignment]
    path = tmp_path / "joined.json"
    made.save(str(path))
    assert json.loads(path.read_text())["model"]["type"] == "WordLevel"
    item = item_of(path, "query: ")
    assert (item.spans.tolist(), item.added.tolist()) == ([[0, 0], [0, 4], [4, 11]], [True, False, False])
