"""Checks of the folders of a home."""

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
from model_zoo.errors import UnknownVersion, VersionDamaged, VersionTooNew
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
"""Check results of a version, in a file beside its folder."""
LOW_DISK = 1024 * MIB
"""Free disk space below which the report has a note."""
FULL_DISK = 64 * MIB
"""Free disk space below which uploads and jobs fail."""
REMOVED_AT_START = "left by a process that was killed; the next start of a server removes it"


def check_home(home: Path, report: Report) -> bool:
    """Checks the home itself. False if it is not a folder that can be checked."""
    if not home.exists():
        report.note("home", str(home), "does not exist yet; a server creates it", home)
        return False
    if not home.is_dir():
        report.damage("home", str(home), "is not a folder", home)
        return False
    report.count("home")
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        report.damage("home", str(home), f"cannot be written: {(error.strerror or 'unknown reason').lower()}", home)
    for name in HOME_FOLDERS:
        if (home / name).exists() and not (home / name).is_dir():
            report.damage("folder", name, "is not a folder", home / name)
    mode = home.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        report.note("home", str(home), "every user may write in it, so compiled code in it is not used", home)
    free = shutil.disk_usage(home).free
    if free < FULL_DISK:
        report.damage("home", str(home), f"its disk has {free // MIB} MiB left, too little for uploads and jobs", home)
    elif free < LOW_DISK:
        report.note("home", str(home), f"its disk has {free // MIB} MiB left", home)
    return True


def check_datasets(home: Path, report: Report, *, digests: bool) -> None:
    """Checks every dataset. With `digests`, opens its examples and looks for its files."""
    for path in list_entries(home / DATASETS):
        if not is_dataset_id(path.name):
            _leftover(report, path)
            continue
        report.count("dataset")
        found = read_dataset(home, path.name)
        if isinstance(found, DamagedDataset):
            report.damage("dataset", path.name, found.reason, path)
        elif isinstance(found, DatasetInfo) and digests and (problem := _examples_problem(home, path.name)):
            report.damage("dataset", path.name, problem, path)
    for path in list_entries(home / UPLOADS):
        if not path.is_file():
            report.damage("upload", path.name, "is not a file", path)
        elif time.time() - path.stat().st_mtime > UPLOAD_RETENTION_S:
            report.note(
                "leftover", path.name, "an upload that stopped more than a day ago; the next upload removes it", path
            )


def _examples_problem(home: Path, dataset_id: str) -> str:
    try:
        examples = open_dataset(home, dataset_id)
        missing = sum(1 for file in examples.files() if not file.is_file())
    except ZooError as error:
        return getattr(error, "why", error.message)
    return f"{missing} of its pictures or sounds are missing" if missing else ""


def check_jobs(home: Path, report: Report, known: Collection[str] | None) -> None:
    """Checks every job's folder. `known`: ids of the jobs in the database; None if the database cannot be read."""
    for path in list_entries(home / JOBS):
        if path.name.startswith(".server-"):
            if not path.is_file():
                report.damage("leftover", path.name, "is not a file; it should be a server's lock", path)
            continue
        if path.name.startswith("."):
            _leftover(report, path)
            continue
        report.count("job folder")
        if not path.is_dir():
            report.damage("job", path.name, "is not a folder", path)
            continue
        if known is not None and path.name not in known:
            report.note("leftover", path.name, "the folder of a job that is not in the database", path)
        for step, problem in checkpoint_faults(job_folder(home, path.name)).items():
            report.count("checkpoint")
            if problem:
                place = path / "checkpoints" / str(step)
                report.damage("checkpoint", f"{path.name} step {step}", problem, place)


def check_versions(home: Path, report: Report, cards: Collection[str], *, digests: bool) -> None:
    """Checks every version. With `digests`, reads every file of it."""
    versions = Versions(home)
    for model in list_entries(home / "versions"):
        if model.name.startswith(".") or not model.is_dir() or MODEL_NAME.fullmatch(model.name) is None:
            report.note("leftover", model.name, "is not a model's folder; no server reads it", model)
            continue
        if model.name in cards:
            report.note(
                "version", model.name, "has the name of a model of the catalog, so its versions are ignored", model
            )
        for path in list_entries(model):
            if not (path.name.isascii() and path.name.isdigit()):
                if CHECKS.fullmatch(path.name):
                    continue  # results that cannot be read are measured again
                if path.name not in (".last", ".lock", ".last.new"):
                    _leftover(report, path)
                elif not path.is_file():
                    report.damage("leftover", f"{model.name}/{path.name}", "is not a file", path)
                continue
            report.count("version")
            try:
                versions.open(model.name, int(path.name))
                if digests:
                    versions.verify(model.name, int(path.name))
            except UnknownVersion:
                report.note("leftover", f"{model.name} {path.name}", "is not a version's folder", path)
            except VersionTooNew as error:
                report.note("version", f"{model.name} {path.name}", error.reason, path)
            except VersionDamaged as error:
                report.damage("version", f"{model.name} {path.name}", error.reason, path)


def check_cards(report: Report, catalog: Catalog) -> None:
    """Checks the cards of the package and of the home. They are not put into quarantine: people write them."""
    report.count("card", len(catalog) + len(catalog.damaged))
    for name, reason in catalog.damaged.items():
        report.damage("card", name, f"{reason}; mend or remove it if it lies in ZOO_HOME/cards, else install Zoo again")


def check_weights(home: Path, report: Report, *, digests: bool) -> None:
    """Checks fetched weights. A server fetches damaged weights again, unless it is offline."""
    for path in list_entries(home / "weights"):
        if path.name == "by-card":
            for pointer in list_entries(path):
                if not pointer.name.startswith(".") and (problem := _pointer_problem(home / "weights", pointer)):
                    report.damage("weights", pointer.stem, problem, pointer)
            continue
        if path.name.startswith("."):
            report.note(
                "leftover", path.name, "left by a process that was killed; the next fetch of the model removes it", path
            )
            continue
        report.count("weights folder")
        if problem := _weights_problem(path, digests):
            report.damage("weights", path.name[:16], f"{problem}; they are fetched again when they are needed", path)


def _pointer_problem(weights: Path, pointer: Path) -> str:
    try:
        digest = strict_json.read(pointer.read_bytes())["digest"]
        return (
            "" if (weights / str(digest)).is_dir() else "the weights that it points to are gone; they are fetched again"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "the pointer from a card to its weights cannot be read; they are fetched again"


def _weights_problem(folder: Path, digests: bool) -> str:
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
        report.note("leftover", path.name, REMOVED_AT_START, path)
    else:
        report.note("leftover", path.name, "Zoo does not know this file", path)


def list_entries(folder: Path) -> Iterator[Path]:
    """The paths in a folder, in order of name; none if it is not a folder."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names that are not valid text are sorted as well
    except OSError:
        return
    for name in names:
        yield folder / name
