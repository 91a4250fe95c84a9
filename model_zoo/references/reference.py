"""A reference: the text by which a user names a pretrained network."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_zoo.cards.web_address import address_problem, file_name_of
from model_zoo.errors import InvalidReference

__all__ = ["HUB_KINDS", "HUB_PREFIX", "Reference", "is_reference", "parse_reference", "shown_reference", "with_digest"]

_KINDS = ("hf", "timm", "torchvision", "local", "onnx")
HUB_KINDS = ("hf", "timm")
"""Kinds of references whose files come from a model hub."""
HUB_PREFIX = "hf:"
"""Before the repository of a hub that holds an ONNX file."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_TIMM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_TORCHVISION_NAME = re.compile(r"[A-Za-z0-9_]{1,80}_Weights\.[A-Za-z0-9_]{1,80}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_URL = re.compile(r"(https?|s3|gs)://", re.IGNORECASE)
_DIGEST = "sha256="
_HIDDEN = "onnx:https://…"
"""Shown in place of an address that may hold a secret."""
_BEFORE_SECRETS = re.compile(rf"(({'|'.join(_KINDS)}):)*((https?|s3|gs)://)?", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORMS = "hf:ORG/NAME, hf:ORG/NAME@REVISION, timm:NAME, torchvision:WEIGHTS, local:FOLDER, onnx:FILE, onnx:hf:ORG/NAME or onnx:https://HOST/PATH"
_NEEDS_DIGEST = "an address needs the sha256 of its file, so that it cannot change: #sha256= and 64 hex digits after it"


@dataclass(frozen=True)
class Reference:
    """A network and where it is.

    Attributes:
        kind: ``hf`` for a model hub, ``timm`` for timm's repositories there, ``torchvision`` for
            weights that torchvision publishes, ``local`` for a folder of this machine, ``onnx`` for
            an ONNX file.
        place: ``ORG/NAME``, the name that timm gives a pretrained network or torchvision its weights, or the absolute path of the
            folder or file; ``hf:ORG/NAME`` for an ONNX file of a hub, and the address of one of the web.
        revision: branch, tag or commit of a hub; empty for its main branch.
        sha256: of the file at an address of the web; empty elsewhere.
    """

    kind: Literal["hf", "timm", "torchvision", "local", "onnx"]
    place: str
    revision: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        digest = f"#{_DIGEST}{self.sha256}" if self.sha256 else ""
        return f"{self.kind}:{self.place}" + (f"@{self.revision}" if self.revision else "") + digest

    @property
    def shown(self) -> str:
        """The reference without a path of this machine, for messages."""
        if self.is_of_web:
            return f"{self.kind}:{self.place}"
        return str(self) if self.is_on_hub else f"{self.kind}:{Path(self.place).name}"

    @property
    def is_on_hub(self) -> bool:
        """Whether its files come from a model hub."""
        return self.kind in HUB_KINDS or (self.kind == "onnx" and self.place.startswith(HUB_PREFIX))

    @property
    def is_of_web(self) -> bool:
        """Whether it is one file at an address of the web, with its digest."""
        return bool(self.sha256)

    @property
    def repository(self) -> str:
        """Its repository on a hub, ``ORG/NAME``."""
        return f"timm/{self.place}" if self.kind == "timm" else self.place

    def is_same_as(self, text: str) -> bool:
        """Whether the text of a reference means the same network: ``timm:NAME`` is ``hf:timm/NAME``."""
        return text == str(self) or (self.kind in HUB_KINDS and _on_hub(text) == _on_hub(str(self)))

    @property
    def model_name(self) -> str:
        """The name that a model of the catalog would have: lower case, with underscores."""
        last = file_name_of(self.place) if self.is_of_web else self.place.rstrip("/").rpartition("/")[2]
        if self.kind == "onnx":
            last = last.removesuffix(".onnx")
        return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")[:63].rstrip("_")


def is_reference(text: str) -> bool:
    """Whether a text is meant as a reference, not as the name of a model."""
    return ":" in text


def parse_reference(text: str) -> Reference:
    """A reference from its text.

    Raises:
        InvalidReference: the kind is unknown, or what follows has the wrong form.
    """
    kind, _, rest = text.partition(":")
    if _URL.match(text):
        raise InvalidReference(_without_secrets(text), f"expected {_FORMS}")
    if kind not in _KINDS:
        raise InvalidReference(_without_secrets(text), f"expected {_FORMS}")
    if not rest:
        raise InvalidReference(_without_secrets(text), "nothing follows the colon")
    if kind == "onnx" and rest.startswith(HUB_PREFIX):
        place, revision = _of_hub(text, rest.removeprefix(HUB_PREFIX), "hf")
        return Reference("onnx", f"{HUB_PREFIX}{place}", revision)
    if kind == "onnx" and _URL.match(rest):
        return _of_web(rest)
    if kind == "torchvision":
        if not _TORCHVISION_NAME.fullmatch(rest):
            raise InvalidReference(
                _without_secrets(text),
                "expected the name of weights, such as torchvision:ResNet50_Weights.IMAGENET1K_V2",
            )
        return Reference("torchvision", rest)
    if kind in ("local", "onnx"):
        try:
            return Reference(
                "local" if kind == "local" else "onnx", os.path.normpath(Path(rest).expanduser().absolute())
            )
        except RuntimeError as error:
            raise InvalidReference(_without_secrets(text), "there is no such user") from error
    return Reference("timm" if kind == "timm" else "hf", *_of_hub(text, rest, kind))


def shown_reference(text: str) -> str:
    """The text of a reference, such as that of a card, without a path of this machine, for messages."""
    try:
        return parse_reference(text).shown
    except InvalidReference:
        return "another reference"


def with_digest(text: str, sha256: str) -> str:
    """The text of a reference to a file of the web, with its digest. Raises InvalidReference for another reference, or where it
    has a digest already."""
    kind, _, rest = text.partition(":")
    if kind != "onnx" or not _URL.match(rest):
        raise InvalidReference(_without_secrets(text), "--sha256 is for an address: onnx:https://HOST/PATH")
    if "#" in rest:
        raise InvalidReference(_HIDDEN, "it has a digest already, after #")
    return f"{text}#{_DIGEST}{sha256.lower()}"


def _of_web(rest: str) -> Reference:
    """An ONNX file at an address. Raises InvalidReference, which shows nothing that may be a secret."""
    url, _, fragment = rest.partition("#")
    if problem := address_problem(url):
        raise InvalidReference(_HIDDEN, problem)
    digest = fragment.removeprefix(_DIGEST).lower()
    if not fragment.startswith(_DIGEST) or not _SHA256.fullmatch(digest):
        raise InvalidReference(f"onnx:{url}", _NEEDS_DIGEST)
    return Reference("onnx", url, sha256=digest)


def _of_hub(text: str, rest: str, kind: str) -> tuple[str, str]:
    """Repository and revision. Raises InvalidReference."""
    place, at, revision = rest.partition("@")
    form, wanted = (_TIMM_NAME, "NAME after timm:") if kind == "timm" else (_REPOSITORY, "ORG/NAME after hf:")
    if not form.fullmatch(place) or ".." in place:
        raise InvalidReference(_without_secrets(text), f"expected {wanted}")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InvalidReference(_without_secrets(text), "expected a branch, a tag or a commit after @")
    return place, revision


def _without_secrets(text: str) -> str:
    """The text of a reference for messages. An address that was pasted into it may hold a password anywhere."""
    if "://" not in text:
        return text
    shown = _BEFORE_SECRETS.match(text)
    return f"{shown[0] if shown else ''}…"


def _on_hub(text: str) -> str:
    return f"hf:timm/{text.removeprefix('timm:')}" if text.startswith("timm:") else text
