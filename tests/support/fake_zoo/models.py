"""The Models service of the fake server: its models with their versions, aliases and traffic."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import struct_pb2
from google.rpc import status_pb2

from service.pb import models_pb2, models_pb2_grpc
from tests.support.fake_zoo.calls import FakeCalls, abort, status_of

REPORT = {
    "task": "image-classification",
    "metrics": {
        "accuracy": {"value": 0.9375, "low": 0.85, "high": 1.0},
        "macro_f1": {"value": 0.93, "low": 0.84, "high": 0.99},
    },
    "baseline": {"kind": "majority_class", "accuracy": 0.3125, "macro_f1": 0.16},
    "rival": None,
    "primary": "accuracy",
    "higher_is_better": True,
}


class FakeModels(models_pb2_grpc.ModelsServicer):
    def __init__(self, calls: FakeCalls) -> None:
        self._calls = calls
        self.by_name = {
            "efficientnet_lite0": _model(
                "efficientnet_lite0", "cnn", "image-classification", "image", ["pixel_values"]
            ),
            "silero_vad": _model("silero_vad", "rnn", "voice-activity-detection", "audio", ["samples"]),
            "all_minilm_l6_v2": _model(
                "all_minilm_l6_v2", "transformer", "feature-extraction", "text", ["input_ids", "attention_mask"]
            ),
        }
        self.versions: dict[str, list[models_pb2.ModelVersion]] = {}
        """Of fine-tuned models, the newest first."""

    def ListModels(self, request: models_pb2.ListModelsRequest, context: Any) -> models_pb2.ListModelsResponse:
        self._calls.enter("ListModels", request, context)
        names = [n for n in sorted(self.by_name) if request.family in ("", self.by_name[n].family)]
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(names) else ""
        page = [self.by_name[name] for name in names[start : start + 2]]
        return models_pb2.ListModelsResponse(models=page, next_page_token=more)

    def GetModel(self, request: models_pb2.GetModelRequest, context: Any) -> models_pb2.GetModelResponse:
        self._calls.enter("GetModel", request, context)
        return models_pb2.GetModelResponse(model=self.known(request.name, context))

    def LoadModel(self, request: models_pb2.LoadModelRequest, context: Any) -> models_pb2.LoadModelResponse:
        self._calls.enter("LoadModel", request, context)
        model = self.known(request.name, context)
        model.state, model.state_reason = models_pb2.MODEL_STATE_READY, ""
        return models_pb2.LoadModelResponse(model=model)

    def UnloadModel(self, request: models_pb2.UnloadModelRequest, context: Any) -> models_pb2.UnloadModelResponse:
        self._calls.enter("UnloadModel", request, context)
        model = self.known(request.name, context)
        model.state, model.state_reason = models_pb2.MODEL_STATE_UNAVAILABLE, "it was unloaded"
        return models_pb2.UnloadModelResponse(model=model, held_bytes=20_000_000, freed_bytes=19_500_000)

    def UpdateModel(self, request: models_pb2.UpdateModelRequest, context: Any) -> models_pb2.UpdateModelResponse:
        self._calls.enter("UpdateModel", request, context)
        model = self.known(request.model.name, context)
        for path in request.update_mask.paths:
            option = path.removeprefix("options.")
            if option not in model.options.DESCRIPTOR.fields_by_name:
                problem = f"{path}: no such option"
                abort(context, status_of("INVALID_ARGUMENT", problem, reason="INVALID_INPUT", field=path))
            model.options.ClearField(option)  # type: ignore[arg-type]
        model.options.MergeFrom(request.model.options)
        later = [path for path in request.update_mask.paths if path == "options.precision"]
        return models_pb2.UpdateModelResponse(model=model, at_next_load=later)

    def ListVersions(self, request: models_pb2.ListVersionsRequest, context: Any) -> models_pb2.ListVersionsResponse:
        self._calls.enter("ListVersions", request, context)
        model = self._find(request.model, context)
        versions = self.versions.get(request.model, [])
        for version in versions:
            version.aliases[:] = sorted(alias for alias, number in model.aliases.items() if number == version.number)
        return models_pb2.ListVersionsResponse(versions=versions, traffic=model.traffic)

    def GetReport(self, request: models_pb2.GetReportRequest, context: Any) -> models_pb2.GetReportResponse:
        self._calls.enter("GetReport", request, context)
        model = self._find(request.model, context)
        report = struct_pb2.Struct()
        report.update(REPORT)
        number = int(request.version) if request.version.isdecimal() else model.aliases[request.version or "stable"]
        return models_pb2.GetReportResponse(report=report, html=b"<html>curves</html>", version=number)

    def DeleteVersion(self, request: models_pb2.DeleteVersionRequest, context: Any) -> models_pb2.DeleteVersionResponse:
        self._calls.enter("DeleteVersion", request, context)
        return models_pb2.DeleteVersionResponse(freed_bytes=1234)

    def SetAlias(self, request: models_pb2.SetAliasRequest, context: Any) -> models_pb2.SetAliasResponse:
        self._calls.enter("SetAlias", request, context)
        model = self._find(request.model, context)
        model.aliases[request.alias] = request.version
        return models_pb2.SetAliasResponse(model=model)

    def DeleteAlias(self, request: models_pb2.DeleteAliasRequest, context: Any) -> models_pb2.DeleteAliasResponse:
        self._calls.enter("DeleteAlias", request, context)
        model = self._find(request.model, context)
        del model.aliases[request.alias]
        return models_pb2.DeleteAliasResponse(model=model)

    def RollbackModel(self, request: models_pb2.RollbackModelRequest, context: Any) -> models_pb2.RollbackModelResponse:
        self._calls.enter("RollbackModel", request, context)
        model = self._find(request.model, context)
        was = model.aliases["stable"]
        model.aliases["stable"] = was - 1
        return models_pb2.RollbackModelResponse(model=model, rolled_back=was)

    def SetTraffic(self, request: models_pb2.SetTrafficRequest, context: Any) -> models_pb2.SetTrafficResponse:
        self._calls.enter("SetTraffic", request, context)
        model = self._find(request.model, context)
        model.traffic.canary, model.traffic.canary_share = request.canary, request.canary_share
        return models_pb2.SetTrafficResponse(model=model)

    def known(self, name: str, context: Any) -> models_pb2.Model:
        if name not in self.by_name:
            abort(context, unknown_model(name))
        return self.by_name[name]

    def _find(self, name: str, context: Any) -> models_pb2.Model:
        if name not in self.by_name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {name!r}")
        return self.by_name[name]


def _model(name: str, family: str, task: str, raw_input: str, inputs: list[str]) -> models_pb2.Model:
    return models_pb2.Model(
        name=name,
        family=family,
        task=task,
        summary="Does its work.",
        state=models_pb2.MODEL_STATE_READY,
        versions=[1],
        aliases={"stable": 1},
        raw_input=raw_input,
        inputs=[models_pb2.TensorSignature(name=n, datatype="FP32", shape=[-1, 4]) for n in inputs],
        outputs=[models_pb2.TensorSignature(name="out", datatype="FP32", shape=[-1, 2])],
        origin=models_pb2.Origin(licence="Apache-2.0", provenance="Somebody made it."),
        parameter_count=4_652_008,
        labels=["cat", "dog"],
        runtime=models_pb2.Runtime(
            device="cpu", precision="fp32", memory_bytes=18_600_000, weights_bytes=18_500_000, growth_bytes=30_000_000
        ),
        max_batch_size=32,
        options=models_pb2.ModelOptions(max_batch_size=8, weight=1.5, pinned=False, precision="auto"),
    )


def unknown_model(name: str) -> status_pb2.Status:
    return status_of("NOT_FOUND", f"unknown model {name!r}; did you mean 'silero_vad'?", reason="NOT_FOUND")


def add_structured(models: FakeModels) -> None:
    """Further models: `flats` takes rows, `sales` series, `homes` records."""
    for name, raw_input, task in (
        ("flats", "row", "tabular-regression"),
        ("sales", "series", "time-series-forecasting"),
        ("homes", "record", "image-tabular-regression"),
    ):
        models.by_name[name] = _model(name, "mlp", task, raw_input, ["numbers"])


def add_columns(models: FakeModels) -> None:
    """`flats` and `homes` say which columns they take."""
    for name in ("flats", "homes"):
        model = models.by_name[name]
        model.columns.add(name="area", kind="number")
        model.columns.add(name="rooms", kind="number")
        model.columns.add(name="town", kind="category", categories=["Bonn", "Köln"])
        model.target_column = "rent"
        model.ignored_columns.append("id")
