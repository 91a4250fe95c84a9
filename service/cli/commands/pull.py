"""`zoo pull`: fetches weights without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import optional_address
from service.cli.rendering.console import escaped, print_error, print_line, print_note, stderr_console
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.catalog import Catalog
    from model_zoo.materialised import Materialised
    from model_zoo.references.card_plan import Given
    from model_zoo.sources.artifact_source import Progress
    from service.settings import Settings


def pull(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names of models, or references: hf:ORG/NAME, hf:ORG/NAME@REVISION, timm:NAME, local:FOLDER, onnx:FILE, "
            "onnx:hf:ORG/NAME, onnx:https://HOST/PATH.",
        ),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Fetch the models of the default set.")] = False,
    name: Annotated[
        str, typer.Option("--name", help="Name of the model of a reference. Default: its repository's.")
    ] = "",
    task: Annotated[str, typer.Option("--task", help="Task of a reference, as a check.")] = "",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Names of the classes of a reference, a line each."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="What a reference does not say: max_tokens; of ONNX: max_length, max_batch_size, and for images size, "
            "resize_shorter, interpolation, mean, std. May be repeated.",
        ),
    ] = None,
    sha256: Annotated[
        str,
        typer.Option(
            "--sha256",
            metavar="DIGEST",
            help="Of the file at an address, in place of #sha256=DIGEST after it: 64 hex digits.",
        ),
    ] = "",
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Pull the models of a lock file, exactly: MODEL is the file; default zoo.lock."),
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            callback=optional_address,
            help="Let this server pull a reference into its home, where ZOO_ALLOW_PULL permits it. Default: this machine pulls.",
        ),
    ] = "",
) -> None:
    """Fetch, check and convert weights, so that a server can start without a network.

    A reference names a network as its makers do. Its card is derived from its files, and its answers are compared with those of
    its makers' library; `zoo serve --model NAME` then serves it.
    """
    # Options are checked before the slow imports.
    if locked and (default or name or task or labels or assignments or sha256 or len(model or []) > 1):
        raise typer.BadParameter("expected one lock file at most, and no other option", param_hint="--locked")
    if not (locked or model or default):
        raise typer.BadParameter("name one or more models, or give --default", param_hint="MODEL")
    given = _given(task, labels, assignments or [])

    from model_zoo.catalog import Catalog
    from model_zoo.errors import ZooModelError
    from model_zoo.inventory.lock_file import LOCK_NAME
    from model_zoo.references.reference import is_reference, with_digest
    from service.settings import load_settings

    settings = load_settings()
    if locked:
        if not _pull_locked(Path(*(model or [LOCK_NAME])), settings):
            raise typer.Exit(1)
        return
    catalog = Catalog.of_home(settings.home)
    wanted = list(dict.fromkeys((model or []) + (catalog.default_names() if default else [])))
    if sha256:
        if len(wanted) != 1:
            raise typer.BadParameter("it is the digest of one file", param_hint="--sha256")
        wanted = [with_digest(wanted[0], sha256)]
    references = [text for text in wanted if is_reference(text)]
    if (name or given is not None) and len(references) != 1:
        raise typer.BadParameter("--name, --task, --labels and --set are for one reference", param_hint="MODEL")
    for text in wanted:  # what is misspelt is an error before anything is fetched
        if text not in references:
            _check_card(catalog, text)
        elif not server:
            check_reference(text, name, given)
    if server and references != wanted:
        raise typer.BadParameter("a server pulls references, such as hf:ORG/NAME", param_hint="--server")
    failed = False
    for text in wanted:
        try:
            if server:
                _pull_at(server, text, name, given)
            elif text in references:
                pull_one(text, settings, name, given)
            else:
                failed |= not _pull_card(catalog, text, settings)
        except ZooModelError as error:
            print_error(str(error))
            failed = True
    if failed:
        raise typer.Exit(1)


def _check_card(catalog: Catalog, text: str) -> None:
    """Raises UnknownCard; BadParameter for a folder whose reference begins with its kind."""
    if text not in catalog and Path(text).is_dir():
        raise typer.BadParameter(f"the reference of a folder begins with its kind: local:{text}", param_hint="MODEL")
    catalog.get(text)


def check_reference(text: str, name: str = "", given: Given | None = None) -> None:
    """Refuses what needs no process to be found out, since one takes seconds to start. Raises ZooModelError."""
    from model_zoo.errors import SourceUnavailable
    from model_zoo.references.card_plan import check_settings, check_task
    from model_zoo.references.reference import parse_reference
    from service.references.publishing import model_name

    reference = parse_reference(text)
    if reference.kind == "local" and not Path(reference.place).is_dir():
        raise SourceUnavailable(reference.shown, f"there is no folder {reference.place}")
    is_file = reference.kind == "onnx" and not (reference.is_on_hub or reference.is_of_web)
    if is_file and not Path(reference.place).exists():
        raise SourceUnavailable(reference.shown, f"there is no file {reference.place}")
    model_name(reference, name)
    if given is not None:
        check_settings(reference.shown, reference.kind, given.settings)
        if given.task:
            check_task(given.task, reference.shown)


def pull_one(
    text: str, settings: Settings, name: str = "", given: Given | None = None, say: Callable[[str], None] = print_line
) -> str:
    """Pulls a reference, says what it is, and gives its name as a model. Raises ZooModelError."""
    from model_zoo.references.reference import parse_reference

    options: dict[str, Any] = {"name": name}
    if given is not None:
        options |= {"task": given.task, "labels": given.labels, "settings": dict(given.settings)}
    return _run_pull(settings, text, say, reference=str(parse_reference(text)), **options)


def _run_pull(settings: Settings, label: str, say: Callable[[str], None] = print_line, /, **order: Any) -> str:
    """Pulls in a process of its own, says what it is, and gives its name as a model. Raises ZooModelError."""
    from model_zoo.catalog import Catalog
    from model_zoo.store import Store
    from service.references.pull_messages import PullOrder
    from service.references.pull_process import PullProcess
    from service.settings import usable_memory_bytes

    asked = PullOrder(
        home=settings.home.absolute(),
        offline=settings.offline,
        memory=usable_memory_bytes(),
        budget=settings.memory_budget_mib << 20,
        **order,
    )
    with progress_bar(label) as progress:
        pulled = PullProcess(asked).run(say, progress)
    card = Catalog.of_home(settings.home).get(pulled.name)
    files = Store(settings.home).find(card)
    assert files is not None, "a pull ends with its files in place"
    _describe(card, files, pulled.already, "locked" in order, say)
    return pulled.name


def _pull_at(server: str, text: str, name: str, given: Given | None) -> None:
    """Lets a server pull a reference, and says what it is. The errors of the client end the command."""
    from service.cli.connection import connect

    with connect(server) as client:
        pulled = client.pull_model(
            text,
            name=name,
            task=given.task if given else "",
            labels=given.labels if given else (),
            settings=given.settings if given else None,
        )
    model = pulled.model
    print_line(f"{model.name}: {'already there' if pulled.already_present else 'pulled'}, at {server}")
    print_line(f"  {model.task}, {model.parameter_count:,} parameters, {model.family}")
    print_line(f"  load it: zoo load {model.name} --server {server}")


def _pull_locked(path: Path, settings: Settings) -> bool:
    """Pulls every model of a lock file, and says how. False if one failed. Raises InvalidLock, NotAsLocked."""
    from model_zoo.errors import ZooModelError
    from model_zoo.inventory.lock_file import read_lock
    from service.references.locked_pull import check_free

    cards = read_lock(path)
    for card in cards:  # before anything is fetched
        check_free(card, settings.home)
    good = True
    for card in cards:
        try:
            _run_pull(settings, card.name, reference=card.reference, name=card.name, locked=card)
        except ZooModelError as error:
            print_error(str(error))
            good = False
    return good


def _pull_card(catalog: Catalog, name: str, settings: Settings) -> bool:
    from model_zoo.cards.weight_source import WITHOUT_NETWORK
    from model_zoo.locking import shared_lock
    from model_zoo.store import Store
    from service.settings import HOME_LOCK

    card, store = catalog.get(name), Store(settings.home)
    found = store.find(card)
    if found is None and settings.offline and not isinstance(card.source, WITHOUT_NETWORK):
        print_error(f"{card.name} is not on this machine, and ZOO_OFFLINE forbids a fetch")
        return False
    if found is None:
        with shared_lock(settings.home / HOME_LOCK), progress_bar(card.name) as progress:
            files = store.materialise(card, progress)
    else:
        files = found
    size = format_size(files.weights.stat().st_size)
    print_line(f"{card.name}: {'already here' if found else 'fetched'}, {size} in {files.folder}")
    print_line(f"  licence of the weights: {card.licence.weights}")
    if not found:
        print_note(f"  serve it: zoo serve --model {card.name}; on a running server: zoo load {card.name}")
    return True


def _describe(card: Card, files: Materialised, already: bool, locked: bool, say: Callable[[str], None]) -> None:
    size = format_size(files.weights.stat().st_size)
    say(f"{card.name}: {'already here' if already else 'pulled'}, {size} in {files.folder}")
    classes = f", {len(card.class_names):,} classes" if card.class_names else ""
    say(f"  {card.task}{classes}, {card.parameters:,} parameters, {card.family}; input: {card.raw_input or 'tensors'}")
    if card.batching.single_rows_because:
        say(f"  a batch has one row: {card.batching.single_rows_because}")
    say(f"  licence: {card.licence.weights}; pulled from {card.reference}")
    for line in _checks(card, already, locked):
        say(f"  {line}")
    say(f"  serve it: zoo serve --model {card.name}")


def _checks(card: Card, already: bool, locked: bool) -> list[str]:
    """What this pull has checked, and what the card says of an earlier one."""
    lines = []
    if locked and already:
        lines.append("its card is that of the lock file; its files were here, and were not read again")
    elif locked:
        files, cases = len(card.source.files), len(card.golden)
        lines.append(f"{files:,} files have the digests of the lock file, and {cases:,} golden cases of its card hold")
    if (seen := card.verification) is not None:
        equals = f"equals {seen.library} on {seen.inputs} inputs: differs by {seen.max_difference:.2g}, allowed {seen.bound:g}"
        lines.append(f"by its card, as it was pulled first, it {equals}" if locked or already else equals)
    return lines


def _given(task: str, labels: Path | None, assignments: list[str]) -> Given | None:
    """The facts that the options state; None for none."""
    if not (task or labels or assignments):
        return None
    from model_zoo.references.card_plan import SETTINGS, Given

    settings = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if key not in SETTINGS or not sign:
            known = ", ".join(SETTINGS)
            raise typer.BadParameter(
                f"expected KEY=VALUE with one of {known}; got {assignment[:80]!r}", param_hint="--set"
            )
        settings[key] = value
    names: tuple[str, ...] = ()
    if labels is not None:
        try:
            text = labels.read_text("utf-8").removesuffix("\n")
            names = tuple(text.split("\n")) if text else ()  # `splitlines` would end a name at ten more characters
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter("the file cannot be read as UTF-8 text", param_hint="--labels") from error
    return Given(task, names, settings)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(label, total=None)

        def progress(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total or None, description=escaped(what))

        yield progress
