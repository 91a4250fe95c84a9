"""`zoo token --local`: tokens on the server's machine, without a server."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from service.access.token_store import Token, TokenStore
from service.access.tokens import parse
from service.database import Database, database_url

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZOO_DATABASE_URL", raising=False)
    return tmp_path / "home"


def stored(home: Path) -> list[Token]:
    async def read() -> list[Token]:
        database = Database(database_url("", home))
        try:
            return (await TokenStore(database).all())[1]
        finally:
            await asyncio.to_thread(database.close)

    return asyncio.run(read())


def test_token_is_printed_once_and_stored_as_a_digest(run: Run, home: Path) -> None:
    done = run("token", "create", "ada", "--scope", "infer", "--model", "cat*", "--expires-in", "30d", "--local")
    assert done.exit_code == 0, done.output
    secret = parse(done.stdout.strip())
    assert secret is not None
    [token] = stored(home)
    assert (token.id, token.digest, token.principal, token.models) == (secret.id, secret.digest, "ada", ("cat*",))
    assert token.expires is not None
    assert token.expires - token.created == pytest.approx(30 * 86_400, abs=60)
    assert secret.text.rpartition("_")[2] not in run("token", "list", "--local").stdout


def test_token_is_written_to_a_new_file_for_its_owner_alone(run: Run, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "root.token"
    done = run("token", "create", "root", "--scope", "admin", "--local", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "zoo_" not in done.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert parse(out.read_text().strip()) is not None
    again = run("token", "create", "root", "--scope", "admin", "--local", "--out", str(out))
    assert again.exit_code == 2
    assert len(stored(home)) == 1


def test_list_shows_state_and_limits_and_revoke_ends(run: Run, home: Path) -> None:
    made = run("token", "create", "ada", "--scope", "infer", "--requests-per-second", "5", "--local", "--json")
    token_id = json.loads(made.stdout)["id"]
    run("token", "create", "bob", "--scope", "models", "--local")
    listed = run("token", "list", "--local", "--principal", "ada").stdout
    assert "requests_per_second 5" in listed
    assert "valid" in listed
    assert "bob" not in listed
    assert run("token", "revoke", token_id, "--local").stdout == f"token {token_id} of ada is revoked\n"
    assert "revoked" in run("token", "list", "--local", "--principal", "ada").stdout
    tokens = json.loads(run("token", "list", "--local", "--json").stdout)["tokens"]
    assert [token["principal"] for token in tokens] == ["bob", "ada"]
    assert "digest" not in tokens[0]


def test_local_changes_are_in_the_audit_log(run: Run, home: Path) -> None:
    made = json.loads(run("token", "create", "ada", "--scope", "infer", "--local", "--json").stdout)
    run("token", "revoke", made["id"], "--local")
    lines = [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["object"], line["peer"]) for line in lines] == [
        ("CreateToken", f"token/{made['id']}", "local"),
        ("RevokeToken", f"token/{made['id']}", "local"),
    ]
    assert lines[0]["detail"] == {"principal": "ada", "scopes": "SCOPE_INFER"}
    assert made["secret"] not in (home / "audit.jsonl").read_text()


def test_local_record_of_a_token_says_what_it_permits(run: Run, home: Path) -> None:
    run(
        "token",
        "create",
        "ada",
        *["--scope", "infer", "--model", "cat*", "--jobs", "2", "--expires-in", "1d", "--local"],
    )
    [line] = [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]
    expires = line["detail"].pop("expires")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires)
    assert line["detail"] == {"principal": "ada", "scopes": "SCOPE_INFER", "models": "cat*", "limits": '{"jobs": 2}'}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "a b", "--scope", "infer"), "principal"),
        (("create", "ada", "--scope", "fly"), "--scope"),
        (("create", "ada", "--scope", "infer", "--expires-in", "soon"), "--expires-in"),
        (("create", "ada", "--scope", "infer", "--expires-in", "0d"), "--expires-in"),
        (("create", "ada", "--scope", "infer", "--expires-in", "999999w"), "expire_time"),
        (("create", "ada", "--scope", "infer", "--model", "a/b"), "models[0]"),
        (("create", "ada", "--scope", "infer", "--jobs", "-1"), "--jobs"),
        (("create", "ada"), "--scope"),
        (("revoke", "0" * 16), "unknown token"),
        (("revoke", "bob"), "expected the id of a token"),
    ],
)
def test_wrong_argument_is_named_and_makes_no_token(
    run: Run, home: Path, arguments: tuple[str, ...], problem: str
) -> None:
    done = run("token", *arguments, "--local")
    assert done.exit_code != 0
    assert problem in done.output
    assert "Traceback" not in done.output
    assert not (home / "zoo.db").exists() or stored(home) == []


def test_database_that_cannot_be_used_is_one_sentence(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "mysql://x/y")
    done = run("token", "list", "--local")
    assert done.exit_code == 2
    assert "ZOO_DATABASE_URL" in done.output
