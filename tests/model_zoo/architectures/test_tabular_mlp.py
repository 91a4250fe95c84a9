"""The network for tables learns real tables, and the answer for a row is independent of other rows."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

from model_zoo.architectures.tabular_mlp import TabularMlp
from model_zoo.catalog import Catalog
from model_zoo.network import build_network


def test_parameter_count_equals_the_card() -> None:
    card = Catalog.from_package().get("tabular_mlp")
    assert sum(p.numel() for p in build_network(card).parameters()) == card.parameters


def learn(network: nn.Module, inputs: tuple[torch.Tensor | None, ...], labels: torch.Tensor) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    network.train()
    for _ in range(60):
        loss = functional.cross_entropy(network(*inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()


def test_training_separates_the_wine_classes() -> None:
    wine = load_wine()
    train_x, test_x, train_y, test_y = train_test_split(wine.data, wine.target, stratify=wine.target, random_state=0)
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    train, test = (torch.tensor((x - mean) / std, dtype=torch.float32) for x in (train_x, test_x))
    torch.manual_seed(0)
    network = TabularMlp(13, [], 3, width=32)
    learn(network, (train, None), torch.tensor(train_y))
    found = network(test).argmax(dim=1).numpy()
    assert (found == test_y).mean() >= 0.93


def test_training_works_with_categories_only() -> None:
    """Exclusive or of two columns: neither column alone predicts the result."""
    a, b = np.meshgrid([1, 2], [1, 2])
    categories = torch.tensor(np.stack([a.ravel(), b.ravel()], axis=1)).repeat(8, 1)
    labels = (categories[:, 0] == categories[:, 1]).long()
    torch.manual_seed(0)
    network = TabularMlp(0, [3, 3], 2, width=16, dropout=0.0)
    learn(network, (None, categories), labels)
    assert (network(None, categories).argmax(dim=1) == labels).all()


@pytest.mark.parametrize(("numbers", "categories"), [(3, []), (0, [2, 5]), (3, [2, 5]), (1, [1])])
def test_batched_rows_equal_single_rows(numbers: int, categories: list[int]) -> None:
    torch.manual_seed(0)
    network = TabularMlp(numbers, categories, 4, width=16).eval()
    given = {"numbers": torch.randn(7, numbers)} if numbers else {}
    if categories:
        given["categories"] = torch.stack([torch.randint(0, max(2, n), (7,)) for n in categories], dim=1)
    with torch.inference_mode():
        together = network(**given)
        for i in range(7):
            alone = network(**{name: tensor[i : i + 1] for name, tensor in given.items()})
            torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)
    assert together.shape == (7, 4)
    assert network.features(**given).shape == (7, 16)


def test_unknown_category_does_not_change_the_output() -> None:
    """An untrained embedding of "unknown" would change the answer at random."""
    torch.manual_seed(0)
    network = TabularMlp(1, [3], 2, width=16)
    unknown, first = network.state_dict()["embeddings.0.weight"][:2]
    assert not unknown.any()
    assert first.any()


def test_table_without_columns_is_rejected() -> None:
    with pytest.raises(ValueError, match="without columns"):
        TabularMlp(0, [], 2)
