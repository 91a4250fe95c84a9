"""A server that asks for tokens, as a process, under the attacks that it is built against."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.access.attempts import BURST
from service.access.scopes import Scope
from service.access.tokens import new_secret
from service.pb import access_pb2, fine_tuning_pb2, models_pb2, open_inference_pb2, prediction_pb2
from service.wire.access.method_scopes import SCOPES
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, home_with, run_zoo, until
from tests.support.end_to_end.stubs import TRANSFORMER, stubs_of

Metadata = tuple[tuple[str, str], ...]
Code = grpc.StatusCode
SERVICES = (access_pb2, fine_tuning_pb2, models_pb2, open_inference_pb2, prediction_pb2)


class TokenServer:
    """One server with one token for each scope."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.token_file = home / "admin-token"
        self.settings = {
            "ZOO_HOME": str(home),
            "ZOO_TOKENS": "required",
            "ZOO_ADMIN_TOKEN_FILE": str(self.token_file),
            "ZOO_FOLLOW_INTERVAL_S": "0.2",
            "ZOO_JOB_WORKER_READY_S": "0",
        }
        self.process = ServerProcess("--model", TRANSFORMER, **self.settings).ready()
        self.admin = self.token_file.read_text().strip()
        self.stubs = stubs_of(self.process)
        self.tokens = {scope: self.make(f"one-{scope}", scope) for scope in Scope}

    def zoo(self, *arguments: str, token: str = "") -> Any:
        """The JSON that a command prints."""
        done = run_preloaded(*arguments, "--json", **self.settings, ZOO_TOKEN=token, ZOO_SERVER=self.process.target)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def make(self, principal: str, *scopes: Scope, **fields: Any) -> str:
        """A new token, made by the admin over the wire."""
        numbers = [access_pb2.Scope.Value(f"SCOPE_{scope.upper()}") for scope in scopes]
        request = access_pb2.CreateTokenRequest(principal=principal, scopes=numbers, **fields)
        reply = self.call("/zoo.v1.Access/CreateToken", request, access_pb2.CreateTokenResponse, self.admin)
        return str(reply.secret)

    def call(self, path: str, request: Any, reply: Any, token: str = "") -> Any:
        """One unary call."""
        call = self.stubs.channel.unary_unary(path, type(request).SerializeToString, reply.FromString)
        return call(request, metadata=bearer(token), timeout=TIMEOUT_S)

    def code(self, path: str, token: str = "", body: bytes = b"") -> Code:
        """The code with which a call of any kind ends."""
        streamed = STREAMS.get(path, (False, False))
        name = f"{'stream' if streamed[0] else 'unary'}_{'stream' if streamed[1] else 'unary'}"
        call = getattr(self.stubs.channel, name)(path)
        request: Any = iter([body]) if streamed[0] else body
        try:
            found = call(request, metadata=bearer(token), timeout=TIMEOUT_S)
            for _ in found if streamed[1] else ():
                found.cancel()
                break
        except grpc.RpcError as error:
            return error.code()
        return Code.OK

    def predict(self, token: str, model: str = TRANSFORMER) -> Any:
        """A prediction of one text."""
        request = prediction_pb2.PredictRequest(model=model, instances=[prediction_pb2.Instance(text="a cat")])
        return self.stubs.prediction.Predict(request, metadata=bearer(token), timeout=TIMEOUT_S)

    def predict_code(self, token: str, model: str = TRANSFORMER) -> Code:
        """The code with which a prediction ends."""
        try:
            self.predict(token, model)
        except grpc.RpcError as error:
            return error.code()
        return Code.OK


STREAMS: Mapping[str, tuple[bool, bool]] = {
    f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
    for file in SERVICES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if method.client_streaming or method.server_streaming
} | {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": (True, True)}
METHODS: Sequence[str] = [path for path in SCOPES if "/grpc.reflection.v1." not in path and "health" not in path]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),) if token else ()


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    served = TokenServer(home_with(tmp_path_factory.mktemp("tokens"), [TRANSFORMER]))
    try:
        with served.process:
            yield served
        served.process.assert_log_is_clean()
    finally:
        served.stubs.channel.close()


# ── the way of an operator ────────────────────────────────────────────────────────────────────────────────────


def test_first_token_is_made_in_a_file_for_the_server_alone(s: TokenServer) -> None:
    assert s.token_file.stat().st_mode & 0o777 == 0o600
    assert s.predict_code(s.admin) is Code.OK


def test_token_made_on_the_machine_is_valid_at_once(s: TokenServer) -> None:
    made = s.zoo("token", "create", "carol", "--scope", "infer", "--local")
    assert s.predict_code(made["secret"]) is Code.OK


