"""What jobs made: answers of every task, reports, aliases, canaries, and versions that are deleted."""

from __future__ import annotations

from google.protobuf.message import Message

from service.pb import models_pb2 as pb
from service.pb import open_inference_pb2 as open_pb
from tests.recorded import payloads
from tests.recorded.corpus.messages import (
    CNN,
    INFER,
    MODELS,
    OPEN,
    PREDICT,
    TRANSFORMER,
    ask,
    infer,
    record,
    row,
    samples,
    series,
)
from tests.recorded.corpus.run_time import outdate
from tests.recorded.player import CLOSE, TRAINED, Player

FLAT = row(size=80.0, age=10.0, part="centre")
WEEKS = [100.0 + i + 20.0 * (i % 7 in (5, 6)) for i in range(21)]
HOUSE = record(image={"image": payloads.photo(3, (200, 60, 60))}, row=row(area=100.0))
TEXT = {"text": "the tide and the anchor"}
PHOTO = {"image": payloads.photo(500, (200, 60, 60))}

ANSWERS = {
    "a number": ask("rents", FLAT),
    "a number of another version": ask("rents", FLAT, version="2"),
    "a row of texts": ask("rents", row(size="80", age=" 1e1 ", part="centre")),
    "a row with gaps": ask("rents", row(size=80.0, part=None)),
    "an unseen category": ask("rents", row(size=80.0, age=10.0, part="moon")),
    "a number and its tensors": ask("rents", FLAT, include_tensors=True),
    "a number of a job that rested": ask("rested", FLAT),
    "a class of a row": ask("kinds", row(length=2.0, width=0.5)),
    "a class of a text": ask("topics", TEXT),
    "a class of a text by lora": ask("topics", TEXT, version="2"),
    "a class of a photo": ask("colours", PHOTO, top_k=2),
    "a class of a photo and its tensors": ask("colours", PHOTO, include_tensors=True),
    "a class of a sound": ask("pitches", samples(payloads.tone(1700.0, 0.6, 77))),
    "numbers to come": ask("sales", series(*WEEKS)),
    "numbers to come after more": ask("sales", series(*WEEKS, *WEEKS)),
    "a verse": ask("poet", {"text": "The wave"}, temperature=0.0, max_new_tokens=12),
    "a number of a house": ask("houses", HOUSE),
}

WRONG = {
    "an empty row": ask("rents", row()),
    "a column that is none": ask("rents", row(size=80.0, colour="red")),
    "a text among numbers": ask("rents", row(size="large")),
    "a truth value among numbers": ask("rents", row(size=True)),
    "an infinite number": ask("rents", row(size=float("inf"))),
    "a text for a table": ask("rents", TEXT),
    "labels of a number": ask("rents", FLAT, top_k=2),
    "too short a series": ask("sales", series(1.0, 2.0)),
    "a series with a gap": ask("sales", series(*WEEKS[:-1], float("nan"))),
    "a series of two channels": ask("sales", series(*WEEKS, *WEEKS, channels=2)),
    "a series of half a step": ask("sales", series(1.0, 2.0, 3.0, channels=2)),
    "negative channels": ask("sales", series(1.0, channels=-1)),
    "a record without a picture": ask("houses", record(row=row(area=1.0))),
    "a record of a record": ask("houses", record(image=HOUSE)),
    "a record with a part too many": ask("houses", record(image=PHOTO, row=row(area=1.0), text=TEXT)),
    "a photo without its row": ask("houses", PHOTO),
    "a version that is none": ask("rents", FLAT, version="99"),
}

TENSORS = {
    "a row": infer("rents", row=[b'{"size": 80, "age": 10, "part": "centre"}']),
    "a row of another version": infer("rents", version="2", row=[b'{"size": 80}']),
    "a series": infer("sales", series=[str(WEEKS).encode()]),
    "a text": infer("topics", text=[b"the tide"]),
    "a photo": infer("colours", image=[PHOTO["image"]]),
    "a sound": infer("pitches", audio=[payloads.wav(payloads.tone(1700.0, 0.6, 77))]),
    "the next letter": infer("poet", text=[b"The wave"]),
    "a row that is no JSON": infer("rents", row=[b"size=80"]),
    "a row with a name twice": infer("rents", row=[b'{"size": 1, "size": 2}']),
    "a row that is a list": infer("rents", row=[b"[1, 2]"]),
    "a row with a list in it": infer("rents", row=[b'{"size": [1]}']),
    "a row that is no UTF-8": infer("rents", row=[b'{"part": "\xff"}']),
    "a row that is nested": infer("rents", row=[b"[" * 5000]),
    "a series that is no JSON": infer("sales", series=[b"1, 2, 3"]),
    "a series of texts": infer("sales", series=[b'["a"]']),
    "a series of unlike steps": infer("sales", series=[b"[[1, 2], [3]]"]),
    "a record without its image": infer("houses", record=[b'{"row": {"area": 70}}']),
    "a record of bad base64": infer("houses", record=[b'{"image": "!", "row": {"area": 70}}']),
    "a record with a part too many": infer("houses", record=[b'{"image": "", "row": {}, "text": ""}']),
}


