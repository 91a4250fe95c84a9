"""What there is: health, reflection, server and model metadata, the repository, the catalog."""

from __future__ import annotations

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from service.pb import models_pb2, open_inference_pb2
from tests.recorded.corpus.messages import (
    ALL,
    CNN,
    MODELS,
    OPEN,
    RNN,
    TRANSFORMER,
)
from tests.recorded.player import SERVICES, Player

HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def play(player: Player) -> None:
    with player.group("health"):
        names = ["", *ALL, *(name for name in SERVICES if name != "grpc.reflection.v1alpha.ServerReflection"), "nobody"]
        for name in names:
            player.call(f"check {name}", f"{HEALTH}/Check", health_pb2.HealthCheckRequest(service=name))
        for name in ("", CNN, "nobody"):
            request = health_pb2.HealthCheckRequest(service=name)
            player.watch(f"watch {name}", f"{HEALTH}/Watch", request, until=lambda reply: True)
        if "List" in SERVICES[HEALTH].methods_by_name:
            player.call("list", f"{HEALTH}/List", health_pb2.HealthListRequest())
    with player.group("reflection"):
        ask = reflection_pb2.ServerReflectionRequest
        requests = [ask(list_services=""), ask(file_containing_symbol="nobody.Knows"), ask(file_by_filename="no.proto")]
        requests += [ask(file_containing_symbol=name) for name in SERVICES]
        player.talk("services and files", REFLECTION, requests)
    with player.group("server"):
        player.call("live", f"{OPEN}/ServerLive", open_inference_pb2.ServerLiveRequest())
        player.call("ready", f"{OPEN}/ServerReady", open_inference_pb2.ServerReadyRequest())
        player.call("metadata", f"{OPEN}/ServerMetadata", open_inference_pb2.ServerMetadataRequest())
        for method in SERVICES[OPEN].methods:
            if "SharedMemory" in method.name or method.name in ("TraceSetting", "LogSettings"):
                player.call(method.name, f"{OPEN}/{method.name}", b"")
        player.call("a method that nobody has", f"{OPEN}/ServerLive", b"\xff\xff\xff")
    named = [(name, "") for name in ALL]
    named += [(CNN, "1"), (CNN, "stable"), (CNN, "2"), (CNN, "-1"), (CNN, "none"), ("efficientnet", ""), ("", "")]
    with player.group("model metadata"):
        for name, version in named:
            for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
                kind = getattr(open_inference_pb2, f"{method}Request")
                player.call(f"{method} {name}:{version}", f"{OPEN}/{method}", kind(name=name, version=version))
    with player.group("repository"):
        for ready in (False, True):
            request = open_inference_pb2.RepositoryIndexRequest(ready=ready)
            player.call(f"index {ready}", f"{OPEN}/RepositoryIndex", request)
    with player.group("catalog"):
        player.call("all", f"{MODELS}/ListModels", models_pb2.ListModelsRequest())
        for what, fields in {
            "a family": {"family": "rnn"},
            "an unknown family": {"family": "gnn"},
            "a task": {"task": "feature-extraction"},
            "a state": {"state": models_pb2.MODEL_STATE_READY},
            "family and state": {"family": "rnn", "state": models_pb2.MODEL_STATE_UNAVAILABLE},
            "a state that is none": {"state": 17},
            "a bad token": {"page_token": "nonsense"},
            "a negative page": {"page_size": -1},
            "a huge page": {"page_size": 100_000},
        }.items():
            player.call(what, f"{MODELS}/ListModels", models_pb2.ListModelsRequest(**fields))
        token = ""
        for page in range(3):
            request = models_pb2.ListModelsRequest(page_size=3, page_token=token)
            token = player.call(f"page {page}", f"{MODELS}/ListModels", request).next_page_token
        other = models_pb2.ListModelsRequest(page_size=3, page_token=_first_token(player), family="rnn")
        player.call("a token of other filters", f"{MODELS}/ListModels", other)
        for name in (CNN, RNN, TRANSFORMER, "tabular_mlp", "nobody", ""):
            player.call(f"one {name}", f"{MODELS}/GetModel", models_pb2.GetModelRequest(name=name))
        for name, version in ((CNN, ""), (CNN, "1"), (CNN, "x"), ("nobody", ""), ("", "")):
            request = models_pb2.GetReportRequest(model=name, version=version)
            player.call(f"report {name}:{version}", f"{MODELS}/GetReport", request)
        for name in (CNN, "series_gru", "nobody", ""):
            player.call(f"versions {name}", f"{MODELS}/ListVersions", models_pb2.ListVersionsRequest(model=name))


def _first_token(player: Player) -> str:
    token: str = player.ask(f"{MODELS}/ListModels", models_pb2.ListModelsRequest(page_size=3)).next_page_token
    return token
