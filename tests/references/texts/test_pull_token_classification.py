"""Networks that classify tokens give the spans of their makers' pipeline, whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

from model_zoo.errors import NotDerivable
from model_zoo.golden.golden_case import EntitiesExpectation, ExpectedEntity
from service.references.comparison.compared import ComparedAnswers, Unlike
from service.references.comparison.spans import SPANS
from service.references.pull import Pulled
from service.tasks.text.token_classification import EntityAnswers, SpannedItem
from service.types import Entities, Entity, Item, Options, TextInstance
from tests.references.conftest import Puller, served
from tests.support.references.tiny_texts import ENTITY_LABELS, token_classifier

TEXTS = [
    "the old lighthouse keeper climbed the stairs",
    "Ich hätte gern zwei Brötchen 🥐, bitte! [SEP] lamp",
    "?",
    "each evening to light the lamp " * 30,
    "  lamp\n\tlight  ",
]


@pytest.fixture(scope="module")
def pulled(pull_tiny: Puller) -> Pulled:
    return pull_tiny(token_classifier)


def answers(pulled: Pulled, texts: list[str], together: bool, **options: Any) -> list[Entities]:
    task, runtime = served(pulled)
    items = task.preprocess([TextInstance(text.encode()) for text in texts], ["input"] * len(texts))
    good = [item for item in items if isinstance(item, Item)]
    assert len(good) == len(texts)
    batches = [good] if together else [[item] for item in good]
    rows = [row for batch in batches for row in task.split(runtime.run(task.collate(batch)[0]), batch)]
    found = [task.postprocess(row, item, Options(**options)) for row, item in zip(rows, good, strict=True)]
    return [one for one in found if isinstance(one, Entities)]


@pytest.mark.parametrize("together", [True, False])
def test_spans_equal_those_of_the_pipeline(pulled: Pulled, together: bool) -> None:
    make: Any = transformers.pipeline
    folder = pulled.card.reference.removeprefix("local:")
    pipe = make("token-classification", model=folder, device="cpu", aggregation_strategy="simple")
    pipe.tokenizer.model_max_length = 64
    for text, answer in zip(TEXTS, answers(pulled, TEXTS, together), strict=True):
        expected = pipe(text)
        assert expected
        spans = [(one.label, one.start, one.end) for one in answer.entities]
        assert spans == [(one["entity_group"], one["start"], one["end"]) for one in expected]
        scores = [float(one["score"]) for one in expected]
        np.testing.assert_allclose([one.score for one in answer.entities], scores, atol=1e-4)
        assert all(one.text == text[one.start : one.end] for one in answer.entities)


def test_padding_is_cut_off_the_outputs(pulled: Pulled) -> None:
    task, runtime = served(pulled)
    items = task.preprocess([TextInstance(text.encode()) for text in TEXTS], ["input"] * len(TEXTS))
    good = [item for item in items if isinstance(item, Item)]
    for item, row in zip(good, task.split(runtime.run(task.collate(good, 64)[0]), good), strict=True):
        assert row["logits"].shape == (item.length, len(ENTITY_LABELS))
    assert good[3].notes["truncated"] is True


def test_threshold_leaves_out_spans(pulled: Pulled) -> None:
    (every,), (some,) = answers(pulled, TEXTS[:1], True), answers(pulled, TEXTS[:1], True, threshold=0.6)
    assert some.entities == tuple(one for one in every.entities if one.score >= 0.6)
    assert len(some.entities) < len(every.entities)


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["B-PER", "I-PER", "O"], [("PER", 0, 3)]),
        (["B-PER", "B-PER", "I-PER"], [("PER", 0, 1), ("PER", 2, 5)]),
        (["I-PER", "I-PER", "O"], [("PER", 0, 3)]),  # a span may begin without a prefix for it
        (["B-PER", "I-LOC", "I-LOC"], [("PER", 0, 1), ("LOC", 2, 5)]),
        (["O", "O", "O"], []),
    ],
)
def test_tokens_of_one_label_make_a_span_until_another_begins(
    pulled: Pulled, classes: list[str], expected: list[tuple[str, int, int]]
) -> None:
    logits = np.zeros((5, len(ENTITY_LABELS)), np.float32)
    for i, name in enumerate(classes, 1):
        logits[i, ENTITY_LABELS.index(name)] = 3.0
    spans = np.array([[0, 0], [0, 1], [2, 3], [4, 5], [0, 0]], np.int32)
    item = SpannedItem({}, 5, text="a b c", spans=spans, added=np.array([1, 0, 0, 0, 1], np.bool_))
    answer = EntityAnswers(pulled.card, ENTITY_LABELS).postprocess({"logits": logits}, item, Options())
    assert isinstance(answer, Entities)
    assert [(one.label, one.start, one.end) for one in answer.entities] == expected


def test_golden_case_wants_a_span_of_its_label_at_its_place(pulled: Pulled) -> None:
    task, _ = served(pulled)
    found = Entities((Entity("PER", 0.9, 0, 5, "Alice"),))

    def problem(label: str, start: int, end: int) -> str | None:
        expect = EntitiesExpectation(entities=(ExpectedEntity(label=label, start=start, end=end),))
        return task.golden_problem(expect, found, {})

    assert problem("PER", 1, 9) is None
    assert problem("LOC", 0, 5) == "expected LOC at 0..5, got PER at 0..5"
    assert problem("PER", 5, 9) is not None


def test_other_spans_and_other_probabilities_are_no_agreement(pulled: Pulled) -> None:
    task, runtime = served(pulled)
    (item,) = task.preprocess([TextInstance(b"lamp light")], ["input"])
    assert isinstance(item, Item)
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    powers = np.exp(row["logits"].astype(np.float64))
    right = (powers / powers.sum(-1, keepdims=True)).tolist()
    found = answers(pulled, ["lamp light"], True)[0].entities
    spans = [{"entity_group": one.label, "start": one.start, "end": one.end} for one in found]

    def difference(probabilities: Any, entities: Any) -> float:
        given = {"probabilities": probabilities, "entities": entities}
        return SPANS.difference(ComparedAnswers(pulled.card, task, item, row, given))

    assert difference(right, spans) < 1e-6
    with pytest.raises(Unlike, match="other spans"):
        difference(right, spans[:-1])
    with pytest.raises(Unlike, match="3 × 5 values, and Zoo 4 × 5"):
        difference(right[:3], spans)
    assert difference((np.array(right) + 0.5).tolist(), spans) > SPANS.bound


def test_network_of_one_class_is_refused(pull_tiny: Puller) -> None:
    with pytest.raises(NotDerivable, match="one number, not classes"):
        pull_tiny(lambda folder: token_classifier(folder, ("O",)))
