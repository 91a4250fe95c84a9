"""Small packages of npm and of Debian, and cards that take their weights from them."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping
from typing import Any

import pyarrow

from model_zoo.cards.weight_source import DebianSource, NpmSource

PACKERS: Mapping[str, Any] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
}


def tar(files: Mapping[str, bytes], links: Mapping[str, str] | None = None, hard: bool = False) -> bytes:
    """An archive with files, and with links by the paths to which they lead."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, target
            archive.addfile(info)
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def ar(parts: Mapping[str, bytes]) -> bytes:
    """An archive in the format ar."""
    found = b"!<arch>\n"
    for name, content in parts.items():
        found += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        found += content + b"\n" * (len(content) % 2)
    return found


def deb(data: bytes, packing: str = ".xz", control: str = "") -> bytes:
    """A package of Debian whose files are in the tar `data`."""
    described = gzip.compress(tar({"./control": control.encode()}))
    return ar({"debian-binary": b"2.0\n", "control.tar.gz": described, f"data.tar{packing}": PACKERS[packing](data)})


def _facts(artifact: bytes, path: str, content: bytes) -> dict[str, Any]:
    file = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {
        "artifact_sha256": hashlib.sha256(artifact).hexdigest(),
        "artifact_bytes": len(artifact),
        "files": {"weights": file},
    }


def npm_source(artifact: bytes, path: str, content: bytes, package: str = "@zoo/tiny") -> NpmSource:
    facts = {"kind": "npm", "package": package, "version": "1.0.0", "artifact": "zoo-tiny-1.0.0.tgz"}
    return NpmSource.model_validate(facts | _facts(artifact, path, content))


def debian_source(artifact: bytes, path: str, content: bytes) -> DebianSource:
    facts = {"kind": "debian", "package": "zoo-tiny", "version": "1:1.0-1", "artifact": "zoo-tiny_1%3a1.0-1_all.deb"}
    return DebianSource.model_validate(facts | _facts(artifact, path, content))
