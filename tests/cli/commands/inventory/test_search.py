"""`zoo search`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from model_zoo.inventory.hub_catalog import hub_catalog
from model_zoo.references.card_plan import TASKS

Run = Callable[..., Result]


def test_words_give_references_with_the_command_that_pulls_them(run: Run, tmp_path: Path) -> None:
    done = run("search", "resnet-50", "timm", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["name", "or", "reference", "task", "summary", "to", "get", "it"]
    assert "zoo pull timm:resnet50.a1_in1k" in done.stdout
    assert "were not pulled by us" in done.stderr


def test_json_has_everything_without_words(run: Run, tmp_path: Path) -> None:
    done = json.loads(run("search", "--json", env={"ZOO_HOME": str(tmp_path)}).stdout)
    assert done["tasks"] == list(TASKS)
    models = {model["name"] or model["reference"]: model for model in done["models"]}
    assert {entry.reference for entry in hub_catalog()} <= models.keys()
    for entry in hub_catalog():
        model = models[entry.reference]
        assert (model["verification"], model["pullable"]) == ("none", entry.task in TASKS)
        assert model["command"] == (f"zoo pull {entry.reference}" if entry.task in TASKS else "")
    assert models["silero_vad"]["command"] == "zoo pull silero_vad"


def test_nothing_found_is_said(run: Run, tmp_path: Path) -> None:
    done = run("search", "no such network", env={"ZOO_HOME": str(tmp_path)})
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing has these words" in done.stderr


def test_search_imports_no_library_of_models(tmp_path: Path) -> None:
    program = (
        "import sys; from service.cli.commands.inventory.search import search; search(['bert']); "
        "sys.exit(bool({'torch', 'transformers', 'timm'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "ZOO_HOME": str(tmp_path)}, check=True)