def play(player: Player) -> None:
    with player.group("what was tuned", floats=TRAINED):
        for name, request in ANSWERS.items():
            player.call(name, PREDICT, request)
        for name in ("rents", "kinds", "topics", "colours", "pitches", "sales", "poet", "houses"):
            player.call(f"model {name}", f"{MODELS}/GetModel", pb.GetModelRequest(name=name))
            player.call(f"versions of {name}", f"{MODELS}/ListVersions", pb.ListVersionsRequest(model=name))
            player.call(f"report of {name}", f"{MODELS}/GetReport", pb.GetReportRequest(model=name))
            metadata = open_pb.ModelMetadataRequest(name=name)
            player.call(f"metadata of {name}", f"{OPEN}/ModelMetadata", metadata)
            player.call(f"config of {name}", f"{OPEN}/ModelConfig", open_pb.ModelConfigRequest(name=name))
    with player.group("what was tuned, as tensors", floats=TRAINED):
        for name, tensor in TENSORS.items():
            player.call(name, INFER, tensor)
        classes = infer("colours", image=[PHOTO["image"]])
        classes.outputs.add(name="logits").parameters["classification"].int64_param = 2
        player.call("classes of a photo", INFER, classes)
    with player.group("what was tuned and asked wrongly"):
        for name, request in WRONG.items():
            player.call(name, PREDICT, request)
    with player.group("what was tuned, several rows", floats=TRAINED, metrics=False):
        player.call("three rows", PREDICT, ask("rents", FLAT, row(size=20.0), row(colour="red")), floats=TRAINED)
        player.call("two photos", PREDICT, ask("colours", PHOTO, {"image": payloads.photo(1)}), floats=CLOSE)
    with player.group("aliases"):
        _aliases(player)
    with player.group("canaries", floats=TRAINED):
        _canaries(player)
    with player.group("an alias that another server moved"):
        _outdated(player)
    with player.group("bases and what they carry"):
        _carried(player)
    with player.group("versions that are deleted", metrics=False):
        _deletion(player)


def _aliases(player: Player) -> None:
    def move(name: str, method: str, request: Message) -> None:
        player.call(name, f"{MODELS}/{method}", request)

    for name, fields in {
        "best": {"alias": "best", "version": 2},
        "best again": {"alias": "best", "version": 2},
        "best elsewhere": {"alias": "best", "version": 1},
        "stable": {"alias": "stable", "version": 2},
        "of no version": {"alias": "best", "version": 99},
        "of version 0": {"alias": "best"},
        "of a negative version": {"alias": "best", "version": -1},
        "without a name": {"version": 1},
        "in capitals": {"alias": "Best", "version": 1},
        "that is a number": {"alias": "12", "version": 1},
        "of a path": {"alias": "../best", "version": 1},
        "without an end": {"alias": "b" * 300, "version": 1},
        "canary": {"alias": "canary", "version": 1},
    }.items():
        move(f"alias {name}", "SetAlias", pb.SetAliasRequest(model="rents", **fields))
    move("alias of a model of the zoo", "SetAlias", pb.SetAliasRequest(model=CNN, alias="best", version=1))
    move("alias of an unknown model", "SetAlias", pb.SetAliasRequest(model="nobody", alias="best", version=1))
    move("alias of no model", "SetAlias", pb.SetAliasRequest(alias="best", version=1))
    player.call("by its alias", PREDICT, ask("rents", FLAT, version="best"), floats=TRAINED)
    player.call("by stable", PREDICT, ask("rents", FLAT), floats=TRAINED)
    player.call("tensors by alias", INFER, infer("rents", version="best", row=[b'{"size": 80}']), floats=TRAINED)
    for name in ("best", "best", "stable", "nothing", ""):
        move(f"remove {name}", "DeleteAlias", pb.DeleteAliasRequest(model="rents", alias=name))
    player.call("by an alias that is gone", PREDICT, ask("rents", FLAT, version="best"))
    for name in ("rents", "rents", "rents", "rents", CNN, "nobody", ""):
        move(f"roll back {name}", "RollbackModel", pb.RollbackModelRequest(model=name))
    move("stable as it was", "SetAlias", pb.SetAliasRequest(model="rents", alias="stable", version=1))
    move("aliases in the end", "GetModel", pb.GetModelRequest(name="rents"))


