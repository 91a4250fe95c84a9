"""The errors of the zoo.

::

    ZooModelError
    ├── InvalidCard          a card breaks the rules of ``card.Card``, or two cards share a name
    ├── UnknownCard          no card has that name; ``near`` holds similar names
    ├── UnknownRecipe        Zoo has not trained a model of that name itself
    ├── UnusableTable        a table that a recipe is to learn from lacks a column, or numbers in it
    ├── InvalidReference     the text is not a reference to a network
    ├── InvalidName          the text is not a name of a model
    ├── NotDerivable         a repository does not say all that a card needs, or needs what Zoo does not have
    ├── InvalidLock          a lock file cannot be read, or a field of it is wrong
    ├── NotAsLocked          a model or a file differs from what a lock file pins
    ├── NotEqual             Zoo's answers differ from those of the makers' own library
    ├── PullRefused          a pull in a process of its own ended with one of the errors here
    ├── SourceUnavailable    the artifact cannot be reached: no network, no such file, no such package
    │   └── SourceNotFound   the source answers, and has no such repository, revision, package or file
    ├── DigestMismatch       a file differs from the card; it has been removed
    ├── ConversionFailed     a file is the right one, but does not fit the architecture on the card
    ├── StoreUnusable        ``ZOO_HOME`` or temporary files cannot be written, or a disk is full
    ├── UnknownVersion       a model has no fine-tuned version of that number
    ├── VersionDamaged       a version's files differ from those that were published
    └── VersionTooNew        a newer Zoo published a version, and its card has what this Zoo does not know

Messages are written for users: they name the model, the file and the next step. They hold no stack trace and no absolute path, so
they may be sent to a client.

Beside the tree: ``panics_as_errors`` makes an Exception of the panics of libraries in Rust, which are none.
"""

from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from model_zoo.similar_names import similar_names


class ZooModelError(Exception):
    """A model of the zoo is not ready. ``str(error)`` is fit for a user."""


class InvalidCard(ZooModelError):
    """A card is not valid.

    Attributes:
        card: name of the card, or of its file if the card cannot be read.
        reason: the fault alone.
        fields: dotted paths of the invalid fields; empty if the fault is not in a field.
    """

    def __init__(self, card: str, reason: str, fields: Sequence[str] = ()) -> None:
        super().__init__(f"card {card!r} is not valid: {reason}")
        self.card = card
        self.reason = reason
        self.fields = tuple(fields)


class UnknownCard(ZooModelError):
    """No card has this name.

    Attributes:
        name: the requested name.
        near: similar names, most similar first; may be empty.
    """

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"the catalog has no model named {name!r}{hint}")
        self.name = name
        self.near = list(near)


class UnknownRecipe(ZooModelError):
    """Zoo has no recipe to train a model of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        shown = name if len(name) <= 64 else f"{name[:63]}…"
        near = similar_names(name, known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"Zoo has no recipe for {shown!r}; it has {', '.join(known)}{hint}")


class UnusableTable(ZooModelError):
    """A recipe cannot learn from a table."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the table cannot be learned from: {reason}")


class InvalidReference(ZooModelError):
    """A text is not a reference to a network."""

    def __init__(self, text: str, reason: str) -> None:
        shown = text if len(text) <= 200 else f"{text[:199]}…"
        super().__init__(f"{shown!r} is not a reference to a network: {reason}")
        self.reason = reason


class InvalidName(ZooModelError):
    """A text is not a name that a pulled model may have."""

    def __init__(self, text: str, hint: str = "") -> None:
        """`hint`: what the user may do."""
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        expected = "expected a to z, 0 to 9 and _, no _ at the beginning, 63 characters at most"
        super().__init__(f"{shown!r} is no name of a model: {expected}{f'; {hint}' if hint else ''}")


class NotDerivable(ZooModelError):
    """No card can be derived from a repository: it does not say something, or needs something that Zoo does not have.

    Attributes:
        reference: the repository, for users.
        reason: the fault alone.
        option: the option of ``zoo pull`` that would supply what is missing; empty if none would.
    """

    def __init__(self, reference: str, reason: str, option: str = "") -> None:
        hint = f"; give {option}" if option else ""
        super().__init__(f"{reference} cannot be served: {reason}{hint}")
        self.reference = reference
        self.reason = reason
        self.option = option


