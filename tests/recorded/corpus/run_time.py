"""Models that come, go and change their options while the server serves."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2

from service.pb import models_pb2 as pb
from service.pb import open_inference_pb2 as open_pb
from tests.recorded import payloads
from tests.recorded.corpus.inference import told
from tests.recorded.corpus.messages import (
    CNN,
    INFER,
    MODELS,
    OPEN,
    PREDICT,
    RNN,
    STREAM_INFER,
    TRANSFORMER,
    ask,
    infer,
    samples,
    set_parameter,
    tensors,
)
from tests.recorded.metrics import Scrape
from tests.recorded.player import CLOSE, Player

NOISE = payloads.noise(0.5)
TONE = payloads.tone(440.0, 1.0, 0)
WINDOWS = np.random.default_rng(0).standard_normal((1, 160, 40)).astype(np.float32)


def play(player: Player) -> None:
    with player.group("options"):
        _options(player)
    with player.group("load and unload"):
        _load_and_unload(player)
    with player.group("models that were loaded"):
        _ask_the_others(player)
    with player.group("models that were loaded, several rows", floats=CLOSE):
        _ask_the_others_for_several(player)


def update(model: str, paths: list[str] | None = None, **options: Any) -> pb.UpdateModelRequest:
    """A change of options."""
    mask = None if paths is None else FieldMask(paths=paths)
    return pb.UpdateModelRequest(model=pb.Model(name=model, options=pb.ModelOptions(**options)), update_mask=mask)


def _options(player: Player) -> None:
    changes: Mapping[str, pb.UpdateModelRequest] = {
        "without a mask": update(RNN, max_queue_delay_ms=1.5, weight=2.0),
        "with a mask": update(RNN, ["options.weight"], weight=3.0, pinned=True),
        "back to the default": update(RNN, ["options.weight"]),
        "at the next load": update(RNN, precision="fp32", optimize="off"),
        "all options": update(RNN, ["*"], pinned=True),
        "all options by name": update(RNN, ["options"]),
        "an unknown path": update(RNN, ["options.colour"], weight=1.0),
        "a path that is no option": update(RNN, ["summary"]),
        "a weight of nothing": update(RNN, weight=0.0),
        "a weight that is no number": update(RNN, weight=float("nan")),
        "a batch above the card's": update(RNN, max_batch_size=1000),
        "a batch of nothing": update(RNN, max_batch_size=0),
        "an unknown precision": update(RNN, precision="fp8"),
        "an endless delay": update(RNN, max_queue_delay_ms=1e9),
        "nothing to change": pb.UpdateModelRequest(model=pb.Model(name=RNN)),
        "no model": pb.UpdateModelRequest(),
        "an unknown model": update("nobody", weight=2.0),
        "a model that is not loaded": update("speaker_lstm", weight=2.0),
    }
    for name, request in changes.items():
        player.call(name, f"{MODELS}/UpdateModel", request)
    player.call("a short queue", f"{MODELS}/UpdateModel", update(CNN, max_queue_size=1))
    _full(player)
    player.call("the usual queue", f"{MODELS}/UpdateModel", update(CNN, ["options"]))
    player.call("a default deadline of nothing", f"{MODELS}/UpdateModel", update(TRANSFORMER, default_timeout_ms=1e-6))
    player.call("too late by default", INFER, infer(TRANSFORMER, text=[b"late"]), timeout=None)
    player.call("in time by itself", INFER, told(infer(TRANSFORMER, text=[b"in time"]), timeout=60_000_000))
    player.call("the usual deadline", f"{MODELS}/UpdateModel", update(TRANSFORMER, ["options"]))
    player.call("options as they are", f"{MODELS}/GetModel", pb.GetModelRequest(name=RNN))
    player.call("config as it is", f"{OPEN}/ModelConfig", open_pb.ModelConfigRequest(name=RNN))


def _full(player: Player) -> None:
    """One long call has the device, one waits behind it, and the queue has room for no other."""
    long = ask(RNN, {"audio": payloads.wav(payloads.noise(250.0))})
    photo = ask(CNN, {"image": payloads.CAT}, top_k=1)
    held = [player.begin(PREDICT, long) for _ in range(3)]
    _until_in_flight(player, RNN, 3)
    held.append(player.begin(PREDICT, photo))
    _until_in_flight(player, CNN, 1)
    player.call("more than the queue holds", PREDICT, photo)
    player.call(
        "more rows than the queue holds", INFER, infer(CNN, pixel_values=np.zeros((1, 3, 224, 224), np.float32))
    )
    tensors_too = infer(CNN, image=[payloads.CAT])
    player.talk("more than the queue holds, as a stream", STREAM_INFER, [tensors_too])
    for call in held:
        call.result()


def _until_in_flight(player: Player, model: str, calls: int) -> None:
    while Scrape(player.server.get("/metrics")).value("zoo_in_flight_requests", model=model) < calls:
        pass


def _load_and_unload(player: Player) -> None:
    sound = ask(RNN, samples(NOISE))
    health = health_pb2.HealthCheckRequest(service=RNN)
    player.call("unload", f"{MODELS}/UnloadModel", pb.UnloadModelRequest(name=RNN))
    player.call("health without it", "grpc.health.v1.Health/Check", health)
    player.call("predict without it", PREDICT, sound)
    player.call("infer without it", INFER, infer(RNN, samples=NOISE[None]))
    player.call("ready without it", f"{OPEN}/ModelReady", open_pb.ModelReadyRequest(name=RNN))
    player.call("index without it", f"{OPEN}/RepositoryIndex", open_pb.RepositoryIndexRequest())
    player.call("unload again", f"{MODELS}/UnloadModel", pb.UnloadModelRequest(name=RNN))
    player.call("load", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=RNN))
    player.call("load again", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=RNN))
    player.call("health with it", "grpc.health.v1.Health/Check", health)
    player.call("predict with it", PREDICT, sound)
    for dialect in ("model_name", "repository_name"):  # Triton's and KServe's
        named = {dialect: RNN}
        for verb in ("Unload", "Unload", "Load", "Load"):
            kind = getattr(open_pb, f"RepositoryModel{verb}Request")
            player.call(f"{verb} by {dialect}", f"{OPEN}/RepositoryModel{verb}", kind(**named))
    for name in ("nobody", ""):
        player.call(f"load {name}", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=name))
        player.call(f"unload {name}", f"{MODELS}/UnloadModel", pb.UnloadModelRequest(name=name))
        for verb in ("Load", "Unload"):
            kind = getattr(open_pb, f"RepositoryModel{verb}Request")
            player.call(f"{verb} {name}", f"{OPEN}/RepositoryModel{verb}", kind(model_name=name))
    for key, value in {"config": "{}", "file:1/model.pt": "x", "favourite": "blue"}.items():
        load = open_pb.RepositoryModelLoadRequest(model_name=RNN)
        set_parameter(load.parameters[key], value)
        player.call(f"load with {key}", f"{OPEN}/RepositoryModelLoad", load)
    unload = open_pb.RepositoryModelUnloadRequest(model_name="char_lstm")
    unload.parameters["unload_dependents"].bool_param = True
    player.call("unload with its dependents", f"{OPEN}/RepositoryModelUnload", unload)
    for name in ("mobilenetv2_100", "speaker_lstm", "char_lstm", "tabular_mlp", "series_gru"):
        player.call(f"load {name}", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=name))


def _ask_the_others(player: Player) -> None:
    letters = "char_lstm"
    requests = {
        "a photo's vector": ask("mobilenetv2_100", {"image": payloads.CAT}),
        "a small photo's vector": ask("mobilenetv2_100", {"image": payloads.photo(1)}),
        "an option of another task": ask("mobilenetv2_100", {"image": payloads.CAT}, top_k=1),
        "a voice": ask("speaker_lstm", {"audio": payloads.SPEECH}),
        "a tone": ask("speaker_lstm", samples(TONE)),
        "silence": ask("speaker_lstm", samples(np.zeros(16_000, np.float32))),
        "a short sound": ask("speaker_lstm", samples(TONE[:100])),
        "windows": ask("speaker_lstm", tensors(windows=WINDOWS, mask=np.ones(1, np.int64))),
        "windows without a mask": ask("speaker_lstm", tensors(windows=WINDOWS)),
        "the likeliest letters": ask(letters, {"text": "What is the "}, temperature=0.0, max_new_tokens=20),
        "letters by a seed": ask(letters, {"text": "My friend"}, seed=7, max_new_tokens=20),
        "bold letters by a seed": ask(letters, {"text": "My friend"}, seed=7, temperature=1.5, max_new_tokens=10),
        "one letter": ask(letters, {"text": "Presiden"}, temperature=0.0, max_new_tokens=1),
        "no letters": ask(letters, {"text": "Presiden"}, max_new_tokens=0),
        "too many letters": ask(letters, {"text": "Presiden"}, max_new_tokens=1_000_000),
        "a negative temperature": ask(letters, {"text": "Presiden"}, temperature=-1.0),
        "a temperature of 3": ask(letters, {"text": "Presiden"}, temperature=3.0),
        "labels from a writer": ask(letters, {"text": "Presiden"}, top_k=3),
        "letters and their tensors": ask(
            letters, {"text": "I have bee"}, temperature=0.0, max_new_tokens=2, include_tensors=True
        ),
        "strange letters": ask(letters, {"text": "中文"}, temperature=0.0, max_new_tokens=3),
    }
    for name, request in requests.items():
        player.call(name, PREDICT, request)
    inferred = {
        "a photo's vector as a tensor": infer("mobilenetv2_100", image=[payloads.CAT]),
        "a voice as a tensor": infer("speaker_lstm", audio=[payloads.wav(TONE)]),
        "the next letter": infer(letters, text=[b"Presiden"]),
    }
    for name, tensor in inferred.items():
        player.call(name, INFER, tensor)
    for name in ("mobilenetv2_100", "speaker_lstm", letters):
        for method in ("ModelMetadata", "ModelConfig"):
            request = getattr(open_pb, f"{method}Request")(name=name)
            player.call(f"{method} of {name}", f"{OPEN}/{method}", request)
        player.call(f"model {name}", f"{MODELS}/GetModel", pb.GetModelRequest(name=name))


def _ask_the_others_for_several(player: Player) -> None:
    two = ask("char_lstm", {"text": "What is the "}, {"text": "My friend"}, temperature=0.0, max_new_tokens=8)
    player.call("two texts go on", PREDICT, two)
    player.call("two vectors", PREDICT, ask("mobilenetv2_100", {"image": payloads.CAT}, {"image": payloads.photo(1)}))
    player.call("two voices", PREDICT, ask("speaker_lstm", samples(TONE), samples(TONE[:8000])))


def outdate(database: sqlite3.Connection, model: str) -> None:
    """As if another server had changed the aliases of a model meanwhile."""
    with database:
        database.execute("UPDATE traffic SET revision = revision + 7 WHERE model = ?", (model,))
    database.close()
