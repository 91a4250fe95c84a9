"""The folders of a home, one after another."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from model_zoo import strict_json
from model_zoo.catalog import Catalog
from model_zoo.errors import UnknownVersion, VersionDamaged
from model_zoo.sources.digest import sha256_of_file
from model_zoo.version_folder import MODEL_NAME
from model_zoo.versions import Versions
from service.datasets.damaged_datasets import DamagedDataset, read_dataset
from service.datasets.dataset import DATASETS, DatasetInfo
from service.datasets.examples import is_dataset_id, open_dataset
from service.datasets.upload.uploads import UPLOAD_RETENTION_S, UPLOADS
from service.doctor.findings import Report
from service.errors import ZooError
from service.jobs.job_folder import JOBS, checkpoint_faults, job_folder
from service.settings import HOME_FOLDERS

MIB = 1 << 20
CHECKS = re.compile(r"\.checks-[0-9]+\.json(\.[0-9a-f]+\.new)?")
"""What was measured of a version, beside its folder."""
LITTLE = 1024 * MIB
"""Free disk space below which the doctor says so."""
TOO_LITTLE = 64 * MIB
"""Below which uploads and jobs fail."""
STARTED_AGAIN = "a process that was killed left it; the next start of a server removes it"


def check_home(home: Path, report: Report) -> bool:
    """Whether there is a home that can be looked at."""
    if not home.exists():
        report.note("home", str(home), "is not there yet; a server makes it", home)
        return False
    if not home.is_dir():
        report.damage("home", str(home), "is no folder", home)
        return False
    report.count("home")
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        report.damage("home", str(home), f"cannot be written: {(error.strerror or 'unknown reason').lower()}", home)
    for name in HOME_FOLDERS:
        if (home / name).exists() and not (home / name).is_dir():
            report.damage("folder", name, "is no folder", home / name)
    mode = home.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        report.note("home", str(home), "every user may write in it, so compiled code that lies there is not used", home)
    free = shutil.disk_usage(home).free
    if free < TOO_LITTLE:
        report.damage("home", str(home), f"its disk has {free // MIB} MiB left, too little for uploads and jobs", home)
    elif free < LITTLE:
        report.note("home", str(home), f"its disk has {free // MIB} MiB left", home)
    return True


def check_datasets(home: Path, report: Report, *, digests: bool) -> None:
    """Every dataset. With `digests`, its examples are opened and its files looked for."""
    for path in list_entries(home / DATASETS):
        if not is_dataset_id(path.name):
            _leftover(report, path)
            continue
        report.count("dataset")
        found = read_dataset(home, path.name)
        if isinstance(found, DamagedDataset):
            report.damage("dataset", path.name, found.reason, path)
        elif isinstance(found, DatasetInfo) and digests and (fault := _examples_fault(home, path.name)):
            report.damage("dataset", path.name, fault, path)
    for path in list_entries(home / UPLOADS):
        if not path.is_file():
            report.damage("upload", path.name, "something else is in the place of its file", path)
        elif time.time() - path.stat().st_mtime > UPLOAD_RETENTION_S:
            report.note(
                "leftover", path.name, "an upload that broke off more than a day ago; the next one removes it", path
            )


def _examples_fault(home: Path, dataset_id: str) -> str:
    try:
        examples = open_dataset(home, dataset_id)
        lost = sum(1 for file in examples.files() if not file.is_file())
    except ZooError as error:
        return getattr(error, "why", error.message)
    return f"{lost} of its pictures or sounds are missing" if lost else ""


def check_jobs(home: Path, report: Report, known: Collection[str] | None) -> None:
    """Every job's folder. `known`: ids of the jobs in the database; None where that cannot be read."""
    for path in list_entries(home / JOBS):
        if path.name.startswith(".server-"):
            if not path.is_file():
                report.damage("leftover", path.name, "something else is in the place of a server's lock", path)
            continue
        if path.name.startswith("."):
            _leftover(report, path)
            continue
        report.count("job folder")
        if not path.is_dir():
            report.damage("job", path.name, "something else is in the place of its folder", path)
            continue
        if known is not None and path.name not in known:
            report.note("leftover", path.name, "the folder of a job that the database does not know", path)
        for step, fault in checkpoint_faults(job_folder(home, path.name)).items():
            report.count("checkpoint")
            if fault:
                place = path / "checkpoints" / str(step)
                report.damage("checkpoint", f"{path.name} step {step}", fault, place)


