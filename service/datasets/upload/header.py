"""The header of an upload, and the dataset id that follows from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from model_zoo import strict_json
from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.overrides import overrides_for_task
from service.datasets.readers.file_types import file_type
from service.errors import InvalidInput

MAX_NAME_CHARACTERS = 128
READER_VERSION = 3
"""Part of a dataset's id: raise it when the same bytes are read differently than before."""


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """A caller's description of the data, sent before them. `begin` checks it."""

    sha256: str
    size_bytes: int
    file_name: str
    offset: int = 0
    kind: DatasetKind | None = None
    columns: Columns = field(default_factory=Columns)
    display_name: str = ""
    owner: str = ""
    task: str = ""
    """The task to learn, by its Hugging Face id; inferred if empty."""
    private: bool = False
    """Whether a token proves the owner. Owners then share nothing: equal bytes give each of them an upload and a dataset of its
    own, so nobody learns by a digest what another has stored."""

    @property
    def part(self) -> str:
        """Name of the upload: equal names continue each other."""
        return part_name(self.sha256, self.owner if self.private else "")


def part_name(sha256: str, private_owner: str) -> str:
    """Name of an upload of bytes with a digest; `private_owner` is empty for uploads that all callers share."""
    if not private_owner:
        return sha256
    return f"{owner_prefix(private_owner)}{hashlib.sha256(f'{private_owner}/{sha256}'.encode()).hexdigest()}"


def owner_prefix(private_owner: str) -> str:
    """With this the names of all uploads of an owner begin, and no others."""
    return f"{hashlib.sha256(private_owner.encode()).hexdigest()[:32]}-"


def dataset_id_of(header: UploadHeader) -> str:
    """The id of a dataset: a digest of its bytes and of how they are to be read. The keys below are part of every stored id."""
    how = {
        "columns": header.columns.model_dump(mode="json"),
        "ending": file_type(header.file_name),
        "kind": header.kind,
        "reader": READER_VERSION,
        **({"task": header.task} if header.task else {}),
        **({"owner": header.owner} if header.private else {}),
    }
    return hashlib.sha256(f"{header.sha256}{strict_json.text(how, sort_keys=True)}".encode()).hexdigest()[:32]


def check_header(header: UploadHeader, limits: DatasetLimits) -> None:
    """Raises InvalidInput for a header that is wrong."""
    check_sha256("header.sha256", header.sha256)
    if header.size_bytes <= 0:
        raise InvalidInput("header.size_bytes", f"expected more than 0, got {header.size_bytes}")
    if header.size_bytes > limits.dataset_bytes:
        most = limits.dataset_bytes // MIB
        raise InvalidInput("header.size_bytes", f"a dataset has at most {most} MiB here, got {header.size_bytes} bytes")
    if not 0 <= header.offset <= header.size_bytes:
        raise InvalidInput("header.offset", f"expected 0 to header.size_bytes, got {header.offset}")
    file_type(header.file_name)
    overrides_for_task(header.task, header.kind)
    check_name(header.display_name)


def check_name(display_name: str) -> None:
    """Raises InvalidInput for a name that is too long."""
    if len(display_name) > MAX_NAME_CHARACTERS:
        raise InvalidInput(
            "header.display_name", f"expected at most {MAX_NAME_CHARACTERS} characters, got {len(display_name)}"
        )


def check_sha256(name: str, text: str) -> None:
    """Raises InvalidInput for the field `name` unless `text` is a SHA-256."""
    if len(text) != 64 or any(character not in "0123456789abcdef" for character in text):
        raise InvalidInput(name, f"expected a SHA-256 as 64 lower-case hexadecimal digits, got {text[:80]!r}")
