"""Small data in the formats of users, and a store for them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, DatasetReport
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore, UploadResult
from service.datasets.examples import StoredExamples
from service.datasets.upload import validator_process
from service.datasets.upload.header import UploadHeader
from service.datasets.validation.validate import (
    DATASET,
    REQUEST_FILE,
    ValidationRequest,
    validate,
)
from service.errors import InvalidInput, ZooError


def picture(seed: int, form: str = "JPEG", size: tuple[int, int] = (24, 16)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def sound(seed: int, samples: int = 1600) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    soundfile.write(buffer, noise, 16_000, format="WAV")
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return buffer.getvalue()


def photos(classes: Mapping[str, int], above: str = "") -> dict[str, bytes]:
    """That many different images of each class."""
    found: dict[str, bytes] = {}
    for name, count in classes.items():
        found |= {f"{above}{name}/{i}.jpg": picture(len(found) + i) for i in range(count)}
    return found


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def sentences(count: int = 20, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"sentence number {i} is here", "label": ("good", "bad")[i % 2], **more} for i in range(count)]


def read(
    folder: Path,
    file_name: str,
    data: bytes,
    kind: DatasetKind | None = None,
    limits: DatasetLimits | None = None,
    task: str = "",
    **columns: Any,
) -> StoredExamples:
    """Validate in this process, and open the dataset. Raises what validation raises."""
    staging = folder / f"staging-{len(list(folder.iterdir()))}"
    staging.mkdir()
    path = staging / "upload.part"
    path.write_bytes(data)
    order = ValidationRequest(
        id="0" * 32,
        data=path,
        file_name=file_name,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        kind=kind,
        task=task,
        columns=Columns(**columns),
        display_name="",
        uri="",
        owner="",
        limits=limits or DatasetLimits(),
    )
    (staging / REQUEST_FILE).write_text(order.model_dump_json())
    info: DatasetInfo = validate(staging)
    return StoredExamples(staging / DATASET, info)


def header(data: bytes, file_name: str, **more: Any) -> UploadHeader:
    return UploadHeader(hashlib.sha256(data).hexdigest(), len(data), file_name, **more)


async def upload(store: DatasetStore, data: bytes, file_name: str, **more: Any) -> UploadResult:
    """Upload like a client that sends everything at once."""
    begun = await store.begin(header(data, file_name, **more))
    if begun.existing is None:
        await store.append(begun, data)
    return await store.finish(begun)


def accept_everything(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the child process by one that accepts everything at once."""
    calls: list[Path] = []

    async def run(folder: Path, limits: DatasetLimits) -> None:
        order = ValidationRequest.model_validate_json((folder / REQUEST_FILE).read_bytes())
        made = folder / "dataset"
        made.mkdir()
        info = DatasetInfo(
            id=order.id,
            display_name=order.display_name,
            kind=order.kind or DatasetKind.TEXT,
            sha256=order.sha256,
            size_bytes=order.size_bytes,
            owner=order.owner,
            report=DatasetReport(examples=1),
            created=datetime.now(UTC),
        )
        (made / "dataset.json").write_text(info.model_dump_json())
        (made / "examples").mkdir()
        (made / "examples" / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
        (made / "examples" / "a.arrow").write_bytes(bytes(8))
        calls.append(folder)

    monkeypatch.setattr(validator_process, "run", run)
    return calls


def leftovers(home: Path) -> list[str]:
    """All entries of a home except complete datasets."""
    uploads_left = [path.name for path in (home / "uploads").glob("*")] if (home / "uploads").is_dir() else []
    return uploads_left + [path.name for path in (home / "datasets").glob(".*")]


async def refused(awaited: Any, kind: type[ZooError] = InvalidInput) -> ZooError:
    with pytest.raises(kind) as caught:
        await awaited
    return caught.value
