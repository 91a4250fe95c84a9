"""Whether a review of food is enthusiastic: a gated recurrent unit over the words, beside the more frequent class.

The data are ``small_fine_foods`` of modeldata: 4,000 reviews for training and 1,000 for testing, each with the score
``great`` (five stars) or ``other``. The last 500 training reviews choose the epoch. The words that occur three times or
more are the vocabulary.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.text.word_gru import WordGru
from model_zoo.cards.card import Figure
from model_zoo.training_recipes.data.model_data import MODEL_DATA, model_data
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained

__all__ = ["CLASSES", "RECIPES", "train", "train_on"]

CLASSES = ("great", "other")
PAD, UNKNOWN = "[PAD]", "[UNK]"
LEAST_COUNT = 3
MOST_WORDS = 4_000
MAX_TOKENS = 128
HELD_BACK = 500
PLAN = Plan(epochs=5, batch=32, rate=0.004, weight_decay=0.05)
_ROWS = 250


def tokenizer_of(texts: Sequence[str]) -> Tokenizer:
    """Words in lower case and punctuation, by their frequency in the texts."""
    tokenizer = Tokenizer(WordLevel({PAD: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\w']+|[^\w\s]"), "removed", invert=True)
    counts: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    frequent = sorted(
        (word for word, count in counts.items() if count >= LEAST_COUNT), key=lambda word: (-counts[word], word)
    )
    words = [PAD, UNKNOWN, *frequent[: MOST_WORDS - 2]]
    tokenizer.model = WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN)
    return tokenizer


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Tensor]:
    """``ids`` and ``mask`` (N, T), padded to the longest text."""
    rows = [torch.tensor(row.ids[:MAX_TOKENS] or [1]) for row in tokenizer.encode_batch(list(texts))]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"ids": ids, "mask": mask}


def train(files: Mapping[str, bytes], report: Report) -> Trained:
    """See the module."""
    parts = [model_data(files, f"{part}_data") for part in ("training", "testing")]
    known, tested = ((texts_of(table), scores_of(table)) for table in parts)
    return train_on(known, tested, report)


def texts_of(table: Mapping[str, object]) -> list[str]:
    """The reviews of a table."""
    column = table["review"]
    assert isinstance(column, list)
    return [text or "" for text in column]


def scores_of(table: Mapping[str, object]) -> Tensor:
    """Class of each review, (N)."""
    column = table["score"]
    assert isinstance(column, list)
    return torch.tensor([CLASSES.index(score) for score in column])


def train_on(
    known: tuple[Sequence[str], Tensor], tested: tuple[Sequence[str], Tensor], report: Report, plan: Plan = PLAN
) -> Trained:
    """Trains on texts with their classes, and measures on others."""
    held_back = min(HELD_BACK, len(known[0]) // 5)
    tokenizer = tokenizer_of(known[0][:-held_back])
    inputs, y = encoded(tokenizer, known[0]), known[1]
    unseen = {name: tensor[-held_back:] for name, tensor in inputs.items()}
    torch.manual_seed(0)
    network = WordGru(tokenizer.get_vocab_size(), len(CLASSES))

    def validate() -> float:
        return float(functional.cross_entropy(answers(network, unseen), y[-held_back:]))

    learned = {name: tensor[:-held_back] for name, tensor in inputs.items()}
    fit(network, learned, y[:-held_back], functional.cross_entropy, plan, validate, report)
    found = answers(network, encoded(tokenizer, tested[0])).argmax(dim=1)
    most = int(y.bincount().argmax())
    figure = Figure(
        name=f"accuracy on {len(tested[1]):,} reviews",
        value=round(float((found == tested[1]).double().mean()), 4),
        baseline=f"always {CLASSES[most]!r}, the more frequent class",
        baseline_value=round(float((tested[1] == most).double().mean()), 4),
    )
    vocabulary = tokenizer.to_str(pretty=False).encode()
    facts = {"class_names": list(CLASSES), "architecture.arguments.vocab_size": tokenizer.get_vocab_size()}
    return Trained(network.state_dict(), (figure,), {"mood_gru.tokenizer.json": vocabulary}, facts)


@torch.no_grad()
def answers(network: WordGru, inputs: Mapping[str, Tensor]) -> Tensor:
    """Logits (N, classes)."""
    count = len(inputs["ids"])
    parts = [network(inputs["ids"][i : i + _ROWS], inputs["mask"][i : i + _ROWS]) for i in range(0, count, _ROWS)]
    return torch.cat(parts)


RECIPES = (Recipe("mood_gru", MODEL_DATA, train, 120),)
