"""What the audit log says of each method that changes models, versions, jobs, datasets or tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

from google.protobuf import field_mask_pb2, json_format

from model_zoo import strict_json
from service.access.audit import LONGEST_TEXT, AuditEvent, AuditLog
from service.access.principal import current_principal
from service.observability.token_bucket import TokenBucket
from service.wire.access.method_scopes import field_of

_MODELS, _TUNING = "/zoo.v1.Models", "/zoo.v1.FineTuning"
_ACCESS, _OIP = "/zoo.v1.Access", "/inference.GRPCInferenceService"

Named = tuple[str, str, Mapping[str, str]]
"""Kind of object, path of the field that names it, and further fields: name in the log → path."""

_BY_REQUEST: Mapping[str, Named] = {
    f"{_MODELS}/PullModel": ("model", "name", {"reference": "reference"}),
    f"{_MODELS}/LoadModel": ("model", "name", {}),
    f"{_MODELS}/UnloadModel": ("model", "name", {}),
    f"{_MODELS}/UpdateModel": ("model", "model.name", {"options": "model.options", "fields": "update_mask"}),
    f"{_MODELS}/DeleteVersion": ("model", "model", {"version": "version"}),
    f"{_MODELS}/SetAlias": ("model", "model", {"alias": "alias", "version": "version"}),
    f"{_MODELS}/DeleteAlias": ("model", "model", {"alias": "alias"}),
    f"{_MODELS}/RollbackModel": ("model", "model", {}),
    f"{_MODELS}/SetTraffic": ("model", "model", {"canary": "canary", "canary_share": "canary_share"}),
    f"{_OIP}/RepositoryModelLoad": ("model", "model_name|repository_name", {}),
    f"{_OIP}/RepositoryModelUnload": ("model", "model_name|repository_name", {}),
    f"{_OIP}/TraceSetting": ("settings", "model_name", {}),
    f"{_TUNING}/DeleteDataset": ("dataset", "id", {"force": "force"}),
    f"{_TUNING}/CancelJob": ("job", "id", {}),
    f"{_TUNING}/PauseJob": ("job", "id", {}),
    f"{_TUNING}/ResumeJob": ("job", "id", {}),
    f"{_TUNING}/DeleteJob": ("job", "id", {}),
    f"{_ACCESS}/RevokeToken": ("token", "id", {}),
}
_BY_REPLY: Mapping[str, Named] = {
    f"{_TUNING}/UploadDataset": ("dataset", "dataset.id", {}),
    f"{_TUNING}/CreateJob": ("job", "job.id", {"model": "job.spec.model", "base": "job.spec.base"}),
    f"{_ACCESS}/CreateToken": (
        "token",
        "token.id",
        {
            "principal": "token.principal",
            "scopes": "token.scopes",
            "models": "token.models",
            "limits": "token.limits",
            "expires": "token.expire_time",
        },
    ),
}
_WITHOUT_OBJECT = frozenset({f"{_OIP}/LogSettings"})
AUDITED = frozenset({*_BY_REQUEST, *_BY_REPLY, *_WITHOUT_OBJECT})
"""Full names of the methods that are recorded."""
FINISHED_ANYWAY = frozenset({f"{_ACCESS}/CreateToken", f"{_ACCESS}/RevokeToken", f"{_TUNING}/CreateJob"})
"""Changes of the database that are finished although their caller leaves, so that the record says what was made."""
_ONLY_READS: Mapping[str, Callable[[Any], bool]] = {
    f"{_TUNING}/CreateJob": lambda request: bool(getattr(request, "validate_only", False)),
    f"{_OIP}/LogSettings": lambda request: not getattr(request, "settings", None),
    f"{_OIP}/TraceSetting": lambda request: not getattr(request, "settings", None),
}
"""Methods whose request may also only ask."""
OWNER_KEY = "zoo-owner"
MOST_TEXTS = 64
"""Of a list in a detail."""
LARGEST_DETAIL = 4096
"""Bytes of a message in a detail."""
REFUSALS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Outcomes of calls that changed nothing, which any stranger can cause."""
REFUSALS_AT_ONCE = 60
"""Refusals that are recorded at once, and then one a second: a flood must not fill the disk."""


