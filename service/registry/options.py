"""Options of a model: the server's own settings, what was given for this model, and what may change while it serves.

defaults_for(settings, device, card) ──► every option has a value
in_effect(defaults, given)           ──► with what was given for the model above them
changed(card, given, changes)        ──► what is given from now on, or InvalidInput that names the option
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.scheduler.policy import BatchLimits
from service.settings import ModelOptions, Settings, no_such_option, told

AT_NEXT_LOAD = ("precision", "optimize")
"""Options that say how a network is made; all others take effect at once."""


def defaults_for(settings: Settings, device: str, card: Card) -> ModelOptions:
    """What a model does with unless something else is given for it."""
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
    """Every option with its value: as given, else the default."""
    return defaults.model_copy(update=_set(given))


def limits_of(options: ModelOptions) -> BatchLimits:
    """Options in effect as the scheduler knows them."""
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
    """What is given once `changes` are made; None takes an option back to its default. Raises InvalidInput."""
    for name in changes:
        if name not in ModelOptions.model_fields:
            raise InvalidInput(f"options.{name[:64]}", no_such_option(name))
    merged = {name: value for name, value in {**_set(given), **changes}.items() if value is not None}
    try:
        new = ModelOptions.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"options.{first['loc'][0]}", told(first)) from None
    if (problem := beyond_card(card, new)) is not None:
        raise InvalidInput("options.max_batch_size", problem)
    return new


def beyond_card(card: Card, given: ModelOptions) -> str | None:
    """What is wrong with options that only the card can tell; None if nothing is."""
    most = card.batching.max_batch_size
    if given.max_batch_size is not None and given.max_batch_size > most:
        return f"expected 1 to {most}, which is the card's limit, got {given.max_batch_size}"
    return None


def _set(given: ModelOptions) -> dict[str, object]:
    return {name: value for name in given.model_fields_set if (value := getattr(given, name)) is not None}
