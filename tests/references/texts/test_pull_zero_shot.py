"""Networks for natural language inference choose among labels that a caller names, as the pipeline of transformers does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import Given
from service.errors import InvalidInput
from service.references.pull import Pulled
from service.types import Classification, ImageInstance, Item, Options, TextInstance, TextPairInstance
from tests.references.conftest import Puller, served
from tests.support.references.tiny_texts import pair_classifier, zero_shot_classifier

LABELS = ("film", "lamp", "lighthouse")
TEXTS = ["the old lighthouse keeper climbed", "the film was a delight " * 30]


@pytest.fixture(scope="module", params=["contradiction first", "entailment first"])
def pulled(request: pytest.FixtureRequest, pull_tiny: Puller) -> Pulled:
    if request.param == "contradiction first":
        return pull_tiny(zero_shot_classifier)
    return pull_tiny(lambda folder: zero_shot_classifier(folder, ("ENTAILMENT", "neutral", "contradiction")))


def answered(pulled: Pulled, text: str, options: Options, together: bool = True) -> Classification:
    task, runtime = served(pulled)
    task.check(options)
    pairs = task.expand(TextInstance(text.encode()), options, "input")
    assert pairs is not None
    items = task.preprocess(pairs, ["input"] * len(pairs))
    good = [item for item in items if isinstance(item, Item)]
    batches = [good] if together else [[item] for item in good]
    rows = [row for some in batches for row in task.split(runtime.run(task.collate(some)[0]), some)]
    answer = task.join({"logits": np.stack([row["logits"] for row in rows])}, options)
    assert isinstance(answer, Classification)
    return answer


@pytest.mark.parametrize("multi_label", [None, False, True])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
@pytest.mark.parametrize("template", [None, "the {} was a delight"])
@pytest.mark.parametrize("text", TEXTS)
def test_probabilities_equal_those_of_the_pipeline(
    pulled: Pulled, multi_label: bool | None, labels: tuple[str, ...], template: str | None, text: str
) -> None:
    make: Any = transformers.pipeline
    pipe = make("zero-shot-classification", model=pulled.card.reference.removeprefix("local:"), device="cpu")
    more = {} if template is None else {"hypothesis_template": template}
    expected = pipe(text, list(labels), multi_label=bool(multi_label), **more)
    options = Options(candidate_labels=labels, multi_label=multi_label, hypothesis_template=template)
    for together in (True, False):
        answer = answered(pulled, text, options, together)
        assert [label.name for label in answer.labels] == expected["labels"]
        assert [labels[label.index] for label in answer.labels] == expected["labels"]
        np.testing.assert_allclose([label.score for label in answer.labels], expected["scores"], atol=1e-4)


def test_top_k_and_threshold_choose_among_the_labels(pulled: Pulled) -> None:
    every = answered(pulled, TEXTS[0], Options(candidate_labels=LABELS)).labels
    assert len(every) == 3
    assert answered(pulled, TEXTS[0], Options(candidate_labels=LABELS, top_k=2)).labels == every[:2]
    least = every[1].score
    assert answered(pulled, TEXTS[0], Options(candidate_labels=LABELS, threshold=least)).labels == every[:2]


def test_text_is_cut_and_the_sentence_about_a_label_is_not(pulled: Pulled) -> None:
    task, _ = served(pulled)
    long, short = (b"the film was a delight " * 30), b"lamp"
    cut, whole, refused = task.preprocess(
        [TextPairInstance(long, short), TextPairInstance(short, short), TextPairInstance(short, long)],
        ["a", "b", "c"],
    )
    assert isinstance(cut, Item)
    assert isinstance(whole, Item)
    assert cut.tensors["token_type_ids"].sum() == whole.tensors["token_type_ids"].sum()
    assert cut.notes["truncated"] is True
    assert isinstance(refused, InvalidInput)
    assert (refused.field, "fewer than 64 tokens" in refused.message) == ("c.text_pair", True)


def test_label_without_room_beside_the_text_is_named(pulled: Pulled) -> None:
    task, _ = served(pulled)
    options = Options(candidate_labels=("lamp", "the film was a delight " * 30))
    rows = task.expand(TextInstance(b"lamp"), options, "input")
    assert rows is not None
    first, second = task.preprocess(rows, ["input"] * 2)
    assert isinstance(first, Item)
    assert isinstance(second, InvalidInput)
    assert second.field == "options.candidate_labels[1]"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(candidate_labels=()), "options.candidate_labels"),
        (Options(candidate_labels=("a", " ")), "options.candidate_labels[1]"),
        (Options(candidate_labels=("a", "b" * 1001)), "options.candidate_labels[1]"),
        (Options(candidate_labels=("a", "a")), "options.candidate_labels"),
        (Options(candidate_labels=tuple(map(str, range(101)))), "options.candidate_labels"),
        (Options(hypothesis_template="no place"), "options.hypothesis_template"),
        (Options(hypothesis_template="{}" * 501), "options.hypothesis_template"),
        (Options(temperature=1.0), "options.temperature"),
    ],
)
def test_wrong_options_are_named(pulled: Pulled, options: Options, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        served(pulled)[0].check(options)
    assert raised.value.field == field


def test_other_tasks_take_no_labels(pull_tiny: Puller) -> None:
    task, _ = served(pull_tiny(pair_classifier))
    with pytest.raises(InvalidInput, match="no meaning for the task text-classification"):
        task.check(Options(candidate_labels=LABELS))


def test_text_without_labels_or_of_too_many_bytes_is_refused(pulled: Pulled) -> None:
    task, _ = served(pulled)
    for instance, options, field in (
        (TextInstance(b"text"), Options(), "options.candidate_labels"),
        (TextInstance(b" "), Options(candidate_labels=LABELS), "input.text"),
        (TextInstance(b"a" * 300_000), Options(candidate_labels=LABELS), "input.text"),
    ):
        with pytest.raises(InvalidInput) as raised:
            task.expand(instance, options, "input")
        assert raised.value.field == field
    assert task.expand(TextPairInstance(b"a", b"b"), Options(), "input") is None
    assert task.expand(ImageInstance(b""), Options(), "input") is None, "preprocessing refuses it"


def test_braces_of_a_template_are_no_code(pulled: Pulled) -> None:
    task, _ = served(pulled)
    options = Options(candidate_labels=("{0.__class__}", "{:>99999}"), hypothesis_template="{} {0}")
    pairs = task.expand(TextInstance(b"text"), options, "input")
    assert pairs is not None
    assert [pair.text_pair for pair in pairs if isinstance(pair, TextPairInstance)] == [
        b"{0.__class__} {0}",
        b"{:>99999} {0}",
    ]


def test_inference_network_is_taken_for_labels_where_that_is_said(pull_tiny: Puller) -> None:
    assert pull_tiny(pair_classifier).card.task == "text-classification"
    given = pull_tiny(pair_classifier, Given(task="zero-shot-classification"))
    assert given.card.task == "zero-shot-classification"
    stated = pull_tiny(zero_shot_classifier, Given(task="text-classification"))
    assert stated.card.task == "text-classification"
    with pytest.raises(NotDerivable, match="entailment"):
        pull_tiny(lambda folder: zero_shot_classifier(folder, ("bad", "good")))
