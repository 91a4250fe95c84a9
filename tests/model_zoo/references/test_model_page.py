"""Licence and task come from the page of a repository; a page that is damaged states nothing."""

from __future__ import annotations

import pytest

from model_zoo.references.model_page import NOT_STATED, ModelPage
from tests.support.references.fake_repository import FakeRepository


def page(text: str | bytes) -> ModelPage:
    return ModelPage.of(FakeRepository({"README.md": text if isinstance(text, bytes) else text.encode()}))


def test_page_states_licence_and_task() -> None:
    found = page("---\nlicense: apache-2.0\npipeline_tag: text-classification\ntags: [a]\n---\n# Title\n")
    assert found == ModelPage("apache-2.0", "text-classification")


def test_licence_of_another_kind_has_its_own_name() -> None:
    assert page("---\nlicense: other\nlicense_name: mine-1.0\n---\n").licence == "mine-1.0"
    assert page("---\nlicense: [mit, apache-2.0]\n---\n").licence == "mit AND apache-2.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Title\nlicense: mit\n",
        "---\nlicense: mit\n",
        "---\n: [\n---\n",
        "---\n- a\n- b\n---\n",
        "---\nlicense: !!bool x\n---\n",
        "---\nlicense: !!int ''\n---\n",
        "---\na: &a [x, x]\nb: &b [*a, *a]\nlicense: [*b, *b]\n---\n",
        "---\nlicense: {a: 1}\npipeline_tag: [1]\n---\n",
        "---\n!!python/object/apply:os.system [echo]\n---\n",
        "---\n" + "[" * 5000 + "\n---\n",
        b"\xff\xfe\x00",
    ],
)
def test_page_without_metadata_states_nothing(text: str | bytes) -> None:
    assert page(text) == ModelPage(NOT_STATED, "")


def test_repository_without_a_page_states_nothing() -> None:
    assert ModelPage.of(FakeRepository({})) == ModelPage(NOT_STATED, "")
