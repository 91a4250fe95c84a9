"""Reads the files of a dataset: intact, or damaged with a reason. One damaged dataset does not affect the others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_zoo import strict_json
from service.datasets.dataset import DatasetInfo, DatasetKind, dataset_folder
from service.datasets.validation.canonical import EXAMPLES
from service.datasets.validation.validate import INFO_FILE
from service.errors import Damaged

STATE = "state.json"
END_OF_STREAM = b"\0\0\0\0"
"""The last bytes of Arrow's stream format; a truncated file ends with others."""
MAX_FIELD_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class DamagedDataset:
    """A dataset whose files cannot be read: it can only be listed and deleted."""

    id: str
    reason: str
    """The unreadable part: one clause, without paths."""
    created: datetime
    """From `dataset.json`, or else the time at which the folder was last changed."""
    display_name: str = ""
    kind: DatasetKind | None = None
    """None if the kind cannot be read."""
    owner: str = ""
    size_bytes: int = 0

    def error(self) -> Damaged:
        """The error for callers that need the data."""
        return Damaged(f"dataset {self.id!r}", self.reason, "delete it, and upload the data again")


class _FileFault(Exception):
    """One clause on what is wrong with a file."""


def read_dataset(home: Path, dataset_id: str) -> DatasetInfo | DamagedDataset | None:
    """A dataset, intact or damaged; None if it does not exist. Checks that its examples exist, without reading them. Blocks."""
    folder = dataset_folder(home, dataset_id)
    try:
        changed = folder.stat(follow_symlinks=False).st_mtime
    except OSError:
        return None
    document: object = None
    try:
        if not folder.is_dir():
            raise _FileFault("something else is in the place of its folder")
        document = _document(folder / INFO_FILE, INFO_FILE)
        info = _info(document)
        if info.id != dataset_id:
            raise _FileFault(f"its {INFO_FILE} is of another dataset")
        check_examples(folder / EXAMPLES)
    except _FileFault as fault:
        if not folder.exists() and not folder.is_symlink():  # deleted at this moment
            return None
        return _damaged(dataset_id, str(fault), changed, document)
    return info


def check_examples(folder: Path) -> None:
    """Raises for files of examples that are missing or truncated. Does not read their content."""
    state = _document(folder / STATE, f"{EXAMPLES}/{STATE}")
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError):
        raise _FileFault(f"its {EXAMPLES}/{STATE} does not name the files of its examples") from None
    if not names:
        raise _FileFault(f"its {EXAMPLES}/{STATE} names no file of examples")
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                file.seek(-len(END_OF_STREAM), 2)
                end = file.read()
        except FileNotFoundError:
            raise _FileFault("the file of its examples is missing") from None
        except (OSError, ValueError):
            raise _FileFault("the file of its examples is empty or cannot be read") from None
        if end != END_OF_STREAM:
            raise _FileFault("the file of its examples is cut off")


def file_signature(folder: Path) -> tuple[object, ...]:
    """A value that changes when the files of a dataset change."""
    found: list[object] = []
    for path in (folder, folder / INFO_FILE, folder / EXAMPLES, folder / EXAMPLES / STATE, *_shards(folder)):
        try:
            status = path.stat(follow_symlinks=False)
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


def _shards(folder: Path) -> list[Path]:
    try:
        return sorted((folder / EXAMPLES).glob("*.arrow"))
    except OSError:
        return []


def _document(path: Path, name: str) -> Any:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _FileFault(f"its {name} is missing") from None
    except OSError:
        raise _FileFault(f"its {name} cannot be read") from None
    if not data.strip(b" \t\r\n\0"):
        raise _FileFault(f"its {name} is empty")
    try:
        return strict_json.read(data)
    except ValueError:
        raise _FileFault(f"its {name} is not JSON, or contains a number that is not finite") from None


def _info(document: object) -> DatasetInfo:
    try:
        # A newer Zoo may have added fields; what examples mean is in those that every Zoo knows.
        return strict_json.validated(DatasetInfo, document, ignore_unknown=True)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"][:2])
        field = f": {where[:MAX_FIELD_CHARACTERS]!r} is missing or wrong" if where else ""
        raise _FileFault(f"its {INFO_FILE} is not in its original form{field}") from None


def _damaged(dataset_id: str, reason: str, changed: float, document: object) -> DamagedDataset:
    """A damaged dataset with the fields that can still be read."""
    fields = document if isinstance(document, dict) else {}
    created = datetime.fromtimestamp(0, UTC)
    with suppress(ValueError, OverflowError, OSError):
        created = datetime.fromtimestamp(changed, UTC)
    with suppress(ValueError, TypeError, OverflowError):
        parsed = datetime.fromisoformat(fields["created"]) if "created" in fields else created
        created = parsed if parsed.tzinfo is not None else created
    kind = fields.get("kind")
    size = fields.get("size_bytes")
    return DamagedDataset(
        dataset_id,
        reason,
        created,
        display_name=_text(fields.get("display_name")),
        kind=DatasetKind(kind) if isinstance(kind, str) and kind in list(DatasetKind) else None,
        owner=_text(fields.get("owner")),
        size_bytes=size if isinstance(size, int) and 0 <= size < 2**63 else 0,
    )


def _text(value: object) -> str:
    return value.encode("utf-8", "replace").decode()[:128] if isinstance(value, str) else ""
