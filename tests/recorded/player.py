"""Plays requests against a server, one at a time, and writes down all that a caller can see of each."""

from __future__ import annotations

import hashlib
import json
import queue
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from service.pb import fine_tuning_pb2, models_pb2, open_inference_pb2, prediction_pb2
from tests.recorded.metrics import Scrape
from tests.recorded.normal import (
    everywhere,
    free_json,
    message_as_json,
    words,
)
from tests.recorded.server import PATIENCE_S, REPOSITORY, Server

SERVICES: dict[str, ServiceDescriptor] = {
    service.full_name: service
    for module in (open_inference_pb2, prediction_pb2, models_pb2, fine_tuning_pb2, health_pb2, reflection_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}

EXACT, CLOSE, TRAINED = "exact", "close", "trained"
"""How floats of a reply are to be compared: bit by bit; nearly, where batches may be arranged in more than one way; or, on
another processor, hardly at all, since training multiplies every difference."""

SMALL = 10_000
"""Bytes of a request in which random names are looked for."""

UNFINISHED = {"zoo.v1.Job.progress", "zoo.v1.Job.metrics"}
"""What a job that is moved midway has done by then."""
ARRANGED = {"inference.ModelStatistics.execution_count", "inference.ModelStatistics.batch_stats"}
"""What depends on how rows were arranged in batches."""

DETAILS_KEY = "grpc-status-details-bin"


class Player:
    """Plays against one server and collects records."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.records: list[dict[str, Any]] = []
        self.names: dict[str, str] = {}
        self.called: set[str] = set()
        self.channel = grpc.insecure_channel(
            server.target,
            [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._floats = EXACT
        self._group = ""
        self._without: Collection[str] = frozenset()
        ready = open_inference_pb2.ServerReadyRequest()
        while not self.ask("inference.GRPCInferenceService/ServerReady", ready).ready:
            pass

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()

    # ── what is not written down ──────────────────────────────────────────────────────────────────────────────

    def ask(self, method: str, request: Message) -> Any:
        """A reply that is not recorded."""
        described = method_of(method)
        call = self.channel.unary_unary(f"/{method}", None, GetMessageClass(described.output_type).FromString)
        return call(request.SerializeToString(), timeout=PATIENCE_S, wait_for_ready=True)

    def name(self, value: str, name: str) -> None:
        """From now on `name` stands for a random value."""
        if value:
            self.names.setdefault(value, f"<{name}>")

    def database(self) -> sqlite3.Connection:
        """The server's database."""
        return sqlite3.connect(self.server.home / "zoo.db", timeout=PATIENCE_S)

    # ── groups ────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def group(
        self, name: str, floats: str = EXACT, *, metrics: bool = True, without: Collection[str] = ()
    ) -> Iterator[None]:
        """Requests between two readings of the metrics. `without`: full names of fields that are a matter of the run here."""
        self._group, self._floats = name, floats
        self._without = without
        before = Scrape.settled(self.server)
        yield
        after = Scrape.settled(self.server)
        if metrics:
            arranged = floats == CLOSE
            record = {"kind": "metrics", "name": name, **after.since(before, batches=not arranged)}
            self.records.append(record)
        self._group, self._floats, self._without = "", EXACT, frozenset()

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────

    def call(
        self,
        name: str,
        method: str,
        request: Message | bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float | None = PATIENCE_S,
        floats: str = "",
        named: Callable[[Any], Mapping[str, str]] | None = None,
    ) -> Any:
        """One request, one reply. `named` gives names to random values of the reply: value → name."""
        sent = request if isinstance(request, bytes) else request.SerializeToString(deterministic=True)
        stub = self.channel.unary_unary(f"/{method}")
        try:
            raw, call = stub.with_call(sent, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            self._write(name, method, sent, [], error, floats)
            return None
        [reply] = self._read(method, [raw], named)
        self._write(name, method, sent, [(raw, reply)], call, floats)
        return reply

    def upload(
        self,
        name: str,
        method: str,
        requests: Iterable[Message],
        *,
        metadata: Sequence[tuple[str, str]] = (),
        floats: str = "",
        named: Callable[[Any], Mapping[str, str]] | None = None,
    ) -> Any:
        """Many requests, one reply."""
        sent = [request.SerializeToString(deterministic=True) for request in requests]
        stub = self.channel.stream_unary(f"/{method}")
        try:
            raw, call = stub.with_call(iter(sent), timeout=PATIENCE_S, metadata=metadata)
        except grpc.RpcError as error:
            self._write(name, method, b"".join(sent), [], error, floats)
            return None
        [reply] = self._read(method, [raw], named)
        self._write(name, method, b"".join(sent), [(raw, reply)], call, floats)
        return reply

    def watch(
        self,
        name: str,
        method: str,
        request: Message,
        *,
        keep: Callable[[Any], bool] = lambda reply: True,
        until: Callable[[Any], bool] = lambda reply: False,
        floats: str = "",
    ) -> list[Any]:
        """One request, many replies: all to the end, or up to the first that is the awaited one."""
        sent = request.SerializeToString(deterministic=True)
        call = self.channel.unary_stream(f"/{method}")(sent, timeout=PATIENCE_S)
        raws, replies, status = [], [], call
        try:
            for raw in call:
                [reply] = self._read(method, [raw], None)
                if keep(reply):
                    raws.append(raw)
                    replies.append(reply)
                if until(reply):
                    call.cancel()
                    break
        except grpc.RpcError as error:
            status = error
        self._write(name, method, sent, list(zip(raws, replies, strict=True)), status, floats)
        return replies

    def talk(
        self, name: str, method: str, requests: Sequence[Message | bytes], *, one_by_one: bool = True, floats: str = ""
    ) -> list[Any]:
        """Many requests, many replies on one stream: each request after the reply to the one before, or all at once."""
        sent = [r if isinstance(r, bytes) else r.SerializeToString(deterministic=True) for r in requests]
        turn: queue.Queue[bool] = queue.Queue()

        def messages() -> Iterator[bytes]:
            for i, message in enumerate(sent):
                if i and one_by_one and not turn.get(timeout=PATIENCE_S):
                    return
                yield message

        call = self.channel.stream_stream(f"/{method}")(messages(), timeout=PATIENCE_S)
        raws, status = [], call
        try:
            for raw in call:
                raws.append(raw)
                turn.put(True)
        except grpc.RpcError as error:
            status = error
        finally:
            turn.put(False)
        replies = self._read(method, raws, None)
        pairs = list(zip(raws, replies, strict=True))
        if not one_by_one:  # replies come in any order
            pairs.sort(key=lambda pair: str(message_as_json(pair[1])))
        self._write(name, method, b"".join(sent), pairs, status, floats)
        return replies

    def begin(self, method: str, request: Message) -> Any:
        """Sends a request whose reply is not recorded, and does not wait."""
        return self.channel.unary_unary(f"/{method}").future(request.SerializeToString(), timeout=PATIENCE_S)

    def cancelled(self, name: str, method: str, request: Message, once: Callable[[], bool]) -> None:
        """A call that its caller leaves as soon as `once` holds."""
        sent = request.SerializeToString(deterministic=True)
        call = self.channel.unary_unary(f"/{method}").future(sent, timeout=PATIENCE_S)
        while not once() and not call.done():
            pass
        call.cancel()
        self.called.add(method)
        self.records.append({"kind": "cancelled", "name": name, "method": method, "cancelled": call.cancelled()})

    # ── everything else ───────────────────────────────────────────────────────────────────────────────────────

    def command(self, name: str, *arguments: str, **settings: str) -> str:
        """A run of the `zoo` command. JSON is normalised by its names, text by leaving out its numbers."""
        ran = self.server.zoo(*arguments, **settings)
        # Figures of trained networks, which another processor trains in another way.
        floats = {"floats": TRAINED} if arguments[0] in ("report", "jobs") and ran.returncode == 0 else {}
        self.records.append(
            {"kind": "command", "name": name, "code": ran.returncode, **floats}
            | {"stdout": _printed(self.named(ran.stdout)), "stderr": _printed(self.named(ran.stderr))}
        )
        return ran.stdout

    def fact(self, name: str, value: Any) -> None:
        """Something else that has to stay as it is."""
        self.records.append({"kind": "fact", "name": name, "value": everywhere(value, self.named)})

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, method: str, raws: Sequence[bytes], named: Callable[[Any], Mapping[str, str]] | None) -> list[Any]:
        kind = GetMessageClass(method_of(method).output_type)
        replies = [kind.FromString(raw) for raw in raws]
        for reply in replies if named is not None else []:
            for value, name in named(reply).items() if named is not None else ():
                self.name(value, name)
        for reply in replies:
            if "next_page_token" in reply.DESCRIPTOR.fields_by_name:
                self.name(reply.next_page_token, "token")
        return replies

    def _write(
        self, name: str, method: str, sent: bytes, replies: Sequence[tuple[bytes, Any]], call: Any, floats: str
    ) -> None:
        self.called.add(method)
        record: dict[str, Any] = {"kind": "call", "name": f"{self._group}/{name}", "method": method}
        record["floats"] = floats or self._floats
        # Names of jobs and tokens are random; no large request holds one.
        shown = self._named_hex(self._without_token(method, sent).hex()) if len(sent) < SMALL else sent.hex()
        record["request"] = hashlib.sha256(shown.encode()).hexdigest()[:12]
        record["replies"] = [message_as_json(reply, self._without) for _, reply in replies]
        # Fields that the generated code does not know, or written twice, show in the size alone.
        odd = [i for i, (raw, reply) in enumerate(replies) if len(raw) != reply.ByteSize()]
        if odd:
            record["unlike_size"] = odd
        code = call.code()
        record["code"] = code.name if code is not None else "OK"
        if record["code"] not in ("OK", "CANCELLED"):
            record["message"] = words(call.details() or "")
        record["trailers"] = []
        for key, value in call.trailing_metadata() or ():
            if key == DETAILS_KEY:
                status = status_pb2.Status.FromString(value)
                record["status"] = message_as_json(status)
                record["same_message"] = status.message == call.details()
            record["trailers"].append(key)
        record["trailers"].sort()
        self.records.append(everywhere(record, self.named))

    def named(self, text: str) -> str:
        for value, name in self.names.items():
            text = text.replace(value, name)
        for value, name in (
            (str(self.server.home), "<home>"),
            (str(self.server.tree), "<tree>"),
            (str(REPOSITORY), "<tree>"),  # of the examples
            (f":{self.server.port}", ":<port>"),
            (f":{self.server.http_port}", ":<http-port>"),
        ):
            text = text.replace(value, name)
        return text

    def _without_token(self, method: str, sent: bytes) -> bytes:
        """A request with the name of its page token in place of the token, whose length differs as well."""
        kind = GetMessageClass(method_of(method).input_type)
        if "page_token" not in kind.DESCRIPTOR.fields_by_name:
            return sent
        try:
            request: Any = kind.FromString(sent)
        except DecodeError:  # it is meant to be wrong
            return sent
        request.page_token = self.names.get(request.page_token, request.page_token)
        return bytes(request.SerializeToString(deterministic=True))

    def _named_hex(self, text: str) -> str:
        for value, name in self.names.items():
            text = text.replace(value.encode().hex(), name)
        return text


def method_of(path: str) -> MethodDescriptor:
    """The method with a path such as `zoo.v1.Models/GetModel`."""
    service, _, name = path.partition("/")
    return SERVICES[service].methods_by_name[name]


def all_methods() -> set[str]:
    """Every method of every service."""
    return {f"{service.full_name}/{method.name}" for service in SERVICES.values() for method in service.methods}


def _printed(text: str) -> Any:
    try:
        parts = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return {"words": without_numbers(text)} if text else ""
    return [free_json(part) for part in parts]


def without_numbers(text: str) -> str:
    """A text for people without its numbers, their units of bytes, and the width of its columns."""
    return re.sub(r" {2,}", "  ", re.sub(r"\bN [kMG]?B\b", "N bytes", _NUMBERS.sub("N", text)))


_NUMBERS = re.compile(r"-?\d+(?:[.,]\d+)*")