def test_secret_is_nowhere_in_the_home(s: TokenServer) -> None:
    secret = s.tokens[Scope.INFER].rpartition("_")[2].encode()
    for path in s.home.rglob("*"):
        if path.is_file() and path != s.token_file and "weights" not in path.parts:
            assert secret not in path.read_bytes(), path


def test_health_is_open_to_everyone(s: TokenServer) -> None:
    health = health_pb2_grpc.HealthStub(s.stubs.channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status == 1
    assert s.code("/inference.GRPCInferenceService/ServerLive") is Code.OK
    assert s.code("/inference.GRPCInferenceService/ServerReady") is Code.OK


def test_changes_are_in_the_audit_log_with_who_made_them(s: TokenServer) -> None:
    made = s.make("audited", Scope.INFER)
    token_id = made.split("_")[1]
    unload = models_pb2.UnloadModelRequest(name="x").SerializeToString()
    assert s.code("/zoo.v1.Models/UnloadModel", s.tokens[Scope.INFER], unload) is Code.PERMISSION_DENIED

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (s.home / "audit.jsonl").read_text().splitlines()]

    until(lambda: any(line["action"] == "UnloadModel" for line in lines()), "the audit log")
    [created] = [line for line in lines() if line["object"] == f"token/{token_id}"]
    assert (created["action"], created["principal"], created["outcome"]) == ("CreateToken", "admin", "OK")
    denied = next(line for line in lines() if line["action"] == "UnloadModel")
    assert (denied["principal"], denied["outcome"]) == ("one-infer", "PERMISSION_DENIED")
    assert made not in (s.home / "audit.jsonl").read_text()


# ── scope escalation ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_method_is_closed_without_a_token(s: TokenServer) -> None:
    codes = {path: s.code(path) for path in METHODS if SCOPES[path] is not None}
    assert set(codes.values()) == {Code.UNAUTHENTICATED}, codes

    def peers() -> dict[str, str]:
        lines = [line for line in s.process.events if line.get("code") == Code.UNAUTHENTICATED.name]
        return {line["method"]: line.get("peer", "") for line in lines}

    until(lambda: {"ModelInfer", "GetModel"} <= set(peers()), "the lines of the log")
    assert all(peer.startswith("ipv4:127.0.0.1:") for peer in peers().values()), peers()


def test_command_waits_for_the_rate_of_its_token(s: TokenServer) -> None:
    limits = access_pb2.TokenLimits(requests_per_second=2)
    token = s.make("slow", Scope.INFER, limits=limits)
    settings = {**s.settings, "ZOO_TOKEN": token, "ZOO_SERVER": s.process.target}
    texts = ["a cat", "a kitten", "a tax form"]
    for arguments, given in ((texts, None), (["-"], "\n".join(texts))):
        done = run_zoo("predict", TRANSFORMER, *arguments, "--json", stdin=given, **settings)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line.get("error") for line in lines] == [None] * 3


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ADMIN])
def test_token_of_one_scope_opens_its_methods_alone(s: TokenServer, scope: Scope) -> None:
    for path in METHODS:
        permitted = SCOPES[path]
        if permitted is not None:
            denied = s.code(path, s.tokens[scope]) is Code.PERMISSION_DENIED
            assert denied is (scope not in permitted), path


def test_unknown_method_is_refused(s: TokenServer) -> None:
    assert s.code("/zoo.v1.Models/Nothing", s.admin) is Code.UNIMPLEMENTED


def test_holder_of_a_token_makes_no_token(s: TokenServer) -> None:
    request = access_pb2.CreateTokenRequest(principal="one-models", scopes=[access_pb2.SCOPE_ADMIN])
    for scope in set(Scope) - {Scope.ADMIN}:
        with pytest.raises(grpc.RpcError) as caught:
            s.call("/zoo.v1.Access/CreateToken", request, access_pb2.CreateTokenResponse, s.tokens[scope])
        assert caught.value.code() is Code.PERMISSION_DENIED


def test_token_of_other_models_opens_none_beside_them(s: TokenServer) -> None:
    token = s.make("patterned", Scope.INFER, Scope.MODELS, models=["other*"])
    assert s.predict_code(token) is Code.PERMISSION_DENIED
    listed = s.call("/zoo.v1.Models/ListModels", models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse, token)
    assert len(listed.models) == 0


