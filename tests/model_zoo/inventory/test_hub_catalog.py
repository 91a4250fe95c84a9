"""The packaged list names networks, and says no more of them than was read."""

from __future__ import annotations

import re

import pytest
import timm

from model_zoo.inventory.hub_catalog import HubEntry, hub_catalog
from model_zoo.references.card_plan import TASKS
from model_zoo.references.reference import parse_reference

ENTRIES = hub_catalog()
WANTED = (
    "resnet",
    "convnext",
    "efficientnet",
    "mobilenetv4",
    "vit",
    "swin",
    "dinov2",
    "clip",
    "siglip",
    "detr",
    "rtdetr",
    "segformer",
    "sst-2",
    "multilingual",
    "ner",
    "mnli",
    "bge",
    "e5",
    "gte",
    "reranker",
    "bart",
    "t5",
    "opus-mt",
    "gpt2",
    "smollm2",
    "whisper",
    "wav2vec2",
    "ast-",
    "chronos",
    "esm2",
)


def test_list_has_what_people_ask_for_first() -> None:
    assert len(ENTRIES) >= 30
    references = " ".join(entry.reference for entry in ENTRIES).lower()
    for name in WANTED:
        assert name in references, name
    assert set(TASKS) <= {entry.task for entry in ENTRIES}, "each task of a pull has an example"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.reference)
def test_entry_is_a_reference_with_a_task_and_a_sentence(entry: HubEntry) -> None:
    reference = parse_reference(entry.reference)
    assert reference.kind in ("hf", "timm")
    assert not reference.revision, "the first pull pins the commit"
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)+", entry.task)
    assert entry.summary.endswith(".")
    assert ". " not in entry.summary.removeprefix("wav2vec 2.0")
    assert entry.verification == "none"


def test_each_reference_is_listed_once() -> None:
    references = [parse_reference(entry.reference) for entry in ENTRIES]
    assert len({(reference.repository, reference.revision) for reference in references}) == len(ENTRIES)


def test_networks_of_timm_are_those_that_the_installed_timm_publishes() -> None:
    published = set(timm.list_pretrained())
    named = [entry.reference.removeprefix("timm:") for entry in ENTRIES if entry.reference.startswith("timm:")]
    assert [name for name in named if name not in published] == []
