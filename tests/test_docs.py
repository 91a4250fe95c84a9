"""The documentation agrees with the code: it lists every setting, metric and model, and the paths that it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.inventory.hub_catalog import hub_catalog
from service.settings import Settings
from service.tasks.table import TASKS
from service.training.hyperparameters import Hyperparameters

ROOT = Path(__file__).resolve().parent.parent


def test_operations_page_lists_every_setting_with_its_default() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    section = page[page.index("## Settings\n") :].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(ZOO_\w+)`[^|]*\| ([^|]*) \|", section, re.MULTILINE))
    assert rows.keys() == {f"ZOO_{name.upper()}" for name in Settings.model_fields}
    plain = {
        name: field.default for name, field in Settings.model_fields.items() if isinstance(field.default, int | float)
    }
    for name, default in plain.items():
        shown = rows[f"ZOO_{name.upper()}"].split(":")[0]
        assert shown == (
            str(default).lower()
            if isinstance(default, bool)
            else str(default)
            if isinstance(default, int)
            else f"{default:g}"
        ), name


def test_metrics_page_is_the_one_that_the_definitions_give(tmp_path: Path) -> None:
    fresh = tmp_path / "metrics.md"
    subprocess.run([sys.executable, ROOT / "scripts/metrics_page.py", "--out", fresh], check=True, timeout=60)
    assert fresh.read_text() == (ROOT / "docs/metrics.md").read_text(), "run `make docs-metrics`"


@pytest.fixture(scope="module")
def fresh_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, "-m", "scripts.pages", "--out", folder], cwd=ROOT, check=True, timeout=120)
    return folder


@pytest.mark.parametrize("page", ["zoo.md", "tasks.md", "cards.md"])
def test_page_is_the_one_that_the_code_gives(page: str, fresh_pages: Path) -> None:
    assert (fresh_pages / page).read_text() == (ROOT / "docs" / page).read_text(), "run `make docs`"


def test_tasks_page_has_every_task_with_its_answer(fresh_pages: Path) -> None:
    rows = re.findall(
        r"^\| (\S+) \| (?:`\w+`|tensors) \| \[`(\w+)`\]\(#recipes\) \| (.*?) \|",
        (fresh_pages / "tasks.md").read_text(),
        re.MULTILINE,
    )
    assert {(task, recipe) for task, recipe, _ in rows} == {
        (task, get_args(kind.model_fields["kind"].annotation)[0]) for task, kind in TASKS
    }
    assert [task for task, _, answer in rows if not answer] == [], "annotate `postprocess` with its kind of answer"


def test_zoo_page_has_every_card_and_every_reference(fresh_pages: Path) -> None:
    page = (fresh_pages / "zoo.md").read_text()
    named = [*Catalog.from_package().names(), *(entry.reference for entry in hub_catalog())]
    assert [name for name in named if f"| `{name}` |" not in page] == []


def test_cards_page_has_every_field_of_a_card(fresh_pages: Path) -> None:
    page = (fresh_pages / "cards.md").read_text()
    section = page[page.index("### Card\n") :].split("\n### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Card.model_fields)


def test_finetune_page_lists_every_hyperparameter_in_order() -> None:
    page = (ROOT / "docs/finetune.md").read_text().rpartition("## Hyperparameters")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(Hyperparameters.model_fields)


@pytest.mark.parametrize("card", list(Catalog.from_package()), ids=lambda card: card.name)
def test_the_readme_names_every_model_with_its_task(card) -> None:
    assert re.search(rf"^\| `{card.name}` \| \S+ \| {card.task} \|", (ROOT / "README.md").read_text(), re.MULTILINE)


PATHS = ("service/", "model_zoo/", "tests/", "protos/", "benchmarks/", "examples/", "scripts/", "docs/", ".ci/")


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_a_contributor_page_names_exists(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    named = {path for path in re.findall(r"`([\w./-]+)`", text) if path.startswith(PATHS)}
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_path_in_the_diagrams_of_the_architecture_exists() -> None:
    diagrams = re.findall(r"^```$(.*?)^```$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE | re.DOTALL)
    named = {path for diagram in diagrams for path in re.findall(r"\b\w+(?:/\w+)*(?:\.py|/(?=\s|\)))", diagram)}
    within = [ROOT, ROOT / "service", *(ROOT / "service").glob("*/")]
    assert len(named) > 20
    assert [path for path in sorted(named) if not any((folder / path).exists() for folder in within)] == []


def test_every_protocol_that_the_architecture_names_is_in_its_file() -> None:
    seams = (ROOT / "docs/architecture.md").read_text().partition("## Seams")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|", seams, re.MULTILINE)[1:]
    for protocols, files in rows:
        source = "".join((ROOT / path).read_text() for path in re.findall(r"`([^`]+\.py)`", files))
        for name in re.findall(r"`(\w+)`", protocols):
            assert f"class {name}" in source, name


def test_every_page_is_in_the_index_of_the_documentation() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"]({page.name})" not in index] == ["README.md"]


def test_links_between_documents_have_targets() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
