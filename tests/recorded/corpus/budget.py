"""A second server with a memory budget and loads on demand: which models go, which come back, and which never fit."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from service.pb import models_pb2 as pb
from service.pb import open_inference_pb2 as open_pb
from tests.recorded import payloads
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
)
from tests.recorded.corpus.run_time import update
from tests.recorded.player import Player
from tests.recorded.server import Server, link_weights

SETTINGS = {"ZOO_MODELS": RNN, "ZOO_MEMORY_BUDGET_MIB": "24", "ZOO_LOAD_ON_DEMAND": "true"}
PHOTO = {"image": payloads.CAT}
SOUND = ask(RNN, samples(payloads.noise(0.5)))


def play(player: Player) -> None:
    home = player.server.home.with_name(f"{player.server.home.name}-budget")
    link_weights(home)
    with Server(player.server.tree, home, **SETTINGS) as server, closing(Player(server)) as second:
        with second.group("load on demand"):
            second.call("a model that is there", PREDICT, SOUND)
            second.call("a model that is away", PREDICT, ask(CNN, PHOTO, top_k=1))
            _states(second, "two are there")
            second.call("one that pushes others out", INFER, infer("mobilenetv2_100", image=[payloads.photo(1)]))
            _states(second, "others are out")
            second.call("one that was pushed out", PREDICT, SOUND)
            second.call("another that was pushed out", PREDICT, ask(CNN, PHOTO, top_k=1))
            _states(second, "they are back")
            second.call("one that never fits", PREDICT, ask(TRANSFORMER, {"text": "hello"}))
            second.call("one that never fits, as tensors", INFER, infer(TRANSFORMER, text=[b"hello"]))
            second.talk("one that never fits, as a stream", STREAM_INFER, [infer(TRANSFORMER, text=[b"hello"])])
            second.call("load what never fits", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=TRANSFORMER))
            second.call("one without weights", PREDICT, ask("tabular_mlp", PHOTO))
            second.call("one that nobody knows", PREDICT, ask("nobody", PHOTO))
            second.call("a bad request to one that is away", PREDICT, ask("mobilenetv2_100", {"text": "no photo"}))
            _states(second, "in the end")
        with second.group("pinned models"):
            second.call("pin", f"{MODELS}/UpdateModel", update(CNN, pinned=True))
            second.call("load the pinned one", f"{MODELS}/LoadModel", pb.LoadModelRequest(name=CNN))
            second.call("no room beside it", PREDICT, ask("mobilenetv2_100", PHOTO))
            second.call("no room for a load", f"{MODELS}/LoadModel", pb.LoadModelRequest(name="mobilenetv2_100"))
            second.call("it answers", INFER, infer(CNN, pixel_values=np.zeros((1, 3, 224, 224), np.float32)))
            second.call("unpin", f"{MODELS}/UpdateModel", update(CNN, ["options"]))
            second.call("room again", PREDICT, ask("mobilenetv2_100", PHOTO))
            second.call("unload", f"{MODELS}/UnloadModel", pb.UnloadModelRequest(name="mobilenetv2_100"))
            second.call("one that was unloaded", PREDICT, ask("mobilenetv2_100", PHOTO))
            _states(second, "pinned, in the end")
        second.fact("exit code of the second server", server.stop())
    # Whether loaded models hold more than the budget is measured.
    player.server.events += [event for event in server.events if "budget_bytes" not in event]
    player.records += second.records
    player.called |= second.called


def _states(player: Player, name: str) -> None:
    player.call(name, f"{OPEN}/RepositoryIndex", open_pb.RepositoryIndexRequest())
