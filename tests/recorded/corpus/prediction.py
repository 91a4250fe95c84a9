"""`zoo.v1.Prediction`: good, odd, bad and streamed requests to the default models."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.pb import open_inference_pb2 as open_pb
from service.pb import prediction_pb2 as pb
from tests.recorded import payloads
from tests.recorded.corpus.messages import (
    CNN,
    OPEN,
    PREDICT,
    RNN,
    STREAM_PREDICT,
    TRANSFORMER,
    ask,
    row,
    samples,
    series,
    tensor,
    tensors,
)
from tests.recorded.metrics import Scrape
from tests.recorded.player import CLOSE, Player

CAT = {"image": payloads.CAT}
HELLO = {"text": "hello"}
SPEECH = {"audio": payloads.SPEECH}
PIXELS = np.zeros((3, 224, 224), np.float32)
IDS = np.array([101, 2023, 102], np.int64)
MASK = np.ones(3, np.int64)
NOISE = payloads.noise(0.5)

GOOD: dict[str, pb.PredictRequest] = {
    "a photo": ask(CNN, CAT),
    "another photo": ask(CNN, {"image": payloads.COFFEE}, top_k=3),
    "one label": ask(CNN, CAT, top_k=1, version="1"),
    "all labels above": ask(CNN, CAT, top_k=1000, threshold=0.02, version="stable"),
    "nothing above": ask(CNN, CAT, threshold=1.0),
    "a photo and its tensors": ask(CNN, CAT, top_k=2, include_tensors=True),
    "a grey photo": ask(CNN, {"image": payloads.png(payloads.gradient(), 0)}),
    "a grey photo of 16 bits": ask(CNN, {"image": payloads.png(payloads.gradient(np.uint16), 0)}),
    "a photo with a palette": ask(CNN, {"image": payloads.png(payloads.gradient(), 3)}),
    "a small photo": ask(CNN, {"image": payloads.photo(1)}),
    "pixels": ask(CNN, tensors(pixel_values=PIXELS)),
    "pixels that are no numbers": ask(CNN, tensors(pixel_values=np.full_like(PIXELS, np.nan))),
    "a text": ask(TRANSFORMER, HELLO),
    "a text of priority": ask(TRANSFORMER, {"text": "first"}, priority=1),
    "a text of other signs": ask(TRANSFORMER, {"text": "中文 🐱 a\u0301"}),
    "a text and its tensors": ask(TRANSFORMER, {"text": "tensors, too"}, include_tensors=True),
    "a long text": ask(TRANSFORMER, {"text": "the cat sat on the mat " * 200}),
    "token ids": ask(TRANSFORMER, tensors(input_ids=IDS, attention_mask=MASK)),
    "speech": ask(RNN, SPEECH),
    "speech with a threshold": ask(RNN, SPEECH, threshold=0.9),
    "noise": ask(RNN, samples(NOISE)),
    "noise at another rate": ask(RNN, samples(NOISE, rate=8000)),
    "noise as a file": ask(RNN, {"audio": payloads.wav(NOISE)}),
    "noise and its tensors": ask(RNN, samples(NOISE), include_tensors=True),
    "samples as a tensor": ask(RNN, tensors(samples=NOISE)),
}

SEVERAL: dict[str, pb.PredictRequest] = {
    "two photos": ask(CNN, CAT, {"image": payloads.COFFEE}, top_k=1),
    "five texts of one length": ask(TRANSFORMER, *({"text": word} for word in ("one", "two", "six", "ten", "all"))),
    "a bad one among good ones": ask(
        CNN, CAT, {"image": b"junk"}, {"text": "cat"}, tensors(pixel_values=PIXELS[:1]), top_k=1
    ),
    "texts, one of them empty": ask(TRANSFORMER, HELLO, {"text": ""}),
}

BAD: dict[str, pb.PredictRequest] = {
    "no model": ask("", CAT),
    "an unknown model": ask("efficientnet_lite", CAT),
    "a name like no other": ask("q" * 5000, CAT),
    "a model that is not loaded": ask("mobilenetv2_100", CAT),
    "a model without weights": ask("tabular_mlp", row(size=1.0)),
    "an unknown version": ask(CNN, CAT, version="2"),
    "an unknown alias": ask(CNN, CAT, version="canary"),
    "a negative version": ask(CNN, CAT, version="-1"),
    "a version with a point": ask(CNN, CAT, version="1.0"),
    "an endless version": ask(CNN, CAT, version="9" * 300),
    "an endless request id": ask(TRANSFORMER, HELLO, request_id="i" * 257),
    "no instances": ask(CNN),
    "an instance of nothing": ask(CNN, {}),
    "a text for the photo model": ask(CNN, {"text": "a cat"}),
    "a photo for the text model": ask(TRANSFORMER, CAT),
    "a photo for the sound model": ask(RNN, CAT),
    "a row for the photo model": ask(CNN, row(size=1.0)),
    "a series for the text model": ask(TRANSFORMER, series(1.0, 2.0)),
    "not an image": ask(CNN, {"image": b"hello"}),
    "an empty image": ask(CNN, {"image": b""}),
    "half a JPEG": ask(CNN, {"image": payloads.CAT[: len(payloads.CAT) // 2]}),
    "a decompression bomb": ask(CNN, {"image": payloads.bomb()}),
    "an empty text": ask(TRANSFORMER, {"text": ""}),
    "a text of spaces": ask(TRANSFORMER, {"text": " \n\t "}),
    "a sound of no samples": ask(RNN, {"audio": payloads.wav(np.zeros(0, np.float32))}),
    "an empty sound": ask(RNN, {"audio": b""}),
    "not a sound": ask(RNN, {"audio": b"RIFF...."}),
    "samples without a rate": ask(RNN, samples(np.zeros(512), rate=0)),
    "samples of too high a rate": ask(RNN, samples(np.zeros(512), rate=1_000_000)),
    "no samples at all": ask(RNN, samples(np.zeros(0))),
    "an unknown input": ask(CNN, tensors(pixels=PIXELS)),
    "a missing input": ask(TRANSFORMER, tensors(input_ids=IDS)),
    "tensors without a tensor": ask(CNN, {"tensors": pb.TensorMap()}),
    "a wrong dtype": ask(CNN, tensors(pixel_values=PIXELS.astype(np.float64))),
    "an unknown dtype": ask(CNN, tensor("pixel_values", "FP31", [1], b"0000")),
    "a wrong rank": ask(CNN, tensors(pixel_values=PIXELS[None])),
    "a wrong dimension": ask(CNN, tensors(pixel_values=PIXELS[:, :, :223])),
    "a wrong element count": ask(CNN, tensor("pixel_values", "FP32", [3, 224, 224], bytes(100))),
    "a negative dimension": ask(CNN, tensor("pixel_values", "FP32", [-1, -224, 224], bytes(100))),
    "an enormous dimension": ask(CNN, tensor("pixel_values", "FP32", [2**62, 2**62], bytes(100))),
    "a token outside the vocabulary": ask(
        TRANSFORMER, tensors(input_ids=np.array([30522]), attention_mask=np.array([1]))
    ),
    "tensors of unlike lengths": ask(TRANSFORMER, tensors(input_ids=IDS, attention_mask=np.ones(2, np.int64))),
    "a row that is too long": ask(
        TRANSFORMER, tensors(input_ids=np.ones(257, np.int64), attention_mask=np.ones(257, np.int64))
    ),
    "a row of nothing": ask(TRANSFORMER, tensors(input_ids=IDS[:0], attention_mask=IDS[:0])),
    "a top_k of nothing": ask(CNN, CAT, top_k=0),
    "a negative top_k": ask(CNN, CAT, top_k=-1),
    "a threshold above 1": ask(CNN, CAT, threshold=1.5),
    "a threshold that is no number": ask(CNN, CAT, threshold=float("nan")),
    "an option of another task": ask(TRANSFORMER, HELLO, top_k=3),
    "tokens from a classifier": ask(CNN, CAT, max_new_tokens=3),
    "a temperature for a classifier": ask(CNN, CAT, temperature=0.5),
    "a seed for a classifier": ask(CNN, CAT, seed=1),
    "a negative priority": ask(CNN, CAT, priority=-1),
    "a priority of 10": ask(CNN, CAT, priority=10),
    "several, and all are bad": ask(CNN, {"image": b"junk"}, {"text": "cat"}),
}


def play(player: Player) -> None:
    with player.group("predict"):
        for name, request in GOOD.items():
            player.call(name, PREDICT, request)
        # Without an id the server makes one.
        player.call("no request id", PREDICT, ask(TRANSFORMER, HELLO, request_id=""), named=_own_id)
        # Until here each request was a batch of its own, so that batches can be counted.
        for name in (CNN, RNN, TRANSFORMER):
            player.call(f"statistics of {name}", f"{OPEN}/ModelStatistics", open_pb.ModelStatisticsRequest(name=name))
    with player.group("predict several", floats=CLOSE):
        for name, request in SEVERAL.items():
            player.call(name, PREDICT, request)
    with player.group("predict what cannot be"):
        for name, request in BAD.items():
            player.call(name, PREDICT, request)
        good = ask(TRANSFORMER, {"text": "caf~ au lait"}).SerializeToString()
        player.call("a text that is no UTF-8", PREDICT, good.replace(b"~", b"\xff"))
        for name, junk in {"junk": b"\xff\xff\xff", "a message cut off": b"\x0a\x7fshort"}.items():
            player.call(name, PREDICT, junk)
            player.call(f"{name} for a model", "zoo.v1.Models/GetModel", junk)
            player.call(f"{name} for tensors", "inference.GRPCInferenceService/ModelInfer", junk)
        player.call("5,000 instances", PREDICT, ask(TRANSFORMER).SerializeToString() + b"\x22\x02\x12\x00" * 5000)
        player.call("a message above the limit", PREDICT, ask(CNN, {"image": bytes(9 * 1024 * 1024)}))
    with player.group("predict as a stream"):
        player.talk("good and bad in turn", STREAM_PREDICT, [_streamed(*named) for named in _turns().items()])
        player.talk("nothing at all", STREAM_PREDICT, [])
        player.talk("bytes that are no message", STREAM_PREDICT, [b"\xff\xff\xff"])
        player.talk("good, then no message", STREAM_PREDICT, [_streamed("a", ask(TRANSFORMER, HELLO)), b"\xff\xff"])
        player.talk("no request", STREAM_PREDICT, [pb.StreamPredictRequest()])
    with player.group("predict as a burst", floats=CLOSE):
        many = [_streamed(f"{i}", ask(TRANSFORMER, {"text": f"text {i}"})) for i in range(4)]
        many += [_streamed(f"bad {i}", ask(TRANSFORMER, {"text": ""})) for i in range(2)]
        player.talk("four texts at once", STREAM_PREDICT, many, one_by_one=False)
    with player.group("predict and leave", floats=CLOSE):  # its batch runs or not
        player.cancelled(
            "a caller leaves", PREDICT, ask(RNN, samples(np.zeros(100 * 16_000, np.float32))), _busy(player)
        )


def _own_id(reply: Any) -> dict[str, str]:
    return {reply.request_id: "request-id"}


def _streamed(name: str, request: pb.PredictRequest) -> pb.StreamPredictRequest:
    sent = pb.StreamPredictRequest(request=request)
    sent.request.request_id = name
    return sent


def _turns() -> dict[str, pb.PredictRequest]:
    return {
        "good": ask(TRANSFORMER, {"text": "one"}),
        "unknown": ask("no_such_model", {"text": "two"}),
        "empty": ask(TRANSFORMER, {"text": ""}),
        "photo": ask(CNN, CAT, top_k=1),
        "away": ask("speaker_lstm", SPEECH),
        "version": ask(CNN, CAT, version="7"),
        "sound": ask(RNN, SPEECH),
        "partly": ask(CNN, {"image": b"junk"}, CAT, top_k=1),
        "good again": ask(TRANSFORMER, {"text": "three"}),
    }


def _busy(player: Player) -> Any:
    return lambda: Scrape(player.server.get("/metrics")).value("zoo_in_flight_requests", model=RNN) >= 1
