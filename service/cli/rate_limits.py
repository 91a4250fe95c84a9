"""Inputs that the limits of the caller's token refused are sent again once they are permitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.client import Client, Outcome

RATE_LIMITED = "RATE_LIMITED"
"""The reason with which the limits of a token refuse a call."""
_LONG_S = 2.0
"""A longer pause is announced."""
_PAUSE_S = 1.0
"""Before another attempt, where the server does not say how long."""


def once_permitted(client: Client, model: str, value: Any, outcome: Outcome, options: dict[str, Any]) -> Outcome:
    """The outcome of an input. Where the limits of the caller's token refused it, waits as long as the server says, until they
    permit it."""
    from service.client import InvalidRequest, Overloaded, PredictionError
    from service.client.errors import as_prediction_error

    while isinstance(outcome, PredictionError) and outcome.reason == RATE_LIMITED:
        pause_s = _PAUSE_S if outcome.retry_after_s is None else outcome.retry_after_s
        if pause_s > _LONG_S:
            print_note(f"{outcome.message}; waiting {pause_s:.0f} s")
        time.sleep(pause_s)
        try:
            [outcome] = client.predict(model, [value], **options)
        except (InvalidRequest, Overloaded, PredictionError) as error:
            outcome = as_prediction_error(error, 0)
    return outcome
