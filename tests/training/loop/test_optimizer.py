"""Learning rates by depth, and their schedule."""

from torch import nn

from service.training.hyperparameters import Hyperparameters
from service.training.loop.optimizer import parameter_depths, parameter_groups, schedule


def test_lower_layers_have_lower_rates_and_biases_no_decay() -> None:
    network = nn.ModuleDict(
        {
            "stem": nn.Linear(2, 2),
            "blocks": nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2)),
            "head": nn.Linear(2, 2),
        }
    )
    hparams = Hyperparameters(learning_rate=1.0, backbone_rate=0.1, layer_decay=0.5, weight_decay=0.3)
    found = {id(p): (g["peak"], g["weight_decay"]) for g in parameter_groups(network, hparams) for p in g["params"]}
    rates = {name: found[id(parameter)] for name, parameter in network.named_parameters()}
    assert rates["head.weight"] == (1.0, 0.3)
    assert rates["head.bias"] == (1.0, 0.0)
    assert rates["blocks.1.weight"] == (0.1, 0.3)
    assert rates["blocks.0.weight"] == (0.05, 0.3)
    assert rates["stem.weight"] == (0.025, 0.3)


def test_convolutions_that_count_their_layers_too_lie_below_the_attention() -> None:
    names = [
        *(f"base.backbone.hubert.feature_extractor.conv_layers.{i}.conv.weight" for i in range(2)),
        "base.backbone.hubert.feature_projection.weight",
        *(f"base.backbone.hubert.encoder.layers.{i}.attention.q_proj.weight" for i in range(2)),
        "head.out.weight",
    ]
    assert [*parameter_depths(names).values()] == [1, 2, 3, 3, 4, None]


def test_schedule_rises_then_falls() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]
    assert shares.index(max(shares)) == 10
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[0] < 0.2
    assert shares[-1] < 0.01
