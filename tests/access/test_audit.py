"""The audit log keeps one line for each action, whole, also where several servers write."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.access.audit import MOST_WAITING, AuditEvent, AuditLog
from service.access.principal import ANYONE, Principal
from service.access.tokens import new_secret

ADA = Principal("ada", token_id="0f3c")


def event(number: int = 1, principal: Principal = ADA, **fields: Any) -> AuditEvent:
    return AuditEvent("SetAlias", f"model/m{number}", "OK", principal, "ipv4:10.0.0.7:1", **fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_event_is_written_with_its_time_and_principal(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", lambda: datetime(2026, 11, 29, 20, 0, 0, 123456, UTC))
    log.start()
    log.record(event(detail={"version": "3"}))
    log.stop()
    [line] = lines(tmp_path / "audit.jsonl")
    server = line.pop("server")
    assert server
    assert line == {
        "time": "2026-11-29T20:00:00.123Z",
        "action": "SetAlias",
        "object": "model/m1",
        "detail": {"version": "3"},
        "outcome": "OK",
        "principal": "ada",
        "token": "0f3c",
        "peer": "ipv4:10.0.0.7:1",
    }


def test_stop_writes_all_that_was_recorded_in_order(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.start()
    for i in range(1000):
        log.record(event(i))
    log.stop()
    assert [line["object"] for line in lines(tmp_path / "audit.jsonl")] == [f"model/m{i}" for i in range(1000)]
    assert log.lost == 0


def test_second_log_appends_to_the_first(tmp_path: Path) -> None:
    for i in range(2):
        log = AuditLog(tmp_path / "audit.jsonl")
        log.start()
        log.record(event(i))
        log.stop()
    assert [line["object"] for line in lines(tmp_path / "audit.jsonl")] == ["model/m0", "model/m1"]


def test_renamed_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for i in range(2):
        log = AuditLog(path)
        log.start()
        log.record(event(i))
        log.stop()
        path.rename(tmp_path / f"old{i}")
    assert [lines(tmp_path / f"old{i}")[0]["object"] for i in range(2)] == ["model/m0", "model/m1"]


def test_texts_of_callers_stay_on_one_line_and_are_cut(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.start()
    log.record(
        AuditEvent("LoadModel", 'model/a\n{"x": 1}\u2028' + "y" * 5000, "NOT_FOUND", ANYONE, "unix:", owner="a\tb")
    )
    log.stop()
    [line] = lines(tmp_path / "audit.jsonl")
    assert len(line["object"]) == 256
    assert line["owner"] == "a\tb"
    assert (tmp_path / "audit.jsonl").read_bytes().count(b"\n") == 1


def test_log_that_cannot_be_written_counts_what_is_lost(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    log = AuditLog(tmp_path / "audit.jsonl")
    log.start()
    log.record(event())
    log.stop()
    assert log.lost == 1


def test_events_beyond_the_queue_are_counted_and_do_not_wait(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")  # whose thread does not run
    for _ in range(MOST_WAITING + 5):
        log.record(event())
    assert log.lost == 5


def _write(path: Path, server: int) -> None:
    log = AuditLog(path)
    log.start()
    for i in range(300):
        log.record(event(server * 1000 + i, detail={"note": "z" * 200}))
    log.stop()


def test_lines_of_several_servers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    servers = [multiprocessing.get_context("fork").Process(target=_write, args=(path, n)) for n in range(3)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert len({line["object"] for line in lines(path)}) == 900


def test_token_in_place_of_a_name_is_not_written(tmp_path: Path) -> None:
    secret = new_secret()
    log = AuditLog(tmp_path / "audit.jsonl")
    log.start()
    log.record(AuditEvent("RevokeToken", f"token/{secret.text}", "NOT_FOUND", ADA, "unix:"))
    log.stop()
    [line] = lines(tmp_path / "audit.jsonl")
    assert line["object"] == f"token/zoo_{secret.id}_…"


def test_line_after_a_short_write_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    write = os.write

    def short(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", short)
    log._write([log._line(event(1)), log._line(event(2))])
    assert log.lost == 2
    log._write([log._line(event(3))])
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])["object"] == "model/m3"
