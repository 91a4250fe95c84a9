"""The linear classifier of texts: padding does not count, and a tree gives probabilities."""

import pytest
import torch

from model_zoo.architectures.text.subword_classifier import SubwordClassifier
from model_zoo.formats.fasttext import word_paths

SYMBOLS, WIDTH, CLASSES = 20, 6, 5


@pytest.fixture(params=[False, True], ids=["softmax", "tree"])
def network(request: pytest.FixtureRequest) -> SubwordClassifier:
    torch.manual_seed(1)
    made = SubwordClassifier(SYMBOLS, WIDTH, CLASSES, tree=request.param)
    if made.tree is not None:
        right, left = word_paths([9, 8, 4, 2, 1])
        made.tree.load_state_dict({"right": torch.from_numpy(right), "left": torch.from_numpy(left)})
    return made.eval().requires_grad_(False)


def test_padding_does_not_change_the_answer(network: SubwordClassifier) -> None:
    ids = torch.tensor([[3, 7, 7, 1]])
    alone = network(ids, torch.ones_like(ids))
    padded = network(
        torch.tensor([[3, 7, 7, 1, 0, 0], [2, 2, 2, 2, 2, 2]]), torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])
    )
    torch.testing.assert_close(padded[:1], alone, atol=1e-6, rtol=0)


def test_features_are_the_mean_of_the_vectors(network: SubwordClassifier) -> None:
    ids = torch.tensor([[3, 7, 7]])
    vectors = network.embedding.weight
    torch.testing.assert_close(network.features(ids, torch.ones_like(ids))[0], (vectors[3] + 2 * vectors[7]) / 3)


def test_leaves_of_a_tree_share_a_probability_of_one() -> None:
    network = SubwordClassifier(SYMBOLS, WIDTH, CLASSES, tree=True)
    right, left = word_paths([9, 8, 4, 2, 1])
    assert network.tree is not None
    network.tree.load_state_dict({"right": torch.from_numpy(right), "left": torch.from_numpy(left)})
    logits = network(torch.tensor([[3, 7, 7]]), torch.ones(1, 3, dtype=torch.int64))
    torch.testing.assert_close(logits.exp().sum(), torch.tensor(1.0))
    torch.testing.assert_close(logits.softmax(dim=1), logits.exp())
