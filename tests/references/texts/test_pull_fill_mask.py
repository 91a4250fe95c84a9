"""Networks that find masked tokens give the candidates of their makers' pipeline, in outputs of a bounded size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.torch import load_file

from model_zoo.errors import NotDerivable
from model_zoo.golden.golden_case import TokensExpectation
from model_zoo.network import load_network
from service.errors import InvalidInput
from service.references.comparison.candidates import CANDIDATES, COMPARED
from service.references.comparison.compared import ComparedAnswers, Unlike
from service.references.pull import Pulled
from service.tasks.text.fill_mask import FillMaskAnswers, MaskedItem
from service.types import FilledMasks, Item, Options, TensorInstance, TextInstance, TextPairInstance
from service.verification.probes import closeness
from tests.references.conftest import Puller, served
from tests.support.references.tiny_texts import albert_mask_filler, mask_filler, roberta_mask_filler

MAKERS = {"bert": mask_filler, "roberta": roberta_mask_filler, "albert": albert_mask_filler}
TEXTS = [
    "the old [MASK] keeper climbed the stairs .",
    "[MASK] lamp, [MASK] light ! [MASK]",
    "[MASK]",
    "Brötchen 🥐 [MASK]?",
    "light the [MASK] " + "each evening to light the lamp " * 30,
]


@pytest.fixture(scope="module", params=MAKERS)
def pulled(request: pytest.FixtureRequest, pull_tiny: Puller) -> Pulled:
    return pull_tiny(MAKERS[request.param])


def rows_of(pulled: Pulled, texts: list[str], length: int = 0, together: bool = True) -> Any:
    task, runtime = served(pulled)
    items = task.preprocess([TextInstance(text.encode()) for text in texts], ["input"] * len(texts))
    good = [item for item in items if isinstance(item, Item)]
    assert len(good) == len(texts), items
    batches = [good] if together else [[item] for item in good]
    return task, good, [row for some in batches for row in task.split(runtime.run(task.collate(some, length)[0]), some)]


def test_embeddings_that_are_the_last_layer_too_are_stored_and_loaded_once(pulled: Pulled) -> None:
    stored = load_file(pulled.files.weights)
    assert sum(tensor.numel() for tensor in stored.values() if tensor.is_floating_point()) == pulled.card.parameters
    network = load_network(pulled.card, pulled.files, share=True)
    assert sum(one.numel() for one in network.parameters()) == pulled.card.parameters


@pytest.mark.parametrize("together", [True, False])
def test_candidates_equal_those_of_the_pipeline(pulled: Pulled, together: bool) -> None:
    make: Any = transformers.pipeline
    pipe = make("fill-mask", model=pulled.card.reference.removeprefix("local:"), device="cpu")
    task, items, rows = rows_of(pulled, TEXTS, together=together)
    for text, item, row in zip(TEXTS, items, rows, strict=True):
        expected = pipe(text, top_k=3, tokenizer_kwargs={"truncation": True, "max_length": 64})
        expected = expected if isinstance(expected[0], list) else [expected]
        answer = task.postprocess(row, item, Options(top_k=3))
        assert isinstance(answer, FilledMasks)
        found = [[(one.token_id, one.token, one.sequence) for one in mask] for mask in answer.masks]
        assert found == [[(one["token"], one["token_str"], one["sequence"]) for one in mask] for mask in expected]
        for mask, wanted in zip(answer.masks, expected, strict=True):
            np.testing.assert_allclose([one.score for one in mask], [one["score"] for one in wanted], atol=1e-4)


def test_outputs_have_the_masks_alone_whatever_the_padding(pulled: Pulled) -> None:
    _, items, rows = rows_of(pulled, TEXTS, 64)
    _, _, alone = rows_of(pulled, TEXTS, together=False)
    assert [row["scores"].shape[0] for row in rows] == [1, 3, 1, 1, 1]
    for row, single in zip(rows, alone, strict=True):
        np.testing.assert_allclose(row["scores"], single["scores"], atol=pulled.card.tolerance.max_abs_error)
        assert row["token_ids"].dtype == np.int64
    assert items[4].notes["truncated"] is True
    assert closeness(pulled.card, list(enumerate(rows)), alone).top1_agreement == 1.0


def test_candidates_of_many_masks_are_bounded_together(pulled: Pulled) -> None:
    task, items, rows = rows_of(pulled, ["[MASK] " * 8])
    with pytest.raises(InvalidInput, match=r"options\.top_k: expected at most 25 for a text with 8 masks"):
        task.postprocess(rows[0], items[0], Options(top_k=100))
    assert len(task.postprocess(rows[0], items[0], Options(top_k=25)).masks) == 8


def test_top_k_is_five_and_at_most_what_the_network_gives(pulled: Pulled) -> None:
    task, items, rows = rows_of(pulled, TEXTS[:1])
    given = pulled.card.signature.outputs[0].shape[-1]
    assert [len(task.postprocess(rows[0], items[0], Options(top_k=k)).masks[0]) for k in (None, 2, 5000)] == [
        5,
        2,
        given,
    ]


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        (TextInstance(b"the lamp"), "expected the mask '[MASK]' for a token to be found, got a text without it"),
        (TextInstance(b"lamp " * 100 + b"[MASK]"), "within its first 64 tokens"),
        (TextInstance(b"[MASK] " * 9), "expected at most 8 masks '[MASK]', got 9"),
        (TextInstance(b" "), "is empty"),
        (TextInstance(b"\xff[MASK]"), "UTF-8"),
        (TextPairInstance(b"[MASK]", b"lamp"), "expected text or tensors"),
    ],
)
def test_text_without_a_mask_is_refused_alone(pulled: Pulled, instance: Any, words: str) -> None:
    task, _ = served(pulled)
    bad, good = task.preprocess([instance, TextInstance(b"[MASK] lamp")], ["input", "other"])
    assert isinstance(bad, InvalidInput)
    assert (bad.field, words in bad.message) == ("input", True), bad.message
    assert isinstance(good, Item)


def test_tensors_without_a_mask_are_refused(pulled: Pulled) -> None:
    task, _ = served(pulled)
    mask_id = pulled.card.recipe.mask_id  # type: ignore[union-attr]
    for count, right in ((0, False), (1, True), (8, True), (9, False)):
        ids = np.array([2, *[mask_id] * count, 3], np.int64)
        row = TensorInstance({"input_ids": ids, "attention_mask": np.ones(len(ids), np.int64)})
        if right:
            assert task.row(row, "row").length == count + 2
        else:
            with pytest.raises(InvalidInput, match=f"expected 1 to 8 masks .token {mask_id}., got {count}"):
                task.row(row, "row")


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_other_words_or_other_probabilities_are_no_agreement(pulled: Pulled) -> None:
    task, items, rows = rows_of(pulled, TEXTS[:1])
    found = task.postprocess(rows[0], items[0], Options(top_k=COMPARED)).masks[0]
    right = [
        {"token": one.token_id, "token_str": one.token, "sequence": one.sequence, "score": one.score} for one in found
    ]

    def difference(answer: Any) -> float:
        return CANDIDATES.difference(ComparedAnswers(pulled.card, task, items[0], rows[0], answer))

    assert difference([right]) == 0.0
    assert difference([[right[1], right[0], *right[2:]]]) == 0.0, "places alone do not count"
    assert difference([[{**right[0], "score": right[0]["score"] - 0.1}, *right[1:]]]) == pytest.approx(0.1)
    assert difference([[{**right[0], "token": 10**6}, *right[1:]]]) >= found[0].score - found[-1].score
    with pytest.raises(Unlike, match="it writes"):
        difference([[{**right[0], "sequence": "other"}, *right[1:]]])
    with pytest.raises(Unlike, match="2 masks, and Zoo 1"):
        difference([right, right])


def test_ids_of_nearly_equal_scores_may_change_places(pulled: Pulled) -> None:
    def row(scores: list[float], ids: list[int]) -> Any:
        return {"scores": np.array([scores], np.float32), "token_ids": np.array([ids], np.int64)}

    reference = [row([0.40, 0.39, 0.01], [7, 9, 4])]
    same = closeness(pulled.card, [(0, row([0.395, 0.395, 0.01], [9, 7, 4]))], reference)
    assert (same.top1_agreement, same.max_error) == (1.0, pytest.approx(0.005, abs=1e-6))
    other = closeness(pulled.card, [(0, row([0.40, 0.39, 0.01], [4, 9, 7]))], reference)
    assert other.top1_agreement == 0.0


def test_golden_case_wants_the_likeliest_token(pulled: Pulled) -> None:
    task, items, rows = rows_of(pulled, TEXTS[:1])
    answer = task.postprocess(rows[0], items[0], Options())
    best = answer.masks[0][0].token_id
    assert task.golden_problem(TokensExpectation(masks=((best,),)), answer, {}) is None
    assert task.golden_problem(TokensExpectation(masks=((10**6, best),)), answer, {}) is None
    assert "mask 1" in str(task.golden_problem(TokensExpectation(masks=((10**6,),)), answer, {}))
    assert "expected 2 masks" in str(task.golden_problem(TokensExpectation(masks=((best,), (best,))), answer, {}))


def test_spaces_are_taken_out_as_the_makers_tokenizer_does(pull_tiny: Puller) -> None:
    pulled = pull_tiny(mask_filler)
    recipe = pulled.card.recipe.model_copy(update={"clean_up_spaces": True})
    _, items, rows = rows_of(pulled, ["[MASK] lamp ! light ."])
    assert isinstance(items[0], MaskedItem)
    cleaned = FillMaskAnswers(pulled.card.model_copy(update={"recipe": recipe}), ()).postprocess(
        rows[0], items[0], Options()
    )
    assert isinstance(cleaned, FilledMasks)
    assert cleaned.masks[0][0].sequence.endswith("lamp! light.")


def test_tokenizer_without_a_mask_is_refused(pull_tiny: Puller) -> None:
    def maskless(folder: Any) -> Any:
        roberta_mask_filler(folder)
        for name in ("tokenizer_config.json", "tokenizer.json"):
            path = folder / name
            path.write_text(path.read_text("utf-8").replace("[MASK]", "mask").replace("mask_token", "other"), "utf-8")
        return folder

    with pytest.raises(NotDerivable, match="mask_token"):
        pull_tiny(maskless)


def test_batches_of_large_vocabularies_are_smaller(pull_tiny: Puller) -> None:
    small = pull_tiny(mask_filler).card.batching
    large = pull_tiny(lambda folder: mask_filler(folder, vocab_size=250_000)).card.batching
    assert (small.max_batch_size, large.max_batch_size) == (32, 8)
