"""Every method of the server has its scopes, and the fields that are read of requests exist."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from service.access.scopes import Scope
from service.pb import access_pb2, fine_tuning_pb2, models_pb2, open_inference_pb2, prediction_pb2
from service.wire.access.audited import _BY_REPLY, _BY_REQUEST, AUDITED
from service.wire.access.method_scopes import ADMIN, MODEL_FIELDS, SCOPES, field_of

FILES: tuple[Any, ...] = (
    access_pb2,
    fine_tuning_pb2,
    health_pb2,
    models_pb2,
    open_inference_pb2,
    prediction_pb2,
    reflection_pb2,
)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
READS = ("Get", "List", "Watch", "Server", "Cuda", "System", "ModelReady", "ModelMetadata", "ModelConfig", "Check")
READS_OF_OIP = ("ModelStatistics", "RepositoryIndex", "ModelInfer", "ModelStreamInfer")


def message_of(path: str, kind: str) -> Message:
    return GetMessageClass(getattr(METHODS[path], kind))()


def test_every_method_has_its_scopes() -> None:
    assert set(METHODS) <= set(SCOPES)


def test_only_health_and_its_like_are_open_to_everyone() -> None:
    assert {path.rpartition("/")[2] for path, scopes in SCOPES.items() if scopes is None} == {
        "Check",
        "List",
        "Watch",
        "ServerLive",
        "ServerReady",
    }
    assert all("health" in path or "Server" in path for path, scopes in SCOPES.items() if scopes is None)


def test_metrics_scope_permits_no_method_but_those_for_every_token() -> None:
    permitted = [path for path, scopes in SCOPES.items() if scopes and Scope.METRICS in scopes]
    assert all(path.endswith(("/GetPrincipal", "/ServerReflectionInfo")) for path in permitted)


@pytest.mark.parametrize("path", [path for path, scopes in SCOPES.items() if scopes == ADMIN])
def test_admin_methods_are_those_of_tokens_and_settings(path: str) -> None:
    assert path.rpartition("/")[2] in ("CreateToken", "ListTokens", "RevokeToken", "TraceSetting", "LogSettings")


def test_fields_that_name_models_exist_and_are_empty_in_an_empty_request() -> None:
    for path, fields in MODEL_FIELDS.items():
        for field in fields:
            assert field_of(message_of(path, "input_type"), field) == "", path


def test_every_request_with_a_model_field_is_checked() -> None:
    named = {
        path
        for path, method in METHODS.items()
        if path.startswith("/zoo.v1.Models/") and {"model", "name"} & set(method.input_type.fields_by_name)
    }
    assert named <= set(MODEL_FIELDS)


def test_audited_fields_exist() -> None:
    for path, (_, name, details) in _BY_REQUEST.items():
        for field in (name, *details.values()):
            field_of(message_of(path, "input_type"), field)
    for path, (_, name, details) in _BY_REPLY.items():
        for field in (name, *details.values()):
            field_of(message_of(path, "output_type"), field)


def test_every_method_that_changes_something_is_audited() -> None:
    changing = {
        path
        for path in METHODS
        if path.startswith(("/zoo.v1.", "/inference."))
        and not path.rpartition("/")[2].startswith(READS)
        and path.rpartition("/")[2] not in (*READS_OF_OIP, "Predict", "StreamPredict")
    }
    assert changing == AUDITED


def test_first_field_that_is_set_names_the_object() -> None:
    request = open_inference_pb2.RepositoryModelLoadRequest(repository_name="cats")
    assert field_of(request, "model_name|repository_name") == "cats"
    request.model_name = "dogs"
    assert field_of(request, "model_name|repository_name") == "dogs"
