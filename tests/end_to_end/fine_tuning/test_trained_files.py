"""`zoo predict` with the file that a model was trained on, by the commands that a user types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.end_to_end.server_process import run_zoo
from tests.support.end_to_end.stubs import TRANSFORMER
from tests.support.end_to_end.user_data import topics_csv
from tests.support.end_to_end.workshop import RestartableServer
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RestartableServer(
        tmp_path_factory.mktemp("user") / "home", settings={"ZOO_MODELS": TRANSFORMER}
    ) as restartable:
        yield restartable.server.target


def finetune(target: str, base: str, file: Path, name: str, *more: str) -> None:
    done = run_zoo("finetune", base, file, "--name", name, "--server", target, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name} version 1 is published" in done.stdout


def asked(target: str, name: str, *inputs: str | Path) -> list[dict[str, Any]]:
    done = run_zoo("predict", name, *inputs, "--version", "1", "--json", "--server", target)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode == 0) == all("error" not in line for line in lines), done.stderr
    return lines


@pytest.mark.parametrize("name", ["train_space", "train_index"])
def test_predict_command_answers_every_row_of_a_training_table(target: str, name: str) -> None:
    finetune(target, "tabular_mlp", DATA / f"{name}.csv", name, "--target", "rent", "--set", "epochs=3")
    lines = asked(target, name, DATA / f"{name}.csv")
    assert len(lines) == 160
    assert [line["input"] for line in lines] == [f"{DATA / name}.csv:{i}" for i in range(2, 162)]
    assert all(isinstance(line.get("value"), float) for line in lines), lines[0]


@pytest.mark.parametrize("name", ["dst_local", "scale_1e19"])
def test_predict_command_forecasts_a_training_series_in_its_units(target: str, name: str) -> None:
    finetune(target, "series_gru", DATA / f"{name}.csv", name, "--set", "epochs=2", "--set", "hidden=8")
    [line] = asked(target, name, DATA / f"{name}.csv")
    numbers = [float(row.split(",")[1]) for row in (DATA / f"{name}.csv").read_text().splitlines()[1:]]
    assert all(min(numbers) / 2 < value < 2 * max(numbers) for [value] in line["forecast"])
    assert line["lower"] is not None


def test_predict_command_classifies_every_text_of_a_training_table(target: str, tmp_path: Path) -> None:
    file = topics_csv(tmp_path / "topics.csv")
    finetune(target, TRANSFORMER, file, "topics")
    lines = asked(target, "topics", file)
    texts = asked(target, "topics", "A text of my own.")
    assert len(lines) > 50
    assert all(line["labels"] for line in lines + texts)


def test_predict_command_rejects_url_and_missing_file(target: str) -> None:
    for argument in ("https://example.org/a.txt", "nothing.md"):
        [line] = asked(target, TRANSFORMER, argument)
        assert line["error"]["reason"] == "NOTHING_TO_SEND"
