"""Which files of a repository hold its weights."""

from model_zoo import strict_json
from model_zoo.errors import NotDerivable
from model_zoo.references.repository import ListedFile, Repository

__all__ = ["INDEX", "WithWeights", "onnx_instead", "weight_files", "weights_problem"]

INDEX = "weights_index"
"""Role of the list of several files."""

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_OTHERS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack")


def weight_files(repository: Repository, folder: str = "") -> dict[str, str]:
    """Roles → paths: ``weights``, and the others of weights in several files with their index.

    Args:
        folder: of the network inside the repository, with a slash at its end.

    Raises:
        NotDerivable: there are no safetensors, or the index names files that are not there.
    """
    files = repository.files
    if f"{folder}{_SINGLE}" in files:
        return {"weights": f"{folder}{_SINGLE}"}
    if f"{folder}{_INDEX}" in files:
        return _sharded(repository, folder)
    found = [name for name in _OTHERS if f"{folder}{name}" in files]
    has = f"; it has {found[0]}" if found else ""
    reason = f"it has no {_SINGLE}{has}, and Zoo reads weights from safetensors only"
    raise NotDerivable(repository.name, f"{reason}{onnx_instead(repository)}")


def weights_problem(repository: Repository, folder: str = "") -> NotDerivable | None:
    """What `weight_files` would raise; None where the weights are there."""
    try:
        weight_files(repository, folder)
    except NotDerivable as problem:
        return problem
    return None


class WithWeights:
    """A repository that lacks weights, with a stand-in for them: what else it lacks can then be found. No card is made of it."""

    def __init__(self, repository: Repository, folder: str) -> None:
        self._repository = repository
        self.name, self.licence, self.task = repository.name, repository.licence, repository.task
        self.files = {**repository.files, f"{folder}{_SINGLE}": ListedFile(1)}
        self.read, self.start = repository.read, repository.start


def onnx_instead(repository: Repository) -> str:
    """What to do with a repository whose network is in ONNX files; empty where it has none."""
    files = [path for path in repository.files if path.endswith(".onnx")]
    if not files:
        return ""
    place = f"{repository.name} --set file={files[0]}" if len(files) > 1 else repository.name
    if repository.name.startswith("local:"):
        place = f"FOLDER/{files[0]}"
    return f"; as a model of tensors, without its tokenizer: zoo pull onnx:{place[:300]}"


def _sharded(repository: Repository, folder: str) -> dict[str, str]:
    index = strict_json.parsed_object(repository.read(f"{folder}{_INDEX}"))
    named = (index or {}).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise NotDerivable(repository.name, f"{_INDEX} has no weight_map")
    shards = sorted({str(name) for name in named.values()})
    absent = [name for name in shards if f"{folder}{name}" not in repository.files]
    if absent:
        raise NotDerivable(repository.name, f"{_INDEX} names {absent[0][:100]!r}, which is not there")
    roles = {"weights": f"{folder}{shards[0]}", INDEX: f"{folder}{_INDEX}"}
    return roles | {f"weights_{i}": f"{folder}{name}" for i, name in enumerate(shards[1:], 2)}
