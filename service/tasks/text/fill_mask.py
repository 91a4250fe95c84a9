"""Task `fill-mask`: a text with masks → the likeliest tokens for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from tokenizers import Encoding

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.cards.signature import RANKED_IDS
from model_zoo.golden.golden_case import Expectation, TokensExpectation
from service.errors import InvalidInput
from service.tasks.text.shared_tokenizer import SharedTokenizer
from service.tasks.text.token_input import TokenInput
from service.types import Answer, FilledMasks, Item, Options, Tensors, TokenCandidate

DEFAULT_TOP_K = 5

SPACES = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}
"""What transformers replaces, in this order, where its tokenizer cleans up the spaces before punctuation."""


MOST_CANDIDATES = 200
"""Of all masks of a text: each is an answer with the whole text."""


@dataclass(frozen=True, slots=True)
class MaskedItem(Item):
    """An item with the tokenizer that reads tokens back."""

    tokenizer: SharedTokenizer | None = None


class MaskedTokenInput(TokenInput):
    """Accepts texts with masks; a text without one is refused."""

    def _item(self, encoding: Encoding, texts: Sequence[str], path: str) -> Item:
        item = super()._item(encoding, texts, path)
        masks, most = self.sequence.output_length(item), self._recipe.max_masks
        token = self._recipe.mask_token
        if not masks:
            where = f" within its first {item.length} tokens" if item.notes else ""
            raise InvalidInput(
                path, f"expected the mask {token!r} for a token to be found{where}, got a text without it"
            )
        if masks > most:
            raise InvalidInput(path, f"expected at most {most} masks {token!r}, got {masks}")
        return MaskedItem(item.tensors, item.length, item.notes, tokenizer=self._shared)


class FillMaskAnswers:
    """Candidates for each mask (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k"})
    light_rows: ClassVar[int] = 0

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        if not isinstance(card.recipe, TextRecipe):
            raise TypeError(f"card {card.name} has no text recipe")
        self._recipe = card.recipe
        self._scores = card.signature.outputs[0].name

    def postprocess(self, row: Tensors, item: Item, options: Options) -> FilledMasks:
        """Scores and token ids, `[masks, candidates]` → the best candidates with their texts."""
        assert isinstance(item, MaskedItem)
        ids = item.tensors["input_ids"]
        places = np.flatnonzero(ids == self._recipe.mask_id)[: len(row[RANKED_IDS])]
        count = min(options.top_k or DEFAULT_TOP_K, row[RANKED_IDS].shape[1])
        if len(places) * count > MOST_CANDIDATES:
            raise InvalidInput(
                "options.top_k",
                f"expected at most {MOST_CANDIDATES // len(places)} for a text with {len(places)} masks, got {count}",
            )
        masks = []
        for place, tokens, scores in zip(places.tolist(), row[RANKED_IDS], row[self._scores], strict=True):
            best = zip(tokens[:count].tolist(), scores[:count].tolist(), strict=True)
            masks.append(
                tuple(
                    TokenCandidate(token, self._text(item, [token], False), score, self._filled(item, place, token))
                    for token, score in best
                )
            )
        return FilledMasks(tuple(masks))

    def _filled(self, item: MaskedItem, place: int, token: int) -> str:
        """The text with a token in one place. Where other masks remain, they are shown, and so are all special tokens."""
        ids = item.tensors["input_ids"].tolist()
        alone = ids.count(self._recipe.mask_id) == 1
        ids[place] = token
        return self._text(item, [one for one in ids if one != self._recipe.pad_id], alone)

    def _text(self, item: MaskedItem, ids: list[int], skip_special: bool) -> str:
        assert item.tokenizer is not None
        text = item.tokenizer.tokenizer.decode(ids, skip_special_tokens=skip_special)
        if self._recipe.clean_up_spaces:
            for spaced, clean in SPACES.items():
                text = text.replace(spaced, clean)
        return text

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A mask whose likeliest token is none of those that are expected."""
        assert isinstance(expect, TokensExpectation)
        assert isinstance(answer, FilledMasks)
        for number, (wanted, found) in enumerate(zip(expect.masks, answer.masks, strict=False), 1):
            if found[0].token_id not in wanted:
                return f"expected token {wanted[0]} for mask {number}, got {found[0].token_id} ({found[0].token!r})"
        if len(expect.masks) != len(answer.masks):
            return f"expected {len(expect.masks)} masks, got {len(answer.masks)}"
        return None