class AuditedCall(Protocol):
    """The part of a grpc.aio context that the record needs."""

    def peer(self) -> str:
        """The client's address."""

    def invocation_metadata(self) -> Any:
        """Pairs of key and value."""


class Audit:
    """Records calls. Without a log it records nothing."""

    def __init__(self, log: AuditLog | None = None) -> None:
        self._log = log
        self._refusals = TokenBucket(REFUSALS_AT_ONCE, 1.0)
        self._left_out = 0

    def record(self, path: str, request: Any, reply: Any, outcome: str, call: AuditedCall) -> None:
        """A call of a method has ended with a status code's name. `reply`: None where it failed. On the event loop."""
        if self._log is None or path not in AUDITED:
            return
        if outcome in REFUSALS and not self._refusals.take():
            self._left_out += 1
            return
        only_reads = _ONLY_READS.get(path)
        if only_reads is not None and only_reads(request):
            return
        principal = current_principal.get()
        owner = "" if not principal.anonymous else _owner(call)
        kind, name, detail = _described(path, request, reply, brief=outcome in REFUSALS)
        if outcome in REFUSALS and self._left_out:
            detail["refusals_left_out"] = str(self._left_out)
            self._left_out = 0
        self._log.record(
            AuditEvent(
                action=path.rpartition("/")[2],
                object=f"{kind}/{name}" if kind else "",
                outcome=outcome,
                principal=principal,
                peer=call.peer(),
                owner=owner,
                detail=detail,
            )
        )


def _described(path: str, request: Any, reply: Any, *, brief: bool) -> tuple[str, str, dict[str, str]]:
    """Kind and name of the object, and details. `brief`: the object alone, for the call of somebody who may not make it."""
    message, named = request, _BY_REQUEST.get(path)
    if named is None and (named := _BY_REPLY.get(path)) is not None:
        message = reply
    if named is None or message is None:
        return (named[0] if named else ""), "", {}
    kind, name, fields = named
    try:
        found = {} if brief else {key: _text_of(message, where) for key, where in fields.items()}
        return kind, field_of(message, name), {key: text for key, text in found.items() if text}
    except AttributeError:  # bytes that were no message of the method's type
        return kind, "", {}


def _text_of(message: Any, path: str) -> str:
    """The text of a field of any kind, by a path such as `token.scopes`; empty for one that is not set."""
    *parents, last = path.split(".")
    for part in parents:
        message = getattr(message, part)
    value, field = getattr(message, last), message.DESCRIPTOR.fields_by_name[last]
    if field.is_repeated:
        names = field.enum_type.values_by_number if field.enum_type is not None else {}
        return _joined(names[one].name if one in names else str(one) for one in value)
    if field.message_type is None:
        return str(value) if value else ""
    if not message.HasField(last):
        return ""
    if isinstance(value, field_mask_pb2.FieldMask):  # as it came: its JSON form exists for proper names only
        return _joined(value.paths)
    if value.ByteSize() > LARGEST_DETAIL:
        return "too large to be recorded"
    found: Any = json_format.MessageToDict(value, preserving_proto_field_name=True)  # a text for a time
    return found if isinstance(found, str) else strict_json.text(found) if found else ""


def _joined(texts: Iterable[str]) -> str:
    """The first of some texts; more would be cut anyway."""
    first = [text[:LONGEST_TEXT] for text in islice(texts, MOST_TEXTS + 1)]
    return ", ".join(first[:MOST_TEXTS]) + (", …" if len(first) > MOST_TEXTS else "")


def _owner(call: AuditedCall) -> str:
    return next((str(value) for key, value in call.invocation_metadata() or () if key == OWNER_KEY), "")
