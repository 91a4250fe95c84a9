"""A base of fine-tuning that is named by a reference: it is pulled first, where the server can then find it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from service.addresses import is_loopback_address
from service.cli.local_catalog import LocalModel, local_model
from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.client import Client, ModelInfo

LEARNS_S = 30.0
"""A server looks for new models of its home every `ZOO_FOLLOW_INTERVAL_S`, 2 s unless set otherwise."""
LOOK_S = 0.2


def pulled_base(client: Client, text: str, server: str) -> str:
    """The name of the model that a reference names, which the server knows.

    The server pulls networks of a hub where its operator allows that. Otherwise this machine does, into ZOO_HOME, if the server
    is on it.

    Raises:
        ZooClientError: the server refuses, and is elsewhere.
        ZooModelError: the reference cannot be pulled here.
        BadParameter: the server has another home, or cannot have the files of the reference.
    """
    from model_zoo.references.reference import parse_reference
    from service.cli.commands.pull import check_reference, pull_one
    from service.client.errors import NotAllowed
    from service.settings import load_settings

    reference = parse_reference(text)
    here = is_loopback_address(server)
    if reference.is_on_hub:
        try:
            return client.pull_model(str(reference)).model.name
        except NotAllowed as error:
            if error.code != "PERMISSION_DENIED" or not here:
                raise
    elif not here:
        raise typer.BadParameter(
            f"{reference.shown} can be pulled on the machine of the server alone; run `zoo pull` there",
            param_hint="BASE",
        )
    check_reference(str(reference))
    name = pull_one(str(reference), load_settings(), say=print_note)
    pulled = local_model(name)
    known = _known(client, name)
    if known is None or _identity(known) != _identity(pulled):
        what = "does not know it" if known is None else "has another model of this name"
        raise typer.BadParameter(
            f"{name} was pulled into ZOO_HOME of this command, and the server {what}; "
            "give both the same ZOO_HOME, or let the server pull with ZOO_ALLOW_PULL",
            param_hint="BASE",
        )
    return name


def _known(client: Client, name: str) -> ModelInfo | None:
    """The model at the server, once it has found it; None where it does not."""
    from service.client.errors import NotFound

    end = time.monotonic() + LEARNS_S
    while True:
        try:
            return client.model(name)
        except NotFound:
            if time.monotonic() > end:
                return None
            time.sleep(LOOK_S)


def _identity(model: ModelInfo | LocalModel) -> tuple[str, int, str]:
    return model.weights_sha256, model.parameter_count, model.task
