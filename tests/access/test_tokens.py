"""A token is a random text; only its digest is kept."""

from __future__ import annotations

import hashlib

import pytest

from service.access.tokens import digest_of, from_header, new_secret, parse
from service.observability.printable import shown_id, without_secrets


def test_new_tokens_differ_and_are_read_back() -> None:
    made = [new_secret() for _ in range(100)]
    assert len({secret.id for secret in made}) == len({secret.text for secret in made}) == 100
    assert [parse(secret.text) for secret in made] == made


def test_digest_is_the_sha256_of_the_whole_text() -> None:
    secret = new_secret()
    assert secret.digest == digest_of(secret.text) == hashlib.sha256(secret.text.encode()).digest()


def test_repr_of_a_token_shows_no_secret() -> None:
    secret = new_secret()
    assert secret.text.rpartition("_")[2] not in f"{secret!r} {secret}"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_header_with_any_case_of_the_scheme_gives_the_token(scheme: str) -> None:
    secret = new_secret()
    assert from_header(f"{scheme} {secret.text}") == secret
    assert from_header(f"{scheme}  {secret.text} ") == secret


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "{text}",
        "Basic {text}",
        "Bearer {text}x",
        "Bearer x{text}",
        "Bearer {text} {text}",
        "Bearer {text}\n",
        "Bearer\t{text}",
        "Bearer " + "{text}" * 1000,
        "Bearer " + " " * 1000 + "{text}",
        "Bearer zoo_0_0",
        "Bearer ٣",
    ],
)
def test_header_of_another_form_gives_no_token(value: str) -> None:
    assert from_header(value.format(text=new_secret().text)) is None


def test_text_with_tokens_keeps_their_ids_alone() -> None:
    secret = new_secret()
    text = without_secrets(f"unknown token '{secret.text}' or {secret.text[:60]}")
    assert text == f"unknown token 'zoo_{secret.id}_…' or zoo_{secret.id}_…"
    assert without_secrets("no token here") == "no token here"
    assert secret.text[21:] not in shown_id(secret.text)
