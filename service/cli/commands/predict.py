"""`zoo predict`: predictions for files, folders, texts, rows or series."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Model, Server
from service.cli.rendering.console import print_json, print_note, stderr_console

if TYPE_CHECKING:
    from service.cli.inputs.input_source import InputSource
    from service.cli.rendering.drawing import Drawing
    from service.cli.rendering.predictions import NamedOutcome
    from service.client import Client, ModelInfo, Outcome

    SourcedOutcome = tuple[InputSource, Outcome]
    """An input, and its result or error."""

_MOST_HELD = 1000
"""Fewer inputs than this are held as a list, so that their number is known; more are read while they are sent."""


def predict(
    model: Model,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|TEXT|JSON...",
            help="Files, folders or archives of files; texts for a text model; JSON or tables for rows and series; - is stdin.",
        ),
    ],
    server: Server = DEFAULT_SERVER,
    version: Annotated[str, typer.Option(metavar="V", help="Number or alias of a version.", show_default=False)] = "",
    top_k: Annotated[int | None, typer.Option(metavar="K", help="How many labels to return, best first.")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="P", help="Leave out labels with a lower score.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", help="Most tokens that a generating model adds.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Sampling temperature, 0 to 2; 0 takes the likeliest token.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Random seed of sampling.")] = None,
    text: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of a table that holds the texts.", show_default=False)
    ] = "",
    text_pair: Annotated[
        str | None,
        typer.Option(
            "--text-pair",
            metavar="TEXT|COLUMN",
            help="A second text that is read with each input; of a table, the column that holds it.",
        ),
    ] = None,
    query: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The query of a ranking model; each input is a document of it.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="A label to choose from, for a zero-shot model; repeatable."),
    ] = None,
    hypothesis_template: Annotated[
        str | None,
        typer.Option("--hypothesis-template", metavar="TEXT", help="A sentence with {} in place of a label."),
    ] = None,
    multi_label: Annotated[
        bool | None, typer.Option("--multi-label", help="Decide each label alone.", show_default=False)
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|NUMBERS", help="Kernel of an image filter: a name, or nine numbers as 0,-1,0,-1,5,-1,0,-1,0."
        ),
    ] = None,
    kernel_scale: Annotated[
        float | None, typer.Option("--kernel-scale", metavar="S", help="Divide the sums of a kernel by S.")
    ] = None,
    kernel_offset: Annotated[
        float | None, typer.Option("--kernel-offset", metavar="O", help="Add O grey levels after that.")
    ] = None,
    attribute: Annotated[
        bool,
        typer.Option(
            "--attribute",
            help="Say which words or parts of a photo the best label follows from; takes 101 rows an input.",
        ),
    ] = False,
    priority: Annotated[
        int, typer.Option(metavar="N", help="Order among waiting requests: 1 first, 9 last; 0 is the default.")
    ] = 0,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the pictures of the answers, or copies with what was found, to a folder.",
            show_default=False,
        ),
    ] = None,
    timing: Annotated[
        bool, typer.Option("--timing", help="Show the time of each stage, and the batch's rows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Predict for files, folders, texts, rows or series. Exit code 1 if any input failed."""
    from service.cli.inputs.input_source import STDIN
    from service.cli.inputs.read_inputs import input_sources
    from service.cli.rendering import predictions
    from service.client import PredictionError

    options: dict[str, Any] = {"version": version, "top_k": top_k, "threshold": threshold, "priority": priority}
    options |= {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    options |= {"candidate_labels": label or (), "hypothesis_template": hypothesis_template, "multi_label": multi_label}
    options |= {"kernel": kernel, "kernel_scale": kernel_scale, "kernel_offset": kernel_offset}
    options |= {"attribute": attribute}
    outcomes: list[NamedOutcome] = []
    failed = False
    with connect(server) as client:
        info = client.model(model)
        drawing = None if draw is None else _drawing(draw, info, attribute)
        sources: Iterable[InputSource] = input_sources(inputs, info, version, text, text_pair, query)
        if not (info.raw_input == "text" and STDIN in inputs):  # lines of stdin are answered as they come
            sources = _list_if_few(sources)
        try:
            for source, outcome in _with_progress(_outcomes(client, model, sources, options), sources, quiet=as_json):
                failed |= isinstance(outcome, PredictionError)
                drawn = None
                if drawing is not None:
                    drawn, problem = _drawn(drawing, source, outcome)
                    failed |= problem
                if as_json:
                    line = predictions.as_json(source.name, outcome, timing)
                    print_json(line if drawn is None else {**line, "drawn": str(drawn)})
                else:
                    outcomes.append((source.name, outcome))
        finally:  # after Ctrl-C or a lost server the answers so far are printed too
            predictions.print_answers(outcomes, timing, drawn=drawing is not None)
            if drawing is not None and drawing.count:
                print_note(f"pictures written: {drawing.count:,}, in {draw}{drawing.beside}")
    if failed:
        raise typer.Exit(1)


def _drawing(folder: Path, info: ModelInfo, attribute: bool) -> Drawing:
    """What draws into the folder. Exits for a model whose answers cannot be drawn, and for a folder that cannot be made."""
    from service.cli.rendering.drawing import ATTRIBUTED_TASK, DRAWN_TASKS, CannotDraw, Drawing

    if info.task not in DRAWN_TASKS and not (attribute and info.task == ATTRIBUTED_TASK):
        if info.task == ATTRIBUTED_TASK:
            raise typer.BadParameter(
                "labels cannot be drawn; what they follow from can: add --attribute", param_hint="--draw"
            )
        raise typer.BadParameter(
            f"answers of {info.name} ({info.task}) cannot be drawn; those of {', '.join(DRAWN_TASKS)} can,"
            f" and those of {ATTRIBUTED_TASK} with --attribute",
            param_hint="--draw",
        )
    try:
        return Drawing(folder)
    except CannotDraw as error:
        raise typer.BadParameter(str(error), param_hint="--draw") from None


def _drawn(drawing: Drawing, source: InputSource, outcome: Outcome) -> tuple[Path | None, bool]:
    """The path of the copy, if one was written, and whether that failed."""
    from service.cli.rendering.drawing import CannotDraw

    try:
        return drawing.draw(source.name, source.value, outcome, source.folder), False
    except CannotDraw as error:
        print_note(f"{source.name}: {error}")
        return None, True


def _list_if_few(sources: Iterable[InputSource]) -> Iterable[InputSource]:
    """A list of few inputs; of many an iterator that reads them as they are sent."""
    rest = iter(sources)
    first = list(islice(rest, _MOST_HELD))
    return first if len(first) < _MOST_HELD else chain(first, rest)


def _outcomes(
    client: Client, model: str, sources: Iterable[InputSource], options: dict[str, Any]
) -> Iterator[SourcedOutcome]:
    """The outcome of each input, in their order. A single input is a unary call, which gRPC retries while the model loads."""
    from service.cli.rate_limits import RATE_LIMITED, once_permitted
    from service.client import BadInput, InvalidRequest, Overloaded, PredictionError
    from service.client.errors import as_prediction_error

    if isinstance(sources, list) and len(sources) == 1 and not sources[0].problem:
        try:
            [outcome] = client.predict(model, [sources[0].value], **options)
        except (InvalidRequest, PredictionError) as error:
            outcome = as_prediction_error(error, 0)
        except Overloaded as error:
            if error.reason != RATE_LIMITED:
                raise
            outcome = once_permitted(client, model, sources[0].value, as_prediction_error(error, 0), options)
        yield sources[0], outcome
        return

    unanswered: deque[InputSource] = deque()  # read, and without an outcome so far

    def values() -> Iterator[Any]:
        for source in sources:
            unanswered.append(source)
            if not source.problem:
                yield source.value

    def unsent() -> Iterator[SourcedOutcome]:
        while unanswered and unanswered[0].problem:
            source = unanswered.popleft()
            yield source, as_prediction_error(BadInput(source.problem, reason="NOTHING_TO_SEND"), 0)

    for outcome in client.stream_predict(model, values(), **options):
        yield from unsent()
        source = unanswered.popleft()
        yield source, once_permitted(client, model, source.value, outcome, options)
    yield from unsent()


def _with_progress(
    outcomes: Iterator[SourcedOutcome], sources: Iterable[InputSource], quiet: bool
) -> Iterator[SourcedOutcome]:
    """`outcomes`, with a progress bar on stderr if a person waits for several."""
    from rich.progress import track

    console = stderr_console()
    if quiet or not isinstance(sources, list) or len(sources) < 2 or not console.is_terminal:
        return outcomes
    return iter(track(outcomes, "predicting", total=len(sources), console=console, transient=True))
