"""Changes are recorded with who made them, also where they are refused; requests that only ask are not."""

from __future__ import annotations

from typing import Any, cast

import pytest
from google.protobuf import field_mask_pb2, timestamp_pb2

from service.access.audit import AuditEvent
from service.access.principal import ANYONE, Principal, current_principal
from service.observability.token_bucket import TokenBucket
from service.pb import access_pb2, fine_tuning_pb2, models_pb2, open_inference_pb2, prediction_pb2
from service.wire.access.audited import Audit

ADA = Principal("ada", token_id="0f3c")


class Log:
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)


class Call:
    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def peer(self) -> str:
        return "ipv4:10.0.0.7:5"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


def recorded(
    path: str,
    request: Any,
    reply: Any = None,
    outcome: str = "OK",
    principal: Principal = ADA,
    call: Call | None = None,
) -> list[AuditEvent]:
    log = Log()
    token = current_principal.set(principal)
    try:
        Audit(cast(Any, log)).record(path, request, reply, outcome, call or Call())
    finally:
        current_principal.reset(token)
    return log.events


@pytest.mark.parametrize(
    ("path", "request_", "object_", "detail"),
    [
        ("/zoo.v1.Models/LoadModel", models_pb2.LoadModelRequest(name="cats"), "model/cats", {}),
        (
            "/zoo.v1.Models/SetAlias",
            models_pb2.SetAliasRequest(model="cats", alias="stable", version=3),
            "model/cats",
            {"alias": "stable", "version": "3"},
        ),
        (
            "/zoo.v1.Models/UpdateModel",
            models_pb2.UpdateModelRequest(
                model=models_pb2.Model(name="cats", options=models_pb2.ModelOptions(weight=2.5)),
                update_mask=field_mask_pb2.FieldMask(paths=["options.weight", "options.precision"]),
            ),
            "model/cats",
            {"options": '{"weight": 2.5}', "fields": "options.weight, options.precision"},
        ),
        (
            "/zoo.v1.Models/UpdateModel",
            models_pb2.UpdateModelRequest(model=models_pb2.Model(name="cats")),
            "model/cats",
            {},
        ),
        (
            "/inference.GRPCInferenceService/RepositoryModelUnload",
            open_inference_pb2.RepositoryModelUnloadRequest(repository_name="cats"),
            "model/cats",
            {},
        ),
        ("/zoo.v1.FineTuning/CancelJob", fine_tuning_pb2.CancelJobRequest(id="1f"), "job/1f", {}),
        (
            "/zoo.v1.FineTuning/DeleteDataset",
            fine_tuning_pb2.DeleteDatasetRequest(id="ab", force=True),
            "dataset/ab",
            {"force": "True"},
        ),
        ("/zoo.v1.Access/RevokeToken", access_pb2.RevokeTokenRequest(id="0f3c"), "token/0f3c", {}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "",
)
def test_change_is_recorded_with_its_object(path: str, request_: Any, object_: str, detail: dict[str, str]) -> None:
    [event] = recorded(path, request_)
    assert (event.action, event.object, event.outcome) == (path.rpartition("/")[2], object_, "OK")
    assert (event.principal, event.peer, event.owner) == (ADA, "ipv4:10.0.0.7:5", "")
    assert dict(event.detail) == detail


def test_new_object_is_named_by_the_reply_and_missing_where_the_call_failed() -> None:
    path = "/zoo.v1.FineTuning/CreateJob"
    request = fine_tuning_pb2.CreateJobRequest(spec=fine_tuning_pb2.JobSpec(base="cnn", model="cats"))
    job = fine_tuning_pb2.Job(id="1f", spec=request.spec)
    [event] = recorded(path, request, fine_tuning_pb2.CreateJobResponse(job=job))
    assert (event.object, dict(event.detail)) == ("job/1f", {"model": "cats", "base": "cnn"})
    [event] = recorded(path, request, None, "NOT_FOUND")
    assert (event.object, event.outcome) == ("job/", "NOT_FOUND")


def test_new_token_is_recorded_without_its_secret() -> None:
    reply = access_pb2.CreateTokenResponse(token=access_pb2.Token(id="0f3c", principal="bob"), secret="zoo_0f3c_secret")
    [event] = recorded("/zoo.v1.Access/CreateToken", access_pb2.CreateTokenRequest(principal="bob"), reply)
    assert "secret" not in str(event)
    assert dict(event.detail) == {"principal": "bob"}


def test_new_token_is_recorded_with_what_it_permits() -> None:
    token = access_pb2.Token(
        id="0f3c",
        principal="bob",
        scopes=[access_pb2.SCOPE_INFER, access_pb2.SCOPE_FINETUNE],
        models=["cat*", "dog"],
        limits=access_pb2.TokenLimits(jobs=2),
        expire_time=timestamp_pb2.Timestamp(seconds=1_800_000_000),
    )
    [event] = recorded(
        "/zoo.v1.Access/CreateToken", access_pb2.CreateTokenRequest(), access_pb2.CreateTokenResponse(token=token)
    )
    assert dict(event.detail) == {
        "principal": "bob",
        "scopes": "SCOPE_INFER, SCOPE_FINETUNE",
        "models": "cat*, dog",
        "limits": '{"jobs": 2}',
        "expires": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/zoo.v1.Models/GetModel", models_pb2.GetModelRequest(name="cats")),
        ("/zoo.v1.Prediction/Predict", prediction_pb2.PredictRequest(model="cats")),
        ("/zoo.v1.FineTuning/CreateJob", fine_tuning_pb2.CreateJobRequest(validate_only=True)),
        ("/inference.GRPCInferenceService/LogSettings", open_inference_pb2.LogSettingsRequest()),
    ],
)
def test_call_that_changes_nothing_is_not_recorded(path: str, request_: Any) -> None:
    assert recorded(path, request_) == []


def test_owner_is_recorded_only_where_no_token_proves_one() -> None:
    request, call = models_pb2.LoadModelRequest(name="cats"), Call(("zoo-owner", "eve"))
    [event] = recorded("/zoo.v1.Models/LoadModel", request, principal=ANYONE, call=call)
    assert event.owner == "eve"
    [event] = recorded("/zoo.v1.Models/LoadModel", request, call=call)
    assert event.owner == ""


@pytest.mark.parametrize("path", ["A", "options.Weight", "a_1", "options__x", "", "é", "x" * 9999])
def test_mask_of_any_path_is_recorded_as_it_came(path: str) -> None:
    request = models_pb2.UpdateModelRequest(model=models_pb2.Model(name="cats"))
    request.update_mask.paths.append(path)
    [event] = recorded("/zoo.v1.Models/UpdateModel", request, None, "INVALID_ARGUMENT")
    assert event.detail.get("fields", "") == path[:256]


def test_details_are_bounded_before_they_are_built() -> None:
    request = models_pb2.UpdateModelRequest(model=models_pb2.Model(name="cats"))
    request.update_mask.paths.extend(["options.weight"] * 100_000)
    request.model.options.precision = "p" * 100_000
    [event] = recorded("/zoo.v1.Models/UpdateModel", request, None, "INVALID_ARGUMENT")
    assert event.detail["options"] == "too large to be recorded"
    assert event.detail["fields"].endswith("options.weight, …")
    assert len(event.detail["fields"]) < 2000


def test_refusal_is_recorded_without_what_was_chosen() -> None:
    request = models_pb2.UpdateModelRequest(model=models_pb2.Model(name="cats"))
    request.update_mask.paths.extend(["options.weight"] * 100_000)
    [event] = recorded("/zoo.v1.Models/UpdateModel", request, None, "PERMISSION_DENIED")
    assert (event.object, dict(event.detail)) == ("model/cats", {})


@pytest.mark.parametrize("unreadable", [object(), None])
def test_request_that_is_no_message_is_recorded_without_an_object(unreadable: object) -> None:
    [event] = recorded("/zoo.v1.Models/LoadModel", unreadable, None, "INVALID_ARGUMENT")
    assert event.object == "model/"


def test_server_without_an_audit_log_records_nothing() -> None:
    Audit().record("/zoo.v1.Models/LoadModel", models_pb2.LoadModelRequest(), None, "OK", Call())


def test_flood_of_refusals_is_recorded_in_part_with_its_number() -> None:
    log = Log()
    audit = Audit(cast(Any, log))
    audit._refusals = TokenBucket(3, 0.0)
    for _ in range(10):
        audit.record("/zoo.v1.Models/LoadModel", models_pb2.LoadModelRequest(name="x"), None, "UNAUTHENTICATED", Call())
    audit._refusals = TokenBucket(1, 0.0)
    audit.record("/zoo.v1.Models/LoadModel", models_pb2.LoadModelRequest(name="x"), None, "UNAUTHENTICATED", Call())
    assert len(log.events) == 4
    assert log.events[-1].detail["refusals_left_out"] == "7"
    audit.record("/zoo.v1.Models/LoadModel", models_pb2.LoadModelRequest(name="x"), None, "OK", Call())
    assert log.events[-1].outcome == "OK"