class InvalidLock(ZooModelError):
    """A lock file is not one."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} cannot be used: {reason}")
        self.file = file
        self.reason = reason


class NotAsLocked(ZooModelError):
    """A model on this machine, or a file of its source, differs from what a lock file pins."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"{model} is not what the lock file pins: {reason}")
        self.model = model
        self.reason = reason


class NotEqual(ZooModelError):
    """A network was fetched, and Zoo's answers differ from those of the makers' own library, so that it is not served.

    `compared`: whether that library gave answers.
    """

    def __init__(self, reference: str, reason: str, *, compared: bool = True) -> None:
        unlike = "Zoo's answers differ from those of its makers' library"
        what = unlike if compared else "its makers' library gives no answers to compare with"
        super().__init__(f"{reference} was not taken: {what}: {reason}")
        self.reference = reference
        self.reason = reason


class PullRefused(ZooModelError):
    """A pull that ran in a process of its own ended with an error there.

    Attributes:
        error: name of the class of that error; empty where the process ended without one.
    """

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error


class SourceUnavailable(ZooModelError):
    """The source of a file cannot be reached, or does not have it. A later attempt may succeed."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"cannot fetch {what}: {reason}")
        self.what = what
        self.reason = reason


class SourceNotFound(SourceUnavailable):
    """The source answers, and does not have it."""


class DigestMismatch(ZooModelError):
    """A file does not have the expected content. It has been removed, so the next attempt starts from the beginning.

    Attributes:
        file: name of the file, without folders.
        expected: the expected sha256, lower-case hex.
        got: the sha256 of the file.
    """

    def __init__(self, file: str, expected: str, got: str) -> None:
        super().__init__(
            f"{file} has sha256 {got}, but {expected} was expected; the file was removed. A mirror or a proxy may have "
            f"changed it: try again, or fetch it from another index"
        )
        self.file = file
        self.expected = expected
        self.got = got


class ConversionFailed(ZooModelError):
    """The source file could not be converted to the weights of the architecture on the card."""

    def __init__(self, card: str, reason: str) -> None:
        super().__init__(f"the weights of {card!r} could not be converted: {reason}")
        self.card = card
        self.reason = reason


class StoreUnusable(ZooModelError):
    """The folders of the store, or those for temporary files, cannot be written or read."""

    def __init__(self, reason: str, folder: str = "the folder of ZOO_HOME") -> None:
        super().__init__(f"{folder} cannot be used: {reason.lower()}")
        self.reason = reason


class UnknownVersion(ZooModelError):
    """A model has no fine-tuned version of that number."""

    def __init__(self, model: str, number: int) -> None:
        super().__init__(f"model {model!r} has no version {number}")
        self.model = model
        self.number = number


class VersionTooNew(ZooModelError):
    """A newer Zoo published a version, and its card is none that this Zoo understands; that Zoo can serve it.

    Attributes:
        reason: the cause alone.
    """

    def __init__(self, model: str, number: int, release: str) -> None:
        self.reason = f"it needs Zoo {release} or newer, which published it"
        super().__init__(f"version {number} of {model!r} cannot be served: {self.reason}")
        self.model = model
        self.number = number


class VersionDamaged(ZooModelError):
    """A version's files differ from those that were published. They cannot be fetched again; train or publish a new version."""

    def __init__(self, model: str, number: int, reason: str) -> None:
        which = f"version {number} of {model!r}" if number else f"what should become a version of {model!r}"
        super().__init__(f"{which} is damaged: {reason}")
        self.model = model
        self.number = number
        self.reason = reason


class LibraryPanic(RuntimeError):
    """A library raised what is neither an Exception nor an order to end. ``__cause__`` is what it raised."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raises LibraryPanic for a panic in the block. A cancellation, an interrupt and an exit stay what they are."""
    try:
        yield
    except (Exception, CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise LibraryPanic(f"a library ended with {type(error).__name__}") from error
