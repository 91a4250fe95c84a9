"""The documentation says what the code does: settings, metrics and models are all listed, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from model_zoo.catalog import Catalog
from service.observability.metrics import Metrics
from service.settings import Settings
from service.training.hyperparameters import Hyperparameters

ROOT = Path(__file__).resolve().parent.parent


def test_operations_page_lists_every_setting_with_its_default() -> None:
    rows = dict(
        re.findall(r"^\| `(ZOO_\w+)`[^|]*\| ([^|]*) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    )
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


def test_metrics_page_lists_every_metric_with_its_labels() -> None:
    listed = {
        name: tuple(labels.replace(" ", "").split(","))
        for name, labels in re.findall(
            r"^\| `(zoo_\w+)` \| \w+ \| ([^|]*) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
        )
    }
    instruments = [m for m in vars(Metrics(CollectorRegistry())).values() if hasattr(m, "_labelnames")]
    made = {m._name + ("_total" if m._type == "counter" else ""): m._labelnames for m in instruments}
    assert listed == made


def test_finetune_page_lists_every_hyperparameter_in_order() -> None:
    page = (ROOT / "docs/finetune.md").read_text().rpartition("## Hyperparameters")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(Hyperparameters.model_fields)


@pytest.mark.parametrize("card", list(Catalog.from_package()), ids=lambda card: card.name)
def test_the_readme_names_every_model_with_its_task(card) -> None:
    assert re.search(rf"^\| `{card.name}` \| \S+ \| {card.task} \|", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_links_between_documents_have_targets() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