# ── replay ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_revoked_token_is_refused_from_the_next_call_on(s: TokenServer) -> None:
    token = s.make("leaver", Scope.INFER)
    assert s.predict_code(token) is Code.OK
    request = access_pb2.RevokeTokenRequest(id=token.split("_")[1])
    s.call("/zoo.v1.Access/RevokeToken", request, access_pb2.RevokeTokenResponse, s.admin)
    assert s.predict_code(token) is Code.UNAUTHENTICATED


def test_token_revoked_on_the_machine_is_refused_soon(s: TokenServer) -> None:
    made = s.zoo("token", "create", "leaver", "--scope", "infer", "--local")
    assert s.predict_code(made["secret"]) is Code.OK
    s.zoo("token", "revoke", made["id"], "--local")
    until(lambda: s.predict_code(made["secret"]) is Code.UNAUTHENTICATED, "the revocation")


def test_expired_token_is_refused(s: TokenServer) -> None:
    token = s.make("brief", Scope.INFER, expire_time={"seconds": int(time.time()) + 2})
    assert s.predict_code(token) is Code.OK
    until(lambda: s.predict_code(token) is Code.UNAUTHENTICATED, "the end of the token")


def test_digest_of_data_of_another_principal_gives_nothing_away(s: TokenServer) -> None:
    """Whoever knows the digest of bytes, and not the bytes, gets neither the dataset nor its state."""
    data = b"text,label\n" + b"".join(b"a nice day,good\na bad day,bad\n" for _ in range(20))
    sha256 = hashlib.sha256(data).hexdigest()
    header = fine_tuning_pb2.UploadHeader(sha256=sha256, size_bytes=len(data), file_name="a.csv")
    parts = [fine_tuning_pb2.UploadDatasetRequest(header=header), fine_tuning_pb2.UploadDatasetRequest(chunk=data)]
    owner, thief = s.make("owner", Scope.FINETUNE), s.make("thief", Scope.FINETUNE)
    stored = s.stubs.fine_tuning.UploadDataset(iter(parts), metadata=bearer(owner), timeout=TIMEOUT_S).dataset
    with pytest.raises(grpc.RpcError) as caught:
        s.stubs.fine_tuning.UploadDataset(iter(parts[:1]), metadata=bearer(thief), timeout=TIMEOUT_S)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert "0 of" in caught.value.details()

    # ── owner crossing ──
    for request, call in (
        (fine_tuning_pb2.GetDatasetRequest(id=stored.id), s.stubs.fine_tuning.GetDataset),
        (fine_tuning_pb2.DeleteDatasetRequest(id=stored.id, force=True), s.stubs.fine_tuning.DeleteDataset),
        (
            fine_tuning_pb2.CreateJobRequest(
                spec=fine_tuning_pb2.JobSpec(base=TRANSFORMER, model="stolen", dataset_id=stored.id)
            ),
            s.stubs.fine_tuning.CreateJob,
        ),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request, metadata=(*bearer(thief), ("zoo-owner", "owner")), timeout=TIMEOUT_S)
        assert caught.value.code() is Code.NOT_FOUND
    listed = s.stubs.fine_tuning.ListDatasets(fine_tuning_pb2.ListDatasetsRequest(), metadata=bearer(thief))
    assert len(listed.datasets) == 0
    found = s.stubs.fine_tuning.GetDataset(fine_tuning_pb2.GetDatasetRequest(id=stored.id), metadata=bearer(owner))
    assert found.dataset.owner == "owner"


# ── floods ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_caller_over_its_rate_is_refused_and_another_is_answered(s: TokenServer) -> None:
    limits = access_pb2.TokenLimits(requests_per_second=5)
    greedy, modest = s.make("greedy", Scope.INFER, limits=limits), s.make("modest", Scope.INFER)
    codes: list[Code] = []

    def flood() -> None:
        codes.extend(s.predict_code(greedy) for _ in range(50))

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    answered = [s.predict_code(modest) for _ in range(20)]
    for thread in threads:
        thread.join()
    assert answered == [Code.OK] * 20
    assert set(codes) == {Code.OK, Code.RESOURCE_EXHAUSTED}
    assert codes.count(Code.OK) < len(codes) // 2


def test_brute_force_is_slowed_down_and_working_clients_go_on(s: TokenServer) -> None:
    working = s.tokens[Scope.INFER]
    assert s.predict_code(working) is Code.OK
    codes = [s.predict_code(new_secret().text) for _ in range(3 * BURST)]
    assert set(codes) == {Code.UNAUTHENTICATED, Code.RESOURCE_EXHAUSTED}
    assert codes[-1] is Code.RESOURCE_EXHAUSTED
    assert s.predict_code(working) is Code.OK
