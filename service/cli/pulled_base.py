"""A base of fine-tuning that is named by a reference: it is pulled first, where the server can then find it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from service.addresses import is_loopback_address
from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.client import Client

LEARNS_S = 30.0
"""A server looks for new models of its home every `ZOO_FOLLOW_INTERVAL_S`, 2 s unless set otherwise."""
LOOK_S = 0.2


def pulled_base(client: Client, text: str, server: str) -> str:
    """The name of the model that a reference names, which the server knows.

    The server pulls it where its operator allows that. Otherwise this machine does, into ZOO_HOME, if the server is on it.

    Raises:
        ZooClientError: the server refuses, and is elsewhere.
        ZooModelError: the reference cannot be pulled here.
        BadParameter: the server has another home.
    """
    from model_zoo.references.reference import parse_reference
    from service.cli.commands.pull import pull_one
    from service.client.errors import NotAllowed
    from service.settings import load_settings

    reference = str(parse_reference(text))
    try:
        return client.pull_model(reference).model.name
    except NotAllowed:
        if not is_loopback_address(server):
            raise
    name = pull_one(reference, load_settings(), say=print_note)
    _wait_until_known(client, name)
    return name


def _wait_until_known(client: Client, name: str) -> None:
    from service.client.errors import NotFound

    end = time.monotonic() + LEARNS_S
    while True:
        try:
            client.model(name)
        except NotFound:
            if time.monotonic() > end:
                raise typer.BadParameter(
                    f"{name} was pulled into ZOO_HOME of this command, and the server has another home; "
                    "give both the same ZOO_HOME, or let the server pull with ZOO_ALLOW_PULL",
                    param_hint="BASE",
                ) from None
            time.sleep(LOOK_S)
        else:
            return
