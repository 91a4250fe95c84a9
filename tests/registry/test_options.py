"""Options of a model: the value in effect, changes while it serves, and the error of a wrong one."""

import pytest

from model_zoo.catalog import Catalog
from service.registry.options import defaults_for, in_effect, limits_of
from service.settings import ModelOptions, Settings

CNN = Catalog.from_package().get("efficientnet_lite0")


def test_options_not_given_for_a_model_are_the_server_defaults(clean_environment: pytest.MonkeyPatch) -> None:
    defaults = defaults_for(Settings(max_queue_delay_ms=3, default_timeout_ms=500), "cpu", CNN)
    assert (defaults.max_queue_delay_ms, defaults.default_timeout_ms, defaults.weight) == (3, 500, 1)
    assert defaults.max_batch_size == CNN.batching.cpu_batch_size
    limits = limits_of(in_effect(defaults, ModelOptions(weight=2, default_timeout_ms=250)))
    assert (limits.weight, limits.default_timeout_s, limits.max_queue_delay_s) == (2, 0.25, 0.003)
    assert all(value is not None for value in defaults.model_dump().values())


@pytest.mark.parametrize(
    ("wanted", "device", "most"),
    [
        (0, "cpu", CNN.batching.cpu_batch_size),
        (0, "cuda:0", CNN.batching.max_batch_size),
        (4096, "cpu", CNN.batching.max_batch_size),
        (1, "cpu", 1),
    ],
)
def test_batch_size_option_above_the_card_limit_is_refused(
    clean_environment: pytest.MonkeyPatch, wanted: int, device: str, most: int
) -> None:
    assert defaults_for(Settings(max_batch_size=wanted), device, CNN).max_batch_size == most


WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"wieght": 2}, "options.wieght", "no such option; did you mean 'weight'?"),
    ({"qqq": 2}, "options.qqq", "no such option; options are max_batch_size, "),
    ({"weight": 0}, "options.weight", "expected a number greater than 0, got 0"),
    ({"weight": float("nan")}, "options.weight", "got nan"),
    ({"weight": "heavy"}, "options.weight", "expected a valid number, got 'heavy'"),
    ({"max_batch_size": 0}, "options.max_batch_size", "expected a number greater than or equal to 1, got 0"),
    ({"max_batch_size": 5000}, "options.max_batch_size", "expected a number less than or equal to 4096, got 5000"),
    ({"max_batch_size": 5}, "options.max_batch_size", "expected 1 to 4, which is the card's limit, got 5"),
    ({"max_queue_delay_ms": -1}, "options.max_queue_delay_ms", "greater than or equal to 0, got -1"),
    ({"precision": "fp8"}, "options.precision", "expected 'auto', 'fp32', 'bf16', 'fp16' or 'int8', got 'fp8'"),
    ({"optimize": "on"}, "options.optimize", "expected 'auto' or 'off', got 'on'"),
    ({"pinned": "maybe"}, "options.pinned", "expected a valid boolean, got 'maybe'"),
    ({"precision": "x" * 100_000}, "options.precision", "got 'xxx"),
    ({"x" * 100_000: 1}, "options.xxx", "no such option"),
]
