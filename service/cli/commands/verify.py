"""`zoo verify`: the golden cases of the cards, through a running server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import connect
from service.cli.exit_codes import FAILED
from service.cli.options import DEFAULT_SERVER, Json, Server
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from service.cli.golden_calls import CaseOutcome
    from service.client import Client, ModelInfo
    from service.tasks.base import Task


@dataclass(frozen=True, slots=True)
class _Verified:
    """The cases of one model, or why none was run."""

    model: str
    runs: str
    cases: tuple[CaseOutcome, ...] = ()
    skipped: str = ""

    @property
    def failed(self) -> int:
        return sum(1 for case in self.cases if case.problem)


def verify(
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Names of models. Default: all that are ready and have golden cases."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Send the golden cases of the cards to a running server, and print its answers with figures.

    The cards and files of this ZOO_HOME say what is right. Exit code 1 if a case fails, or if a named model has none.
    """
    from service.settings import load_settings

    home = load_settings().home
    with connect(server) as client:
        wanted = list(dict.fromkeys(model or [])) or [info.name for info in client.models() if info.state == "READY"]
        verified = [_verify_one(client, client.model(name), home) for name in wanted]
    good = not any(one.failed or (model and one.skipped) for one in verified) and any(one.cases for one in verified)
    if as_json:
        print_json({"server": server, "passed": good, "models": [_document(one) for one in verified]})
    else:
        _print(verified, named=bool(model))
    raise typer.Exit(0 if good else FAILED)


def _verify_one(client: Client, info: ModelInfo, home: Path) -> _Verified:
    from service.cli.golden_calls import run_case
    from service.client.errors import InvalidRequest, PredictionError, as_prediction_error

    runs = f"{info.precision} on {info.device}" if info.device else ""
    task = _task_of(info, home)
    if isinstance(task, str):
        return _Verified(info.name, runs, skipped=task)

    def ask(inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        try:
            return list(client.predict(info.name, inputs, **options))
        except (InvalidRequest, PredictionError) as error:  # all inputs failed
            return [as_prediction_error(error, 0)]

    return _Verified(info.name, runs, tuple(run_case(task, case, ask) for case in task.card.golden))


def _task_of(info: ModelInfo, home: Path) -> Task | str:
    """The task of the card on this machine; or why the model cannot be verified here."""
    from model_zoo.catalog import Catalog
    from model_zoo.errors import InvalidCard, UnknownCard
    from model_zoo.store import Store
    from service.tasks.table import task_for

    if info.base:
        return "a fine-tuned version has no golden cases on its card; the server checks it when it loads"
    try:
        card = Catalog.of_home(home).get(info.name)
    except (UnknownCard, InvalidCard):
        return "this machine has no card of it; set ZOO_HOME to the server's"
    if not card.weights_sha256 or card.weights_sha256 != info.weights_sha256:
        return "the card on this machine is of other weights than the server's"
    if not card.golden:
        return "its card has no golden cases"
    files = Store(home).find(card)
    if files is None:
        return f"its files are not on this machine; set ZOO_HOME to the server's, or `zoo pull {card.name}`"
    return task_for(card, files)


def _print(verified: list[_Verified], named: bool) -> None:
    rows = new_table("model", "runs", "input", "answer", "")
    for one in verified:
        for case in one.cases:
            result = f"FAILED: {case.problem}" if case.problem else "ok"
            rows.add_row(*map(escaped, (one.model, one.runs, case.input, case.figures, result)))
    cases, failed = sum(len(one.cases) for one in verified), sum(one.failed for one in verified)
    if cases:
        print_table(rows)
    for one in verified:
        if one.skipped:
            (print_error if named else print_note)(f"{one.model} was not verified: {one.skipped}")
    if not cases:
        print_error("no golden case was run")
    elif failed:
        print_line(f"{failed} of {cases} cases failed", "red")
    else:
        print_line(f"all {cases} cases are right", "green")


def _document(one: _Verified) -> dict[str, Any]:
    cases = [{"number": i + 1, "passed": not case.problem, **asdict(case)} for i, case in enumerate(one.cases)]
    return {
        "model": one.model,
        "runs": one.runs,
        "passed": bool(cases) and not one.failed,
        "skipped": one.skipped,
        "cases": cases,
    }
