"""The problem with a setting or an option, in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.settings.model_options import ModelOptions

LONGEST_SHOWN = 100
"""Characters of a wrong value that its error repeats."""


class SettingsError(Exception):
    """A setting is wrong. The text has one sentence a line and can be printed as it is."""


def validation_problem(error: Mapping[str, Any]) -> str:
    """An error of pydantic as "expected …, got …"."""
    problem = str(error["msg"])
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        problem = "Input should be an object of options"
    if not problem.startswith("Input should be "):
        return problem[0].lower() + problem[1:]
    expected = problem.removeprefix("Input should be ").split(", unable")[0].split(", got")[0]
    return f"expected {'a number ' if expected.split()[0] in ('greater', 'less') else ''}{expected}, got {shown(error['input'])}"


def unknown_option_problem(name: str) -> str:
    """The problem with the name of an unknown option."""
    near = difflib.get_close_matches(name[:64], ModelOptions.model_fields, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(ModelOptions.model_fields)}"
    return f"no such option; {known}"


def shown(value: object) -> str:
    """A value in an error, cut to LONGEST_SHOWN characters."""
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