def _canaries(player: Player) -> None:
    for name, fields in {
        "all": {"model": "rents", "canary": 2, "canary_share": 1.0},
        "more than all": {"model": "rents", "canary": 2, "canary_share": 1.5},
        "no number": {"model": "rents", "canary": 2, "canary_share": float("nan")},
        "no version": {"model": "rents", "canary": 99, "canary_share": 0.5},
        "version 0": {"model": "rents", "canary_share": 0.5},
        "the stable one": {"model": "rents", "canary": 1, "canary_share": 0.5},
        "a model of the zoo": {"model": CNN, "canary": 1, "canary_share": 0.5},
        "an unknown model": {"model": "nobody", "canary": 1, "canary_share": 0.5},
        "no model": {"canary": 1, "canary_share": 0.5},
    }.items():
        player.call(f"canary: {name}", f"{MODELS}/SetTraffic", pb.SetTrafficRequest(**fields))
    player.call("by no version", PREDICT, ask("rents", FLAT))
    player.call("by stable", PREDICT, ask("rents", FLAT, version="stable"))
    player.call("tensors by no version", INFER, infer("rents", row=[b'{"size": 80}']))
    player.call("model with a canary", f"{MODELS}/GetModel", pb.GetModelRequest(name="rents"))
    player.call("delete the canary", f"{MODELS}/DeleteVersion", pb.DeleteVersionRequest(model="rents", version=2))
    player.call("no canary", f"{MODELS}/SetTraffic", pb.SetTrafficRequest(model="rents"))
    player.call("no canary again", f"{MODELS}/SetTraffic", pb.SetTrafficRequest(model="rents"))
    player.call("by no version again", PREDICT, ask("rents", FLAT))


def _outdated(player: Player) -> None:
    best = pb.SetAliasRequest(model="rents", alias="best", version=2)
    stable = pb.SetAliasRequest(model="rents", alias="stable", version=2)
    outdate(player.database(), "rents")
    player.call("an alias", f"{MODELS}/SetAlias", best)
    outdate(player.database(), "rents")
    player.call("stable", f"{MODELS}/SetAlias", stable)
    outdate(player.database(), "rents")
    player.call("roll back", f"{MODELS}/RollbackModel", pb.RollbackModelRequest(model="rents"))
    outdate(player.database(), "rents")
    traffic = pb.SetTrafficRequest(model="rents", canary=2, canary_share=0.5)
    player.call("a canary", f"{MODELS}/SetTraffic", traffic)
    outdate(player.database(), "rents")
    player.call("remove it", f"{MODELS}/DeleteAlias", pb.DeleteAliasRequest(model="rents", alias="best"))
    player.call("no canary", f"{MODELS}/SetTraffic", pb.SetTrafficRequest(model="rents"))
    player.call("in the end", f"{MODELS}/GetModel", pb.GetModelRequest(name="rents"))


def _carried(player: Player) -> None:
    unload, load = pb.UnloadModelRequest, pb.LoadModelRequest
    player.call("unload a base that carries", f"{MODELS}/UnloadModel", unload(name=TRANSFORMER))
    player.call("unload what it carries", f"{MODELS}/UnloadModel", unload(name="topics"))
    player.call("ask for what is away", PREDICT, ask("topics", TEXT))
    player.call("unload the base", f"{MODELS}/UnloadModel", unload(name=TRANSFORMER))
    player.call("load what it carried", f"{MODELS}/LoadModel", load(name="topics"))
    player.call("ask for it", PREDICT, ask("topics", TEXT), floats=TRAINED)
    player.call("load the base", f"{MODELS}/LoadModel", load(name=TRANSFORMER))
    player.call("index", f"{OPEN}/RepositoryIndex", open_pb.RepositoryIndexRequest())


def _deletion(player: Player) -> None:
    for name, fields in {
        "the stable one": {"model": "rents", "version": 1},
        "another": {"model": "rents", "version": 2},
        "the same again": {"model": "rents", "version": 2},
        "one that is none": {"model": "rents", "version": 99},
        "version 0": {"model": "rents"},
        "of a model of the zoo": {"model": CNN, "version": 1},
        "of an unknown model": {"model": "nobody", "version": 1},
        "of no model": {"version": 1},
    }.items():
        player.call(f"delete {name}", f"{MODELS}/DeleteVersion", pb.DeleteVersionRequest(**fields))
    player.call("by its number", PREDICT, ask("rents", FLAT, version="2"))
    player.call("what is left", f"{MODELS}/ListVersions", pb.ListVersionsRequest(model="rents"), floats=TRAINED)
    player.call("all models", f"{MODELS}/ListModels", pb.ListModelsRequest(), floats=TRAINED)
