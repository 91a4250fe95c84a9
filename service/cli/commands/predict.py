"""`zoo predict`: ask a model about files, folders, texts, rows or series."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import DEFAULT_SERVER, Json, Model, Server
from service.cli.rendering.console import print_json, stderr_console

if TYPE_CHECKING:
    from service.cli.inputs.sources import Source
    from service.cli.rendering.predictions import Row
    from service.client import Client


def predict(
    model: Model,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|TEXT|JSON...",
            help="Files, folders or archives of them; texts for a text model; JSON or tables for rows and series; - is stdin.",
        ),
    ],
    server: Server = DEFAULT_SERVER,
    version: Annotated[str, typer.Option(metavar="V", help="Number or alias of a version.", show_default=False)] = "",
    top_k: Annotated[int | None, typer.Option(metavar="K", help="How many labels, best first.")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="P", help="Leave out what scores less.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", help="How much a model that writes may add.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="0 writes the likeliest, larger values dare more, up to 2.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Of what is left to chance in writing.")] = None,
    text: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of a table that holds the texts.", show_default=False)
    ] = "",
    priority: Annotated[
        int, typer.Option(metavar="N", help="1 goes first where requests wait, 9 last, 0 as usual.")
    ] = 0,
    timing: Annotated[bool, typer.Option("--timing", help="Show where the time went, and the batch's rows.")] = False,
    as_json: Json = False,
) -> None:
    """Ask a model about files, folders, texts, rows or series. Exit code 1 if any of them failed."""
    from service.cli.inputs.sources import STDIN, sources
    from service.cli.rendering import predictions
    from service.client import Client, PredictionError

    options: dict[str, Any] = {"version": version, "top_k": top_k, "threshold": threshold, "priority": priority}
    options |= {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    rows: list[Row] = []
    failed = False
    with Client(server) as client:
        asked = client.model(model)
        given: Iterable[Source] = sources(inputs, asked, version, text)
        if not (asked.raw_input == "text" and STDIN in inputs):
            given = _few_or_all(given)
        try:
            for name, outcome in _counted(_ask(client, model, given, options), given, quiet=as_json):
                failed |= isinstance(outcome, PredictionError)
                if as_json:
                    print_json(predictions.as_json(name, outcome, timing))
                else:
                    rows.append((name, outcome))
        finally:  # what was answered before the server went away, or Ctrl-C came, is shown all the same
            predictions.print_answers(rows, timing)
    if failed:
        raise typer.Exit(1)


def _few_or_all(given: Iterable[Source]) -> Iterable[Source]:
    """A list of what is little; of a large file the rows as they are read."""
    rest = iter(given)
    first = list(islice(rest, _AT_ONCE))
    return first if len(first) < _AT_ONCE else chain(first, rest)


_AT_ONCE = 1000


def _ask(client: Client, model: str, given: Iterable[Source], options: dict[str, Any]) -> Iterator[Row]:
    """Each source's fate, in their order. One alone is a plain call, which gRPC retries while the model loads."""
    from service.client import BadInput, InvalidRequest, PredictionError
    from service.client.errors import as_prediction_error

    if isinstance(given, list) and len(given) == 1 and not given[0].problem:
        try:
            [outcome] = client.predict(model, [given[0].value], **options)
        except (InvalidRequest, PredictionError) as error:
            outcome = as_prediction_error(error, 0)
        yield given[0].name, outcome
        return

    waiting: deque[Source] = deque()  # drawn, and not yet given out

    def values() -> Iterator[Any]:
        for source in given:
            waiting.append(source)
            if not source.problem:
                yield source.value

    def unsent() -> Iterator[Row]:
        while waiting and waiting[0].problem:
            source = waiting.popleft()
            yield source.name, as_prediction_error(BadInput(source.problem, reason="NOTHING_TO_SEND"), 0)

    for outcome in client.stream_predict(model, values(), **options):
        yield from unsent()
        yield waiting.popleft().name, outcome
    yield from unsent()


def _counted(rows: Iterator[Row], given: Iterable[Source], quiet: bool) -> Iterator[Row]:
    """`rows`, with a bar on stderr for people who wait for many."""
    from rich.progress import track

    console = stderr_console()
    many = isinstance(given, list) and len(given) > 1
    if quiet or not many or not console.is_terminal:
        return rows
    total = len(given) if isinstance(given, list) else None
    return iter(track(rows, "predicting", total=total, console=console, transient=True))
