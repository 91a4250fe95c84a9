"""The networks by name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .converters import albert, dinov2, llama, minilm, roberta, whisper
from .package import OpenedPackage, Package


@dataclass(frozen=True)
class Network:
    """A network that a package ships."""

    package: Package
    convert: Callable[[OpenedPackage, Path], None]


NETWORKS: Mapping[str, Network] = {
    "reaction_albert": Network(albert.PACKAGE, albert.convert),
    "antibody_heavy_roberta": Network(roberta.PACKAGE, roberta.convert_heavy),
    "antibody_light_roberta": Network(roberta.PACKAGE, roberta.convert_light),
    "minilm": Network(minilm.PACKAGE, minilm.convert),
    "smollm2": Network(llama.PACKAGE, llama.convert),
    "whisper_tiny_en": Network(whisper.PACKAGE, whisper.convert),
    "dinov2_small": Network(dinov2.PACKAGE, dinov2.convert),
}


def write(name: str, folder: Path, downloads: Path) -> Path:
    """Writes a network into a new folder, whole or not at all. Raises FileExistsError, SourceUnavailable, DigestMismatch."""
    network = NETWORKS[name]
    if folder.exists():
        raise FileExistsError(folder)
    package = network.package.opened(downloads)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staged:
        (Path(staged) / folder.name).mkdir()
        network.convert(package, Path(staged) / folder.name)
        (Path(staged) / folder.name).rename(folder)
    return folder
