"""What a principal may do."""

from __future__ import annotations

import pytest

from service.access.principal import ANYONE, Principal, check_name, check_patterns, model_matcher
from service.access.scopes import Scope
from service.errors import InvalidInput, PermissionDenied


def principal(*scopes: Scope, models: tuple[str, ...] = ()) -> Principal:
    return Principal("ada", frozenset(scopes), models, "id", matcher=model_matcher(models))


def test_anyone_may_do_everything_on_a_server_without_tokens() -> None:
    ANYONE.require((Scope.ADMIN,))
    ANYONE.require_model("any")
    assert ANYONE.owns("someone")
    assert ANYONE.anonymous


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ADMIN])
def test_scope_permits_itself_and_no_other(scope: Scope) -> None:
    holder = principal(scope)
    holder.require((scope,))
    for other in set(Scope) - {scope}:
        with pytest.raises(PermissionDenied, match=repr(other.value)):
            holder.require((other,))


def test_admin_may_do_everything() -> None:
    for scope in Scope:
        principal(Scope.ADMIN).require((scope,))
    assert principal(Scope.ADMIN).owns("bob")


def test_principal_owns_its_own_objects_alone() -> None:
    ada = principal(Scope.FINETUNE)
    assert ada.owns("ada")
    assert not ada.owns("bob")
    assert not ada.owns("")


@pytest.mark.parametrize(
    ("patterns", "permitted", "refused"),
    [
        (("cat*",), ("cat", "cats", "cat-2"), ("bobcat", "", "Cat", "\ncat")),
        (("a?c", "x"), ("abc", "x"), ("ac", "abbc", "xx", "x\n")),
        (("*",), ("anything",), ()),
        (("a.c",), ("a.c",), ("abc",)),
    ],
)
def test_patterns_permit_the_models_that_they_match(
    patterns: tuple[str, ...], permitted: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    holder = principal(Scope.INFER, models=patterns)
    for name in permitted:
        holder.require_model(name)
        assert holder.may_use(name)
    for name in refused:
        assert not holder.may_use(name)
        with pytest.raises(PermissionDenied):
            holder.require_model(name)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 65, "a\n", "ä", "a/b"])
def test_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name("principal", name)


@pytest.mark.parametrize("patterns", [["a"] * 65, ["a b"], [""], ["a/b"], ["[a-z]"], ["a" * 129]])
def test_wrong_patterns_are_refused(patterns: list[str]) -> None:
    with pytest.raises(InvalidInput, match="models"):
        check_patterns("models", patterns)
