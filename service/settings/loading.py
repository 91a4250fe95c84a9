"""Reads the settings from the environment and the command line, with a sentence for each that is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from service.settings.definitions import Settings
from service.settings.model_options import ModelOptions
from service.settings.problems import SettingsError, shown, unknown_option_problem, validation_problem

_FLAGS = {"models": "--model", "model_options": "--set"}
"""Setting → its flag of `zoo serve`, where the name differs."""


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment. Values of `overrides` that are not `None` take precedence.

    Raises SettingsError with a sentence for each wrong setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    ignored = {name: Settings.model_fields[name].default for name in service_variables()}
    try:
        return Settings(**(ignored | given))
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(e, given) for e in error.errors())) from None


_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
_PORTS = ("port", "http_port")


def service_variables() -> dict[str, str]:
    """Variables that are not settings of ports: setting → variable. Kubernetes sets `ZOO_PORT=tcp://ADDRESS:PORT` in every
    container if a Service is called `zoo`, and `ZOO_HTTP_PORT` if a Service is called `zoo-http`."""
    return {
        name.lower().removeprefix("zoo_"): name
        for name, value in os.environ.items()
        if name.lower().removeprefix("zoo_") in _PORTS
        and name.lower().startswith("zoo_")
        and _SERVICE_URL.fullmatch(value)
    }


def with_options(options: Mapping[str, ModelOptions], assignments: Iterable[str]) -> dict[str, Any]:
    """`options` with those of `assignments` in their place, each written MODEL.OPTION=VALUE. `load_settings` checks the values.

    Raises SettingsError for an assignment of another form.
    """
    merged: dict[str, Any] = {name: given.model_dump(exclude_unset=True) for name, given in options.items()}
    for text in assignments:
        path, equals, value = text.partition("=")
        model, dot, option = path.strip().partition(".")
        if not (model and dot and option and equals):
            raise SettingsError(f"--set is {shown(text)}: expected MODEL.OPTION=VALUE, for example silero_vad.weight=2")
        merged.setdefault(model, {})[option] = value.strip()
    return merged


def _sentence(error: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    name, *path = (str(part) for part in error["loc"] or ("",))
    source = _FLAGS.get(name, "--" + name.replace("_", "-")) if name in given else "ZOO_" + name.upper()
    if not path:
        problem = str(error["msg"])
        return f"{source} is {shown(error.get('input'))}: {problem[0].lower() + problem[1:]}"
    where = ".".join(part[:64] for part in path)
    problem = unknown_option_problem(path[-1]) if error["type"] == "extra_forbidden" else validation_problem(error)
    return f"{source} has a wrong {where!r}: {problem}"
