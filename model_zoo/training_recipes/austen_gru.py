"""The next character of a novel by Jane Austen: a gated recurrent unit that answers at every step, beside n-gram models.

Four novels train, `Northanger Abbey` chooses the epoch, and `Persuasion` is measured. A stretch of text begins with an empty
state, and some stretches with padding in front of a paragraph, as a short text is served. The figure is that of a served
network: each character is predicted from as many before it as the window of the card holds.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo import strict_json
from model_zoo.architectures.text.char_gru import CharGru
from model_zoo.cards.card import Figure
from model_zoo.training_recipes.character_grams import CharacterGrams
from model_zoo.training_recipes.data.jane_austen import JANE_AUSTEN, novel
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained

__all__ = ["RECIPES", "WINDOW", "train", "train_on"]

TRAIN = ("sensesensibility", "prideprejudice", "mansfieldpark", "emma")
VALIDATION, TEST = "northangerabbey", "persuasion"
WINDOW = 64
"""Characters of the input of the served network."""
STRETCH = 128
"""Characters of a row of the training."""
HIDDEN, EMBEDDING = 160, 32
LEAST_COUNT = 100
"""Times that a character occurs in the training text; others are left out of all texts."""
PAD = 0
PADDED_SHARE = 8
"""One row in so many begins with padding."""
MEASURED, VALIDATED = 20_000, 300
"""Characters of the test, and rows of the validation."""
ORDERS = (0, 2, 5)
"""Of the n-gram models; with this much text 5 is better than 4 and 6."""
PLAN = Plan(epochs=2, batch=32, rate=0.004)
_ROWS = 1_000


class _EveryStep(nn.Module):
    """The network in training."""

    def __init__(self, network: CharGru) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → logits of the next character after each, (B, T, symbols)."""
        return self.network.every_step(ids)


def train(files: Mapping[str, bytes], report: Report) -> Trained:
    """See the module."""
    known = "\n".join(novel(files, name) for name in TRAIN)
    return train_on(known, novel(files, VALIDATION), novel(files, TEST), report)


def train_on(known: str, unseen: str, tested: str, report: Report, plan: Plan = PLAN, hidden: int = HIDDEN) -> Trained:
    """Trains on a text; another chooses the epoch, and a third is measured."""
    alphabet = alphabet_of(known)
    known, unseen, tested = ("".join(c for c in text if c in alphabet) for text in (known, unseen, tested))
    torch.manual_seed(0)
    network = CharGru(len(alphabet) + 1, EMBEDDING, hidden)
    learning = _EveryStep(network)

    def loss(logits: Tensor, following: Tensor) -> Tensor:
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten(), ignore_index=PAD)

    inputs, following = stretches(encoded(alphabet, known))
    padded = padded_stretches(known, encoded(alphabet, known), len(inputs) // PADDED_SHARE)
    inputs, following = torch.cat([inputs, padded[0]]), torch.cat([following, padded[1]])
    new, new_following = (part[:VALIDATED] for part in stretches(encoded(alphabet, unseen)))

    def validate() -> float:
        return float(loss(learning(new), new_following)) / math.log(2)

    report("bits a character of the validation:")
    fit(learning, {"ids": inputs}, following, loss, plan, validate, report)
    places = [WINDOW + (len(tested) - WINDOW) * i // MEASURED for i in range(min(MEASURED, len(tested) - WINDOW))]
    own = round(served_bits(network, encoded(alphabet, tested), places), 3)
    asked = [(tested[place - max(ORDERS) : place], tested[place]) for place in places]
    figures = tuple(
        Figure(
            name=f"bits a character, {len(places):,} characters of a novel that was held back",
            value=own,
            baseline=_rule(order),
            baseline_value=round(CharacterGrams(known, order, len(alphabet)).bits(asked), 3),
        )
        for order in ORDERS
    )
    facts = {"architecture.arguments.symbols": len(alphabet) + 1, "recipe.window": WINDOW, "recipe.pad_id": PAD}
    document = strict_json.text(alphabet, ascii_only=False, indent=0).encode()
    return Trained(network.state_dict(), figures, {"austen_gru.alphabet.json": document}, facts)


def alphabet_of(text: str) -> dict[str, int]:
    """Character → id, in their order in Unicode; the first id is for padding."""
    counts = Counter(text)
    return {c: i for i, c in enumerate(sorted(c for c in counts if counts[c] >= LEAST_COUNT), start=PAD + 1)}


def encoded(alphabet: Mapping[str, int], text: str) -> Tensor:
    """Ids (N) of a text of known characters."""
    return torch.tensor([alphabet[c] for c in text])


def stretches(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids → rows (n, STRETCH), one after another, and the id after each place of a row."""
    count = (len(ids) - 1) // STRETCH
    return ids[: count * STRETCH].view(count, STRETCH), ids[1 : count * STRETCH + 1].view(count, STRETCH)


def padded_stretches(text: str, ids: Tensor, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows as those of ``stretches`` that begin with 1 to WINDOW times padding and then with a paragraph."""
    starts = [i + 1 for i, c in enumerate(text) if c == "\n" and i + STRETCH + 1 < len(text)] or [0]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(starts), (count,), generator=generator).tolist()
    lengths = torch.randint(1, WINDOW + 1, (count,), generator=generator).tolist()
    rows = torch.full((count, STRETCH + 1), PAD)
    for row, one, length in zip(rows, chosen, lengths, strict=True):
        row[length:] = ids[starts[one] : starts[one] + STRETCH + 1 - length]
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


@torch.no_grad()
def served_bits(network: CharGru, ids: Tensor, places: Sequence[int]) -> float:
    """The mean of -log2 of the probability of the characters at some places, each after a window."""
    windows = ids.unfold(0, WINDOW, 1)
    total = 0.0
    for i in range(0, len(places), _ROWS):
        at = torch.tensor(places[i : i + _ROWS])
        logits = network(windows[at - WINDOW], torch.ones(len(at), WINDOW, dtype=torch.long))
        total += float(functional.cross_entropy(logits, ids[at], reduction="sum"))
    return total / len(places) / math.log(2)


def _rule(order: int) -> str:
    return (
        "the frequencies of the characters"
        if order == 0
        else f"counts of {order + 1} characters in a row (order {order})"
    )


RECIPES = (Recipe("austen_gru", JANE_AUSTEN, train, 150),)
