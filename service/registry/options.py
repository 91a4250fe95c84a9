"""Options of a model: the server's settings are defaults, options that were given for the model override them.

defaults_for(settings, device, card) ──► every option has a value
in_effect(defaults, given)           ──► the given options override the defaults
changed(card, given, changes)        ──► the options given from now on, or InvalidInput that names the option
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.scheduler.policy import BatchLimits
from service.settings import ModelOptions, Settings, unknown_option_problem, validation_problem

AT_NEXT_LOAD = ("precision", "optimize")
"""Options that decide how a network is built; all others take effect at once."""


def defaults_for(settings: Settings, device: str, card: Card) -> ModelOptions:
    """The value of every option of a model for which nothing is given."""
    most = card.batching.max_batch_size
    gains = card.batching.cpu_batch_size if device == "cpu" else most
    return ModelOptions(
        max_batch_size=min(most, settings.max_batch_size or gains),
        max_queue_size=settings.max_queue_size,
        max_queue_delay_ms=settings.max_queue_delay_ms,
        default_timeout_ms=settings.default_timeout_ms,
        precision=settings.precision,
        optimize=settings.optimize,
    )


def in_effect(defaults: ModelOptions, given: ModelOptions) -> ModelOptions:
    """Every option with its value: the given one, else the default."""
    return defaults.model_copy(update=_set(given))


def limits_of(options: ModelOptions) -> BatchLimits:
    """Options in effect as the scheduler's limits."""
    assert options.max_batch_size is not None
    assert options.max_queue_size is not None
    assert options.max_queue_delay_ms is not None
    assert options.default_timeout_ms is not None
    return BatchLimits(
        max_batch_size=options.max_batch_size,
        max_queue_size=options.max_queue_size,
        max_queue_delay_s=options.max_queue_delay_ms / 1000.0,
        weight=options.weight,
        default_timeout_s=options.default_timeout_ms / 1000.0,
    )


def changed(card: Card, given: ModelOptions, changes: Mapping[str, object]) -> ModelOptions:
    """The given options after `changes`; None returns an option to its default. Raises InvalidInput."""
    for name in changes:
        if name not in ModelOptions.model_fields:
            raise InvalidInput(f"options.{name[:64]}", unknown_option_problem(name))
    merged = {name: value for name, value in {**_set(given), **changes}.items() if value is not None}
    try:
        new = ModelOptions.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"options.{first['loc'][0]}", validation_problem(first)) from None
    if (problem := beyond_card(card, new)) is not None:
        raise InvalidInput("options.max_batch_size", problem)
    return new


def beyond_card(card: Card, given: ModelOptions) -> str | None:
    """Which option exceeds what the card allows, in one sentence; None if none does."""
    most = card.batching.max_batch_size
    if given.max_batch_size is not None and given.max_batch_size > most:
        return f"expected 1 to {most}, which is the card's limit, got {given.max_batch_size}"
    return None


def changed_names(before: ModelOptions, after: ModelOptions, names: Collection[str]) -> tuple[str, ...]:
    """Which of these options differ."""
    old, new = dict(before), dict(after)
    return tuple(name for name in names if old[name] != new[name])


def _set(given: ModelOptions) -> dict[str, object]:
    return {name: value for name, value in given if name in given.model_fields_set and value is not None}
