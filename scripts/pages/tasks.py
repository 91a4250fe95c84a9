"""The tasks: inputs, answers and options, by `service/tasks/table.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from model_zoo.cards.recipes import RAW_OF
from model_zoo.references.card_plan import TASKS as PULLED
from service import types
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ATTRIBUTE
from service.tasks.table import TASKS

from .source import field_texts, first_sentence, one_line, table

HEAD = """\
<!-- Generated from service/tasks/table.py and what it names by `make docs`; do not edit. A test compares. -->

# Tasks

What a model takes and answers follows from its task and from its recipe, which says how the raw input becomes
tensors. Over zoo.v1 a request has the raw input, and the result is the answer; over the Open Inference Protocol the
raw input is a BYTES tensor of that name, and the outputs are tensors ([protocol.md](protocol.md)). Both also take the
network's own tensors. Names of tasks are those of Hugging Face, where it has one.

"""
BESIDE = """\
Beside `version`, `priority` and `include_tensors`, which every task has. An option that a task does not have is refused.
"""
ANSWERS: frozenset[Any] = frozenset(get_args(types.Answer))


def tasks_page() -> str:
    """The whole page."""
    rows, recipes, answers = [], {}, {}
    for (task, recipe), factory in TASKS.items():
        parts = list(_parts(factory))
        kind = _kind_of(recipe)
        answer = next((found for part in parts if (found := _answer_of(part)) is not None), None)
        options = sorted({name for part in parts for name in _options_of(part)} | _attribute(parts), key=_order)
        recipes[kind] = recipe
        if answer is not None:
            answers[answer.__name__] = answer
        rows.append(
            (
                task,
                f"`{raw}`" if (raw := RAW_OF.get(kind, kind)) else "tensors",
                f"[`{kind}`](#recipes)",
                f"[`{answer.__name__}`](#answers)" if answer else "",
                ", ".join(f"`{name}`" for name in options),
                "yes" if task in PULLED and _is_of_references(kind) else "",
            )
        )
    heads = ("task", "raw input", "recipe", "answer", "options", "by reference")
    return HEAD + "\n".join(
        [
            table(heads, *sorted(rows)),
            "`by reference`: networks of this task can be pulled ([references.md](references.md)).\n",
            "## Recipes\n",
            table(("recipe", ""), *((f"`{kind}`", first_sentence(recipe)) for kind, recipe in sorted(recipes.items()))),
            "## Answers\n",
            *(_answer(answer) for _, answer in sorted(answers.items())),
            "## Options\n",
            BESIDE,
            table(("option", ""), *((f"`{name}`", found.text) for name, found in field_texts(types.Options).items())),
        ]
    )


def _kind_of(recipe: Any) -> str:
    """The word by which a card names a recipe."""
    return str(get_args(recipe.model_fields["kind"].annotation)[0])


def _parts(factory: Any) -> Iterator[Any]:
    """The classes that a factory makes a task of: the task itself, and its codecs."""
    if isinstance(factory, type):
        yield factory
    elif hasattr(factory, "func"):  # functools.partial
        yield from (factory.func, *factory.args)
    else:
        for named in inspect.getclosurevars(factory).globals.values():
            if isinstance(named, type):
                yield named


def _answer_of(part: Any) -> Any:
    """The kind of answer by the annotation of `postprocess`; None where it says only that it is one."""
    method = getattr(part, "postprocess", None)
    found = get_type_hints(method).get("return") if method is not None else None
    return found if found in ANSWERS else None


def _options_of(part: Any) -> frozenset[str]:
    options: Any = getattr(part, "options", None)
    return options if isinstance(options, frozenset) else frozenset()


def _attribute(parts: list[Any]) -> frozenset[str]:
    """The option that a task has by both of its codecs."""
    occludable = any(hasattr(part, "occlusions") for part in parts)
    return ATTRIBUTE if occludable and LabelAnswers in parts else frozenset()


def _order(name: str) -> int:
    return [field.name for field in fields(types.Options)].index(name)


def _is_of_references(kind: str) -> bool:
    """Whether cards that are derived have such a recipe; those of Zoo's own networks do not."""
    kinds = ("spectrogram", "filter_bank", "characters", "subwords", "row", "series", "record", "audio", "video")
    return kind not in kinds


def _answer(answer: Any) -> str:
    texts = field_texts(answer)
    rows = [(f"`{name}`", f"`{one_line(found.annotation)}`", found.text) for name, found in texts.items()]
    heading = f"**{answer.__name__}**: {one_line(inspect.getdoc(answer) or '')}\n"
    return "\n".join([heading, table(("field", "type", ""), *rows)])
