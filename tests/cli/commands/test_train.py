"""`zoo train` makes a network again and compares it with the one that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from model_zoo.catalog import Catalog
from model_zoo.sources.bundled import PACKAGE
from model_zoo.training_recipes.recipe_table import RECIPES
from model_zoo.training_recipes.remake import Remade

Run = Callable[..., Result]


@pytest.fixture
def remade(monkeypatch: pytest.MonkeyPatch) -> Remade:
    """What the command's training makes: the file that ships."""
    card = Catalog.from_package().get("house_mlp")
    file = (PACKAGE / "trained/house_mlp.safetensors").read_bytes()
    made = Remade({"house_mlp.safetensors": file}, card.figures, {})
    monkeypatch.setattr("model_zoo.training_recipes.remake.remake", lambda *_, **__: made)
    return made


def test_list_has_every_recipe_with_its_data(run: Run) -> None:
    done = run("train", "--list")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in RECIPES)
    assert "r-cran-modeldata" in done.stdout


def test_same_file_is_said_to_ship(run: Run, remade: Remade, tmp_path: Path) -> None:
    done = run("train", "house_mlp", "--out", str(tmp_path / "out"), env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0, done.stderr
    assert "it is the house_mlp that ships with Zoo" in done.stdout
    assert remade.sha256 in done.stdout
    assert remade.figures[0].in_words in done.stdout
    assert (tmp_path / "out/house_mlp.safetensors").read_bytes() == remade.files["house_mlp.safetensors"]


def test_other_file_is_said_to_be_another(
    run: Run, remade: Remade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = replace(remade, files={"house_mlp.safetensors": b"other"})
    monkeypatch.setattr("model_zoo.training_recipes.remake.remake", lambda *_, **__: other)
    done = run("train", "house_mlp", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert "it is not the house_mlp that ships" in done.stdout
    assert "and the card says" in done.stdout


def test_steps_are_printed_with_every_weight(run: Run, tmp_path: Path) -> None:
    rows = [f"{1000 + 7 * i},{900 + i},{1950 + i},{i % 3},{100000 + 900 * i}" for i in range(40)]
    table = tmp_path / "houses.csv"
    table.write_text("\n".join(["living_area,basement_area,year_built,garage_cars,price", *rows]))
    done = run("train", "house_mlp", "--explain", "1", "--data", str(table), env={"ZOO_HOME": str(tmp_path / "home")})
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "step 1: 24 rows, learning rate 0.02"
    assert [len(line.split()) for line in lines if " before " in line] == [9, 9, 9, 8, 8, 8, 8]
    assert [line.split()[0] for line in lines if line.startswith(" ")][-14:] == ["gradient", "after"] * 7


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("fashion_cnn", "--explain", "1"), "the steps of fashion_cnn cannot be shown; those of house_mlp can"),
        (("house_linear", "--explain", "1"), "the steps of house_linear cannot be shown"),
        (("mood_gru", "--data", "x.csv"), "mood_gru does not learn from a table"),
        (("house_mlp", "--explain", "1", "--out", "made"), "the training ends before"),
    ],
)
def test_options_that_do_not_fit_are_errors(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    done = run("train", *arguments)
    assert done.exit_code == 2
    assert problem in " ".join(done.stderr.split())


def test_unknown_name_and_no_name_are_errors(run: Run, tmp_path: Path) -> None:
    unknown = run("train", "efficientnet_lite0", env={"ZOO_HOME": str(tmp_path)})
    assert (unknown.exit_code, "no recipe for 'efficientnet_lite0'" in unknown.stderr) == (1, True)
    assert run("train").exit_code == 2


def test_data_that_are_not_here_are_not_fetched_offline(run: Run, tmp_path: Path) -> None:
    done = run("train", "house_mlp", env={"ZOO_HOME": str(tmp_path), "ZOO_OFFLINE": "1"})
    assert done.exit_code == 1
    assert "ZOO_OFFLINE" in done.stderr
