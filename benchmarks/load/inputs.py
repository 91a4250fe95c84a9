"""The inputs of the benchmarks: real photos, sentences and speech, as serialised Open Inference messages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import arrivals
from benchmarks.paths import EXAMPLES
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import AudioInstance, ImageInstance, Instance, Item, TextInstance

REVIEWS, SEED = 1024, 7
"""Number of texts of different lengths, and their seed."""
MARKS = 2
"""Tokens that mark the begin and the end of a text."""

SENTENCES = (
    "The old lighthouse keeper climbed the winding stairs each evening to light the lamp that guided ships safely past "
    "the rocks below.",
    "Researchers found that regular walks in green spaces lowered stress and improved the quality of sleep among people "
    "who live in cities.",
    "After a long negotiation the two companies agreed to share the cost of building a new factory near the harbour by "
    "next spring.",
    "She opened the letter slowly, read it twice, and then looked out of the window at the rain that had not stopped "
    "since morning.",
)


def task_of(name: str, store: Store) -> Task:
    """The task of a model whose weights are in the store."""
    card = Catalog.from_package().get(name)
    found = store.find(card)
    if found is None:
        raise SystemExit(f"the weights of {name} are missing; run: zoo pull {name}")
    return task_for(card, found)


def instances(raw_input: str) -> list[Instance]:
    """Real inputs of a kind."""
    if raw_input == "image":
        return [ImageInstance((EXAMPLES / f"{name}.jpg").read_bytes()) for name in ("cat", "coffee", "rocket")]
    if raw_input == "text":
        return [TextInstance(text.encode()) for text in SENTENCES]
    return [AudioInstance((EXAMPLES / "speech.flac").read_bytes())]


def items(task: Task) -> list[Item]:
    """The real inputs of a task, preprocessed."""
    raw = instances(task.card.raw_input)
    outcomes = task.preprocess(raw, [f"instances[{i}]" for i in range(len(raw))])
    return [item for item in outcomes if isinstance(item, Item)]


def text_items(task: Task, texts: list[str]) -> list[Item]:
    """Texts, preprocessed."""
    outcomes = task.preprocess([TextInstance(text.encode()) for text in texts], [""] * len(texts))
    return [item for item in outcomes if isinstance(item, Item)]


def reviews(task: Task, count: int, seed: int) -> list[str]:
    """Texts of common words of one token each; `arrivals.review_lengths` gives their tokens."""
    words = [
        word
        for word in sorted({word.strip(".,").lower() for text in SENTENCES for word in text.split()})
        if text_items(task, [word])[0].length == MARKS + 1
    ]
    generator = np.random.default_rng(seed)
    lengths = arrivals.review_lengths(count, seed)
    return [" ".join(generator.choice(words, int(length) - MARKS)) for length in lengths]


def tensor_message(model: str, tensors: dict[str, NDArray[np.generic]]) -> bytes:
    """A serialised ModelInferRequest of one row a tensor."""
    names = {"float32": "FP32", "int64": "INT64"}
    request = pb.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=names[array.dtype.name], shape=[1, *array.shape])
        request.raw_input_contents.append(array.tobytes())
    return request.SerializeToString()


def within(message: bytes, milliseconds: float) -> bytes:
    """The same request with the `timeout` parameter of the protocol, which the queues of Triton and Zoo both honour."""
    request = pb.ModelInferRequest.FromString(message)
    request.parameters["timeout"].int64_param = round(milliseconds * 1000.0)
    return request.SerializeToString()


def bytes_message(model: str, name: str, data: bytes) -> bytes:
    """A serialised ModelInferRequest of one BYTES element."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
    return request.SerializeToString()


def messages(task: Task, form: str) -> list[bytes]:
    """Messages for a model: as `tensors`, in `raw` form (encoded photo, text, encoded sound), or as `reviews`."""
    name = task.card.name
    if form == "tensors":
        return [tensor_message(name, {k: np.asarray(v) for k, v in item.tensors.items()}) for item in items(task)]
    raw = task.card.raw_input
    if form == "reviews":
        return [bytes_message(name, raw, text.encode()) for text in reviews(task, REVIEWS, SEED)]
    return [
        bytes_message(name, raw, instance.data)
        for instance in instances(raw)
        if isinstance(instance, ImageInstance | TextInstance | AudioInstance)
    ]
