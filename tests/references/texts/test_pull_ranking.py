"""Rerankers are found by what their repositories say, and score as their makers' CrossEncoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.errors import NotDerivable
from model_zoo.golden.golden_case import ScoreExpectation
from model_zoo.references.card_plan import Given
from service.errors import InvalidInput
from service.references.pull import Pulled
from service.tasks.text.pairs import LONGEST_TEXT
from service.types import Item, Options, RankedDocument, Ranking, RankingInstance, TextInstance, TextPairInstance
from tests.references.conftest import Puller, served
from tests.support.references.tiny_repositories import write_page
from tests.support.references.tiny_texts import cross_encoder, earlier_cross_encoder, pair_classifier, reranker

MAKERS = {"transformers": reranker, "sentence-transformers": cross_encoder, "earlier": earlier_cross_encoder}
QUERY = "who climbed the stairs"
DOCUMENTS = ["the keeper climbed the stairs", "a lamp", "the film was a delight " * 30, "?"]


@pytest.fixture(scope="module", params=MAKERS)
def pulled(request: pytest.FixtureRequest, pull_tiny: Puller) -> Pulled:
    return pull_tiny(MAKERS[request.param])


def query(text: str, *documents: str) -> RankingInstance:
    return RankingInstance(text.encode(), tuple(document.encode() for document in documents))


def scores_of(pulled: Pulled, together: bool) -> tuple[Any, dict[str, np.ndarray]]:
    task, runtime = served(pulled)
    pairs = task.expand(query(QUERY, *DOCUMENTS), Options(), "input")
    assert pairs is not None
    items = task.preprocess(pairs, ["input"] * len(pairs))
    good = [item for item in items if isinstance(item, Item)]
    assert len(good) == len(DOCUMENTS)
    batches = [good] if together else [[item] for item in good]
    rows = [row for some in batches for row in task.split(runtime.run(task.collate(some)[0]), some)]
    return task, {"score": np.stack([row["score"] for row in rows])}


@pytest.mark.parametrize("together", [True, False])
def test_scores_equal_those_of_the_cross_encoder(pulled: Pulled, together: bool) -> None:
    from sentence_transformers import CrossEncoder

    network = CrossEncoder(pulled.card.reference.removeprefix("local:"), device="cpu", local_files_only=True)
    expected = network.rank(QUERY, DOCUMENTS)
    task, rows = scores_of(pulled, together)
    answer = task.join(rows, Options())
    assert isinstance(answer, Ranking)
    assert [one.index for one in answer.documents] == [one["corpus_id"] for one in expected]
    np.testing.assert_allclose([one.score for one in answer.documents], [one["score"] for one in expected], atol=1e-4)
    assert task.join(rows, Options(top_k=2)).documents == answer.documents[:2]


def test_scores_have_the_activation_of_their_makers(pull_tiny: Puller) -> None:
    assert pull_tiny(reranker).card.activation == "sigmoid"
    assert pull_tiny(lambda folder: cross_encoder(folder, "Sigmoid")).card.activation == "sigmoid"
    assert pull_tiny(earlier_cross_encoder).card.activation == "identity"
    old = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}
    assert pull_tiny(lambda folder: reranker(folder, **old)).card.activation == "identity"
    with pytest.raises(NotDerivable, match="Tanh"):
        pull_tiny(lambda folder: cross_encoder(folder, "Tanh"))


def test_network_with_one_class_is_a_reranker_where_it_is_said_to_be(pull_tiny: Puller) -> None:
    def unstated(folder: Path) -> Path:
        write_page(reranker(folder), "text-classification")
        return folder

    with pytest.raises(NotDerivable) as raised:
        pull_tiny(unstated)
    assert "--task text-ranking" in raised.value.option
    assert pull_tiny(unstated, Given(task="text-ranking")).card.task == "text-ranking"
    with pytest.raises(NotDerivable, match="gives 3 numbers"):
        pull_tiny(pair_classifier, Given(task="text-ranking"))


def test_equal_scores_keep_the_order_of_the_documents(pulled: Pulled) -> None:
    task, _ = served(pulled)
    answer = task.join({"score": np.array([[0.5], [0.75], [0.5]], np.float32)}, Options())
    assert answer == Ranking((RankedDocument(1, 0.75), RankedDocument(0, 0.5), RankedDocument(2, 0.5)))


@pytest.mark.parametrize(
    ("instance", "field"),
    [
        (query("q"), "input.ranking.documents"),
        (query("q", *["d"] * 1001), "input.ranking.documents"),
        (query(" ", "d"), "input.ranking.query"),
        (query("q", "d", ""), "input.ranking.documents[1]"),
        (query("q", "d" * (LONGEST_TEXT + 1)), "input.ranking.documents[0]"),
        (TextInstance(b"text"), "input"),
    ],
)
def test_wrong_query_is_refused_by_its_place(pulled: Pulled, instance: Any, field: str) -> None:
    task, _ = served(pulled)
    with pytest.raises(InvalidInput) as raised:
        task.expand(instance, Options(), "input")
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("instance", "field"),
    [
        (RankingInstance(b"q", (b"d", b"\xff")), "input.ranking.documents[1]"),
        (RankingInstance(b"\xff", (b"d", b"d")), "input.ranking.query"),
    ],
)
def test_text_of_a_row_is_refused_by_the_field_that_the_caller_sent(
    pulled: Pulled, instance: RankingInstance, field: str
) -> None:
    task, _ = served(pulled)
    rows = task.expand(instance, Options(), "input")
    assert rows is not None
    refused = [found for found in task.preprocess(rows, ["input"] * 2) if isinstance(found, InvalidInput)]
    assert {error.field for error in refused} == {field}


def test_pair_is_one_row(pulled: Pulled) -> None:
    task, _ = served(pulled)
    assert task.expands
    assert task.expand(TextPairInstance(b"q", b"d"), Options(), "input") is None
    item = Item({})
    answer = task.postprocess({"score": np.array([0.25], np.float32)}, item, Options())
    assert answer == Ranking((RankedDocument(0, 0.25),))
    assert task.golden_problem(ScoreExpectation(score=0.3, tolerance=0.1), answer, {}) is None
    assert "off by" in str(task.golden_problem(ScoreExpectation(score=0.5, tolerance=0.1), answer, {}))
