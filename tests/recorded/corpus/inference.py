"""`inference.GRPCInferenceService`: ModelInfer and ModelStreamInfer, good, bad and streamed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from service.pb import open_inference_pb2 as pb
from tests.recorded import payloads
from tests.recorded.corpus.messages import (
    CNN,
    INFER,
    OPEN,
    RNN,
    STREAM_INFER,
    TRANSFORMER,
    infer,
    set_parameter,
)
from tests.recorded.player import ARRANGED, CLOSE, Player

PIXELS = np.zeros((1, 3, 224, 224), np.float32)
IDS = np.array([[101, 2023, 102]], np.int64)
MASK = np.ones((1, 3), np.int64)
NOISE = payloads.noise(0.5)[None]


def changed(request: pb.ModelInferRequest, *changes: Callable[[Any], object]) -> pb.ModelInferRequest:
    """A copy with something else in it."""
    made = copy.deepcopy(request)
    for change in changes:
        change(made)
    return made


TEXT = infer(TRANSFORMER, input_ids=IDS, attention_mask=MASK)
PHOTO = infer(CNN, pixel_values=PIXELS)
SOUND = infer(RNN, samples=NOISE)


def typed(model: str, **arrays: np.ndarray) -> pb.ModelInferRequest:
    """Contents in the field that fits their type."""
    request = pb.ModelInferRequest(model_name=model, id="typed")
    fields = {"float32": "fp32_contents", "int64": "int64_contents", "float64": "fp64_contents"}
    for name, array in arrays.items():
        tensor = infer(model, **{name: array}).inputs[0]
        getattr(tensor.contents, fields[array.dtype.name]).extend(array.ravel().tolist())
        request.inputs.append(tensor)
    return request


def wants(request: pb.ModelInferRequest, name: str, **parameters: Any) -> pb.ModelInferRequest:
    """With one output more that is asked for."""
    made = copy.deepcopy(request)
    output = made.outputs.add(name=name)
    for key, value in parameters.items():
        set_parameter(output.parameters[key], value)
    return made


def told(request: pb.ModelInferRequest, **parameters: Any) -> pb.ModelInferRequest:
    """With parameters."""
    made = copy.deepcopy(request)
    for key, value in parameters.items():
        set_parameter(made.parameters[key], value)
    return made


def input_told(request: pb.ModelInferRequest, **parameters: Any) -> pb.ModelInferRequest:
    """With parameters of its first input."""
    made = copy.deepcopy(request)
    for key, value in parameters.items():
        set_parameter(made.inputs[0].parameters[key], value)
    return made


def shaped(request: pb.ModelInferRequest, *shape: int) -> pb.ModelInferRequest:
    """With another shape of the first input."""
    made = copy.deepcopy(request)
    del made.inputs[0].shape[:]
    made.inputs[0].shape.extend(shape)
    return made


def _typed_text() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=TRANSFORMER, id="bytes")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"hello")
    return request


GOOD: dict[str, pb.ModelInferRequest] = {
    "pixels": PHOTO,
    "tokens": TEXT,
    "samples": SOUND,
    "tokens, typed": typed(TRANSFORMER, input_ids=IDS, attention_mask=MASK),
    "samples, typed": typed(RNN, samples=NOISE[:, :600]),
    "inputs in another order": infer(TRANSFORMER, attention_mask=MASK, input_ids=IDS),
    "no id": infer(TRANSFORMER, request_id="", input_ids=IDS, attention_mask=MASK),
    "a version": infer(TRANSFORMER, version="1", input_ids=IDS, attention_mask=MASK),
    "an alias": infer(TRANSFORMER, version="stable", input_ids=IDS, attention_mask=MASK),
    "one output of two": wants(SOUND, "frames"),
    "outputs in another order": wants(wants(SOUND, "frames"), "probabilities"),
    "an output twice": wants(wants(SOUND, "frames"), "frames"),
    "three classes": wants(PHOTO, "logits", classification=3),
    "more classes than there are": wants(SOUND, "frames", classification=5000),
    "a photo as it is": infer(CNN, image=[payloads.CAT]),
    "classes of a photo as it is": wants(infer(CNN, image=[payloads.CAT]), "logits", classification=2),
    "a text as it is": infer(TRANSFORMER, text=[b"hello"]),
    "a text as it is, typed": _typed_text(),
    "a long text as it is": infer(TRANSFORMER, text=[b"the cat sat on the mat " * 200]),
    "a sound as it is": infer(RNN, audio=[payloads.wav(NOISE[0])]),
    "a timeout": told(TEXT, timeout=60_000_000),
    "no timeout": told(TEXT, timeout=0),
    "a priority": told(TEXT, priority=1),
    "a priority of 100": told(TEXT, priority=100),
    "the usual priority": told(TEXT, priority=0),
    "a parameter that nobody knows": told(TEXT, favourite="blue"),
    "a parameter of an input": input_told(TEXT, favourite="blue"),
    "not a finite number": infer(CNN, outputs=["logits"], pixel_values=np.full_like(PIXELS, np.inf)),
}

SEVERAL: dict[str, pb.ModelInferRequest] = {
    "two photos": infer(CNN, image=[payloads.CAT, payloads.COFFEE]),
    "six rows of tokens": infer(TRANSFORMER, input_ids=np.repeat(IDS, 6, 0), attention_mask=np.repeat(MASK, 6, 0)),
    "two sounds of unlike length": infer(RNN, audio=[payloads.wav(NOISE[0]), payloads.wav(NOISE[0, :3000])]),
    "classes of two photos": wants(infer(CNN, image=[payloads.CAT, payloads.COFFEE]), "logits", classification=1),
}

BAD: dict[str, pb.ModelInferRequest] = {
    "nothing at all": pb.ModelInferRequest(),
    "no model": infer("", pixel_values=PIXELS),
    "an unknown model": infer("nobody", pixel_values=PIXELS),
    "a model that is not loaded": infer("speaker_lstm", audio=[b"x"]),
    "an unknown version": infer(CNN, version="2", pixel_values=PIXELS),
    "a version that is none": infer(CNN, version="x", pixel_values=PIXELS),
    "an endless id": infer(TRANSFORMER, request_id="i" * 300, input_ids=IDS, attention_mask=MASK),
    "no inputs": infer(CNN),
    "an unknown input": infer(CNN, pixels=PIXELS),
    "a missing input": infer(TRANSFORMER, input_ids=IDS),
    "an input twice": changed(TEXT, lambda r: r.inputs.append(r.inputs[0]), lambda r: r.raw_input_contents.append(b"")),
    "a wrong dtype": infer(CNN, pixel_values=PIXELS.astype(np.float64)),
    "an unknown dtype": changed(PHOTO, lambda r: setattr(r.inputs[0], "datatype", "FP31")),
    "BYTES for numbers": changed(PHOTO, lambda r: setattr(r.inputs[0], "datatype", "BYTES")),
    "numbers for BYTES": infer(CNN, image=np.zeros((1, 1), np.float32)),
    "a wrong rank": shaped(PHOTO, 1, 3, 224, 224, 1),
    "a wrong size": infer(CNN, pixel_values=PIXELS[..., :223]),
    "no rows": infer(CNN, pixel_values=PIXELS[:0]),
    "no shape": shaped(PHOTO),
    "a negative size": shaped(PHOTO, -1, 3, 224, 224),
    "an enormous size": shaped(TEXT, 2**62, 3),
    "too many axes": shaped(PHOTO, *([1] * 40)),
    "5,000 rows": infer(TRANSFORMER, input_ids=np.repeat(IDS, 5000, 0), attention_mask=np.repeat(MASK, 5000, 0)),
    "rows of unlike number": infer(TRANSFORMER, input_ids=IDS, attention_mask=np.repeat(MASK, 2, 0)),
    "lengths of unlike size": infer(TRANSFORMER, input_ids=IDS, attention_mask=MASK[:, :2]),
    "a token outside the vocabulary": infer(TRANSFORMER, input_ids=IDS + 40_000, attention_mask=MASK),
    "a row that is too long": infer(
        TRANSFORMER, input_ids=np.ones((1, 257), np.int64), attention_mask=np.ones((1, 257), np.int64)
    ),
    "raw contents cut off": changed(PHOTO, lambda r: r.raw_input_contents.__setitem__(0, b"1234")),
    "raw contents of too many inputs": changed(PHOTO, lambda r: r.raw_input_contents.append(b"")),
    "raw contents of too few inputs": changed(TEXT, lambda r: r.raw_input_contents.pop()),
    "raw and typed contents": changed(TEXT, lambda r: r.inputs[0].contents.int64_contents.append(1)),
    "no contents": changed(TEXT, lambda r: r.raw_input_contents.pop(), lambda r: r.raw_input_contents.pop()),
    "contents in the wrong field": changed(
        typed(TRANSFORMER, input_ids=IDS, attention_mask=MASK),
        lambda r: r.inputs[0].ClearField("contents"),
        lambda r: r.inputs[0].contents.fp32_contents.extend([1, 2, 3]),
    ),
    "too few typed contents": changed(
        typed(TRANSFORMER, input_ids=IDS, attention_mask=MASK), lambda r: r.inputs[0].contents.int64_contents.pop()
    ),
    "text that is no UTF-8": infer(TRANSFORMER, text=[b"\xff\xfe"]),
    "an empty text": infer(TRANSFORMER, text=[b""]),
    "not a photo": infer(CNN, image=[b"hello"]),
    "not a sound": infer(RNN, audio=[b"hello"]),
    "BYTES without lengths": changed(
        infer(TRANSFORMER, text=[b"a"]), lambda r: r.raw_input_contents.__setitem__(0, b"a")
    ),
    "BYTES cut off": changed(
        infer(TRANSFORMER, text=[b"abc"]), lambda r: r.raw_input_contents.__setitem__(0, b"\x09\0\0\0ab")
    ),
    "BYTES with something left": changed(
        infer(TRANSFORMER, text=[b"abc"]), lambda r: r.raw_input_contents.__setitem__(0, b"\x01\0\0\0abc")
    ),
    "BYTES of a wrong shape": shaped(infer(TRANSFORMER, text=[b"abc"]), 1, 1, 1),
    "an unknown output": wants(SOUND, "volume"),
    "no classes": wants(PHOTO, "logits", classification=0),
    "classes in words": wants(PHOTO, "logits", classification="three"),
    "an output in shared memory": wants(PHOTO, "logits", shared_memory_region="region"),
    "an input in shared memory": input_told(PHOTO, shared_memory_region="region"),
    "a negative timeout": told(TEXT, timeout=-1),
    "a timeout in words": told(TEXT, timeout="soon"),
    "a negative priority": told(TEXT, priority=-1),
    "a sequence": told(TEXT, sequence_id=7),
    "a sequence by name": told(TEXT, sequence_id="seven"),
    "a reserved parameter": told(TEXT, triton_secret=True),
    "a timeout that has passed": told(TEXT, timeout=1),
    "a timeout too short for the work": told(
        infer(RNN, samples=np.zeros((1, 400 * 16_000 // 16), np.float32)), timeout=1
    ),
}


def play(player: Player) -> None:
    with player.group("infer"):
        for name, request in GOOD.items():
            player.call(name, INFER, request)
    with player.group("infer several", floats=CLOSE):
        for name, request in SEVERAL.items():
            player.call(name, INFER, request)
    with player.group("infer what cannot be"):
        for name, request in BAD.items():
            player.call(name, INFER, request)
        large = np.zeros((14, 3, 224, 224), np.float32)
        player.call("a message above the limit", INFER, infer(CNN, pixel_values=large))
    with player.group("infer as a stream"):
        turns = {
            "good": TEXT,
            "unknown": infer("nobody", pixel_values=PIXELS),
            "bad": infer(CNN, pixels=PIXELS),
            "away": infer("speaker_lstm", audio=[b"x"]),
            "classes": wants(infer(CNN, image=[payloads.CAT]), "logits", classification=1),
            "late": told(TEXT, timeout=1),
            "sound": SOUND,
            "version": infer(CNN, version="9", pixel_values=PIXELS),
            "final": told(TEXT, triton_enable_empty_final_response=True),
            "final and bad": told(infer(CNN, pixels=PIXELS), triton_enable_empty_final_response=True),
            "good again": TEXT,
        }
        player.talk("good and bad in turn", STREAM_INFER, [_called(name, request) for name, request in turns.items()])
        player.talk("nothing at all", STREAM_INFER, [])
        player.talk("bytes that are no message", STREAM_INFER, [b"\xff\xff\xff"])
        player.talk("a good one, then no message", STREAM_INFER, [_called("a", TEXT), b"\xff\xff"])
        player.talk("an empty request", STREAM_INFER, [pb.ModelInferRequest()])
    with player.group("infer as a burst", floats=CLOSE):
        many = [_called(f"{i}", TEXT) for i in range(4)] + [_called("bad", infer(CNN, pixels=PIXELS))]
        player.talk("four rows at once", STREAM_INFER, many, one_by_one=False)
    with player.group("statistics", without=ARRANGED):
        for name in (CNN, RNN, TRANSFORMER, ""):
            player.call(f"of {name}", f"{OPEN}/ModelStatistics", pb.ModelStatisticsRequest(name=name))


def _called(name: str, request: pb.ModelInferRequest) -> pb.ModelInferRequest:
    made = copy.deepcopy(request)
    made.id = name
    return made
