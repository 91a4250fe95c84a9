"""Real photos and texts as data sets, and jobs of method `head` on them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.examples import open_dataset
from service.datasets.upload.header import (
    UploadHeader,
    dataset_id_of,
)
from service.datasets.validation.validate import (
    ValidationRequest,
    validate,
)
from service.training.data.feature_cache import FeatureCache, features_folder
from service.training.job_spec import (
    JobSpec,
    Method,
    WorkOrder,
)
from service.training.protocol import (
    WorkerMessage,
)

STAMPS = Path("/usr/share/tuxpaint/stamps")
FORTUNES = Path("/usr/share/games/fortunes")
PHOTO_CLASSES = {
    "birds": "animals/birds",
    "clothes": "clothes",
    "coins": "symbols/money",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "mammals": "animals/mammals",
    "tools": "household/tools",
    "vehicles": "vehicles",
}
NO_PHOTO = ("cartoon", "toys", "_mirror", "_flip")
TOPICS = ("computers", "food", "law", "love", "medicine", "politics", "science", "songs-poems", "sports", "startrek")


def _or_skip(folder: Path, package: str) -> None:
    if not folder.is_dir():
        reason = f"{package} is missing; apt-get install --no-install-recommends {package} brings it"
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def stamps(classes: Sequence[str] = tuple(PHOTO_CLASSES), most: int | None = None) -> dict[str, list[Path]]:
    """Photos by class, sorted by name, without cartoons and toys."""
    _or_skip(STAMPS, "tuxpaint-stamps-default")
    found = {}
    for name in classes:
        paths = sorted((STAMPS / PHOTO_CLASSES[name]).rglob("*.png"))
        found[name] = [p for p in paths if not any(word in str(p) for word in NO_PHOTO)][:most]
    return found


def photos_zip(photos: Mapping[str, Sequence[Path]]) -> bytes:
    """An archive with a folder for each class."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for label, paths in photos.items():
            for i, path in enumerate(paths):
                archive.writestr(f"{label}/{i:03}-{path.name}", path.read_bytes())
    return packed.getvalue()


def voices_zip(narrators: Sequence[str], most: int) -> bytes:
    """An archive with a folder for each language in which Tux Paint's stamps say their names."""
    _or_skip(STAMPS, "tuxpaint-stamps-default")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for narrator in narrators:
            for path in sorted(STAMPS.rglob(f"*_desc_{narrator}.ogg"))[:most]:
                archive.writestr(f"{narrator}/{path.name}", path.read_bytes())
    return packed.getvalue()


def fortunes(topics: Sequence[str] = TOPICS, most: int = 200) -> list[tuple[str, str]]:
    """(text, topic) of each fortune."""
    _or_skip(FORTUNES, "fortunes")
    found = []
    for topic in topics:
        texts = re.split(r"^%+\s*$", (FORTUNES / topic).read_text("utf-8", "replace"), flags=re.MULTILINE)
        found += [(text.strip(), topic) for text in texts if text.strip()][:most]
    return found


def texts_csv(rows: Sequence[tuple[str, object]], target: str = "label") -> bytes:
    """A table with two columns, `text` and the target."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["text", target])
    writer.writerows(rows)
    return written.getvalue().encode()


def add_dataset(
    home: Path,
    data: bytes,
    file_name: str,
    kind: DatasetKind | None = None,
    columns: Columns = Columns(),  # noqa: B008
) -> str:
    """Validates a data set as an upload would, in this process, and returns its id."""
    sha256 = hashlib.sha256(data).hexdigest()
    header = UploadHeader(sha256, len(data), file_name, kind=kind, columns=columns)
    identity = dataset_id_of(header)
    staging = home / f"staging-{identity}"
    staging.mkdir(parents=True)
    (staging / file_name).write_bytes(data)
    order = ValidationRequest(
        id=identity,
        data=staging / file_name,
        file_name=file_name,
        sha256=sha256,
        size_bytes=len(data),
        kind=kind,
        columns=columns,
        display_name="",
        uri="",
        owner="",
        limits=DatasetLimits(),
    )
    (staging / "order.json").write_text(order.model_dump_json())
    validate(staging)
    target = home / "datasets" / identity
    target.parent.mkdir(exist_ok=True)
    (staging / "dataset").rename(target)
    return identity


def home_with_weights(folder: Path, zoo_home: Path) -> Path:
    """An empty ZOO_HOME with a link to the real weights."""
    home = folder / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home / "weights")
    return home


def head_order(home: Path, dataset: str, base: str, task: str, model: str = "mine", **more: Any) -> WorkOrder:
    """A job of method `head`."""
    spec = {name: more.pop(name) for name in ("seed", "hyperparameters") if name in more}
    return WorkOrder(
        job_id="j1",
        spec=JobSpec(base=base, dataset_id=dataset, model=model, task=task, method=Method.HEAD, **spec),
        home=home,
        **more,
    )


def run_head(order: WorkOrder, folder: Path, stop: Any = None) -> list[WorkerMessage]:
    """Runs a job of method `head` in this process and returns its messages."""
    from service.training.methods.head import train_head
    from service.training.stop_signal import StopSignal

    messages: list[WorkerMessage] = []
    folder.mkdir(parents=True, exist_ok=True)
    send: Callable[[WorkerMessage], None] = messages.append
    train_head(order, folder, send, stop or StopSignal())
    return messages


def cached_features(home: Path, base: str, dataset: str) -> FeatureCache:
    """The cache of a base's features on a data set."""
    card = Catalog.of_home(home).get(base)
    files = Store(home).find(card)
    assert files is not None
    examples = open_dataset(home, dataset)
    return FeatureCache(features_folder(home, card, files, examples.info), len(examples))
