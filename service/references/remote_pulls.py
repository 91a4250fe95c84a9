"""Pulls that callers of the server ask for: only where the operator allows it, only from a hub, one at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from model_zoo.errors import InvalidReference, PullRefused, ZooModelError
from model_zoo.references.card_plan import settings_of
from model_zoo.references.reference import parse_reference
from service.errors import (
    CannotPull,
    InvalidInput,
    NotFound,
    NotReady,
    PermissionDenied,
    RateLimited,
    StorageFull,
    ZooError,
)
from service.observability.log import logger
from service.references.publishing import known_card, model_name
from service.references.pull_messages import PullOrder
from service.references.pull_process import PulledModel, PullProcess

log = logger(__name__)

MOST_WAITING = 8
"""Pulls that wait for another one; more are refused at once."""
RETRY_S = 30.0
LONGEST_TEXT = 512
"""Characters of a reference, a name, a task, or a key or value of the settings."""
MOST_LABELS = 100_000
LONGEST_LABELS = 4_000_000
"""Characters of all labels."""
MOST_SETTINGS = 32
_FIELDS = (
    (r"one of them by --set file=PATH", "one of them as settings[file]"),
    (r"--set (\w+)=N\b", r"settings[\1]"),
    (r"--set (\w+)", r"settings[\1]"),
    (r"--labels FILE(, a name a line)?", "labels"),
    (r"--task (\S+?)(?=,|\s|$)", r"the task \1"),
    (r"(one|another name) by --name", r"\1"),
)
"""Options of `zoo pull` in messages, as patterns, and the fields of a request that say the same."""


@dataclass(frozen=True)
class PullRequest:
    """A reference, and what its repository does not say."""

    reference: str
    name: str = ""
    task: str = ""
    labels: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


class RemotePulls:
    """Runs pulls for callers. All methods belong to the event loop."""

    def __init__(self, home: Path, *, allowed: bool, offline: bool, memory: int, budget: int) -> None:
        """`memory`, `budget`: see `PullOrder`."""
        self._home = home.absolute()
        self._allowed, self._offline = allowed, offline
        self._memory, self._budget = memory, budget
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def pull(self, request: PullRequest) -> PulledModel:
        """Pulls a network into the home of this server. A cancelled caller ends the pull.

        Raises:
            PermissionDenied: the operator does not allow pulls, or the reference is not of a hub.
            InvalidInput: a field is missing, too long or of the wrong form.
            NotFound: the hub has no such repository, revision or file.
            CannotPull: Zoo cannot serve the network, or it does not give its makers' answers.
            NotReady: the hub does not answer.
            StorageFull: the home cannot be written.
            RateLimited: too many pulls wait.
        """
        order = self._order(request)
        if self._waiting >= MOST_WAITING:
            raise RateLimited(f"{self._waiting} pulls wait already", RETRY_S)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(order)
        finally:
            self._waiting -= 1

    def _order(self, request: PullRequest) -> PullOrder:
        _check(request)
        if not self._allowed:
            raise PermissionDenied("this server pulls no models for its callers; its operator may set ZOO_ALLOW_PULL")
        try:
            reference = parse_reference(request.reference)
        except InvalidReference as error:
            raise InvalidInput("reference", error.reason) from error
        if not reference.is_on_hub:
            # An address of the web would let a caller send requests from inside the server's network.
            raise PermissionDenied("callers may pull from a hub only, not from files of the server or other addresses")
        known = settings_of(reference.kind)
        for key in request.settings:
            if key not in known:
                expected = ", ".join(known) if known else f"no setting, as {reference.kind} says all"
                raise InvalidInput(f"settings[{key[:64]}]", f"is unknown; expected {expected}")
        return PullOrder(
            reference=str(reference),
            home=self._home,
            name=request.name,
            task=request.task,
            labels=tuple(request.labels),
            settings=dict(request.settings),
            offline=self._offline,
            memory=self._memory,
            budget=self._budget,
        )

    async def _run(self, order: PullOrder) -> PulledModel:
        try:
            await asyncio.to_thread(_check_name, order)
        except ZooModelError as error:
            raise _as_zoo_error(order, PullRefused(str(error), type(error).__name__)) from error
        process = PullProcess(order)
        log.info("a pull begins", reference=order.reference)
        work = asyncio.ensure_future(asyncio.to_thread(process.run, _log_line, _ignore))
        try:
            pulled = await asyncio.shield(work)
        except asyncio.CancelledError:
            process.stop()
            with suppress(PullRefused):
                await work  # the next pull begins once this one has removed what is half done
            raise
        except PullRefused as error:
            log.warning("a pull was refused", reference=order.reference, reason=str(error))
            raise _as_zoo_error(order, error) from error
        log.info("a pull has ended", reference=order.reference, model=pulled.name, already=pulled.already)
        return pulled


def _check_name(order: PullOrder) -> None:
    """As the process does it, which takes long to start. Raises ZooModelError for a name that is none or is another model's."""
    reference = parse_reference(order.reference)
    known_card(reference, order.home, model_name(reference, order.name))


def _check(request: PullRequest) -> None:
    """Raises InvalidInput for a missing reference, and for fields that are too large."""
    if not request.reference:
        raise InvalidInput("reference", "is required")
    texts = {"reference": request.reference, "name": request.name, "task": request.task}
    if len(request.settings) > MOST_SETTINGS:
        raise InvalidInput("settings", f"expected at most {MOST_SETTINGS}, got {len(request.settings)}")
    for key, value in request.settings.items():
        texts |= {"settings": key, f"settings[{key[:64]}]": value}
        _check_texts(texts)
    _check_texts(texts)
    if len(request.labels) > MOST_LABELS:
        raise InvalidInput("labels", f"expected at most {MOST_LABELS:,}, got {len(request.labels):,}")
    if sum(map(len, request.labels)) > LONGEST_LABELS:
        raise InvalidInput("labels", f"expected at most {LONGEST_LABELS:,} characters together")


def _check_texts(texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        if len(text) > LONGEST_TEXT:
            raise InvalidInput(path, f"expected at most {LONGEST_TEXT} characters, got {len(text)}")
        if not text.isprintable():
            raise InvalidInput(path, "holds characters that cannot be printed")


def _as_zoo_error(order: PullOrder, refused: PullRefused) -> ZooError:
    message = _in_fields(str(refused))
    match refused.error:
        case "SourceNotFound":
            return NotFound("reference", order.reference, known=message)
        case "SourceUnavailable":
            return NotReady(message)
        case "InvalidReference":
            return InvalidInput("reference", message)
        case "InvalidName":
            return InvalidInput("name", message)
        case "StoreUnusable":
            return StorageFull("the server cannot store the model; its log says why")
    return CannotPull(message)


def _in_fields(message: str) -> str:
    """A message that speaks of options of `zoo pull`, in the fields of the request. A command in it stays as it is."""
    told, *commands = re.split(r"(?=\bzoo pull )", message, maxsplit=1)
    for option, field_name in _FIELDS:
        told = re.sub(rf"(?<![^\s(]){option}", field_name, told)
    return "".join([told, *commands])


def _log_line(line: str) -> None:
    log.info("pull", line=line)


def _ignore(done: int, total: int, what: str) -> None:
    """Progress is not reported over gRPC."""