def check_versions(home: Path, report: Report, cards: Collection[str], *, digests: bool) -> None:
    """Every version. With `digests`, every file of it is read."""
    versions = Versions(home)
    for model in list_entries(home / "versions"):
        if model.name.startswith(".") or not model.is_dir() or MODEL_NAME.fullmatch(model.name) is None:
            report.note("leftover", model.name, "is no model's folder; nobody reads it", model)
            continue
        if model.name in cards:
            report.note(
                "version", model.name, "has the name of a model of the zoo, so its versions are left out", model
            )
        for path in list_entries(model):
            if not (path.name.isascii() and path.name.isdigit()):
                if CHECKS.fullmatch(path.name):
                    continue  # what cannot be read of it is measured anew
                if path.name not in (".last", ".lock", ".last.new"):
                    _leftover(report, path)
                elif not path.is_file():
                    report.damage("leftover", f"{model.name}/{path.name}", "is no file", path)
                continue
            report.count("version")
            try:
                versions.open(model.name, int(path.name))
                if digests:
                    versions.verify(model.name, int(path.name))
            except UnknownVersion:
                report.note("leftover", f"{model.name} {path.name}", "is no version's folder", path)
            except VersionDamaged as error:
                report.damage("version", f"{model.name} {path.name}", error.reason, path)


def check_cards(report: Report, catalog: Catalog) -> None:
    """The cards that came with the package. They are not put into quarantine: Zoo has to be installed anew."""
    report.count("card", len(catalog) + len(catalog.damaged))
    for name, reason in catalog.damaged.items():
        report.damage("card", name, f"{reason}; install Zoo anew")


def check_weights(home: Path, report: Report, *, digests: bool) -> None:
    """What was fetched. It can be had again, unless the server is offline."""
    for path in list_entries(home / "weights"):
        if path.name == "by-card":
            for pointer in list_entries(path):
                if not pointer.name.startswith(".") and (fault := _pointer_fault(home / "weights", pointer)):
                    report.damage("weights", pointer.stem, fault, pointer)
            continue
        if path.name.startswith("."):
            report.note(
                "leftover", path.name, "a process that was killed left it; the next fetch of the model removes it", path
            )
            continue
        report.count("weights folder")
        if fault := _weights_fault(path, digests):
            report.damage("weights", path.name[:16], f"{fault}; they are fetched again when they are needed", path)


def _pointer_fault(weights: Path, pointer: Path) -> str:
    try:
        digest = strict_json.read(pointer.read_bytes())["digest"]
        return (
            "" if (weights / str(digest)).is_dir() else "the weights that it points to are gone; they are fetched again"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "what says which weights a card has cannot be read; they are fetched again"


def _weights_fault(folder: Path, digests: bool) -> str:
    try:
        files = strict_json.read((folder / "manifest.json").read_bytes())["files"]
        for entry in files.values():
            path = folder / entry["name"]
            if not path.is_file() or path.stat().st_size != entry["bytes"]:
                return f"{entry['name']} is missing or has another size"
            if digests and sha256_of_file(path) != entry["sha256"]:
                return f"{entry['name']} is not the file that was fetched"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "the manifest cannot be read"
    return ""


def _leftover(report: Report, path: Path) -> None:
    if path.name.startswith((".staging-", ".deleted-")):
        report.note("leftover", path.name, STARTED_AGAIN, path)
    else:
        report.note("leftover", path.name, "nobody knows it", path)


def list_entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, in order of name; nothing where it is none."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names that are no text sort, too
    except OSError:
        return
    for name in names:
        yield folder / name
