"""A recipe makes the same file again, says where it differs from the card, and what ships is what the cards describe."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load

from model_zoo.catalog import Catalog
from model_zoo.errors import SourceUnavailable, StoreUnusable, UnknownRecipe, UnusableTable
from model_zoo.network import build_network
from model_zoo.sources.bundled import PACKAGE
from model_zoo.training_recipes import houses
from model_zoo.training_recipes.determinism import repeatable
from model_zoo.training_recipes.fitting import Plan
from model_zoo.training_recipes.recipe import Trained
from model_zoo.training_recipes.recipe_table import RECIPES, recipe_for
from model_zoo.training_recipes.remake import data_files, differences, first_steps, packed, remake, write
from model_zoo.training_recipes.steps import Step

MOST_BYTES = 1_000_000


def made_table(rows: int = 200) -> dict[str, Any]:
    """Houses whose price is a bent function of two columns."""
    random = np.random.default_rng(0)
    columns = {name: random.uniform(10, 20, rows) for name in houses.COLUMNS.values()}
    area, garage = columns["Gr_Liv_Area"], columns["Garage_Cars"]
    return {**columns, houses.TARGET: 1000 * area + 50 * garage**2 + random.normal(0, 10, rows)}


def short_training(report: Any = print) -> Trained:
    prepared = houses.prepared(made_table())
    plan = Plan(epochs=3, batch=20, rate=0.02)
    return houses.described(prepared, houses.train_network(prepared, report, plan, starts=2))


@pytest.mark.parametrize("name", RECIPES)
def test_card_of_a_recipe_describes_the_file_that_ships(name: str) -> None:
    card = Catalog.from_package().get(name)
    assert card.source.kind == "bundled"
    for file in card.source.files.values():
        content = (PACKAGE / file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.bytes)
        assert len(content) <= MOST_BYTES
    state = load((PACKAGE / f"trained/{name}.safetensors").read_bytes())
    backbone = build_network(card).backbone
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in backbone.state_dict().items()}
    assert card.figures
    assert all(figure.value != figure.baseline_value for figure in card.figures)
    assert recipe_for(name).name == name


def test_models_with_figures_are_those_with_a_recipe() -> None:
    trained = {card.name for card in Catalog.from_package() if card.figures}
    assert trained == {*RECIPES}


def test_recipe_makes_the_same_file_twice() -> None:
    recipe = recipe_for("house_mlp")
    made = []
    for _ in range(2):
        with repeatable():
            made.append(packed(recipe, short_training()))
    assert made[0].files == made[1].files
    assert made[0].facts == made[1].facts


def test_network_of_a_bent_target_is_better_than_the_median_and_says_so() -> None:
    with repeatable():
        prepared = houses.prepared(made_table())
        linear = houses.described(prepared, houses.train_linear(prepared, print))
    [figure] = linear.figures
    assert figure.value < figure.baseline_value / 3
    assert figure.in_words == f"{figure.name}: {figure.value:,g}; {figure.baseline}: {figure.baseline_value:,g}"


def test_scales_come_of_the_training_rows_alone() -> None:
    table = made_table()
    whole = houses.prepared(table)
    order = np.random.default_rng(0).permutation(200)
    for column in houses.COLUMNS.values():
        table[column][order[120:]] *= 1000
    assert houses.prepared(table).columns == whole.columns


def test_difference_from_the_card_is_named() -> None:
    recipe, card = recipe_for("house_mlp"), Catalog.from_package().get("house_mlp")
    with repeatable():
        made = packed(recipe, short_training())
    said = differences(made, card)
    assert said[0].startswith("house_mlp.safetensors has sha256 ")
    assert "the card says otherwise of target" in said
    shipped = (PACKAGE / "trained/house_mlp.safetensors").read_bytes()
    same = replace(made, files={"house_mlp.safetensors": shipped}, figures=card.figures, facts={})
    assert differences(same, card) == []
    assert differences(replace(same, files={**same.files, "more.json": b"{}"}), card) == [
        "the card has no file more.json"
    ]


def test_remade_files_are_written_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(recipe_for("house_mlp"), train=lambda files, report: short_training(report))
    monkeypatch.setattr("model_zoo.training_recipes.remake.data_files", lambda *_, **__: {})
    lines: list[str] = []
    made = remake(recipe, tmp_path, lines.append)
    assert lines[0].startswith("start 1 of 2: off by $")
    write(made, tmp_path / "new")
    file = tmp_path / "new/house_mlp.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made.sha256
    with pytest.raises(StoreUnusable):
        write(made, file)


HEADER = "living_area,basement_area,year_built,garage_cars,price,note"


def csv_of(*lines: str, rows: int = 100) -> bytes:
    known = [
        f"{1000 + 7 * (i % 40)},{900 + i},{1950 + i % 60},{i % 3},{100000 + 900 * (i % 40)},x" for i in range(rows)
    ]
    return "\n".join([HEADER, *known, *lines]).encode()


def test_table_of_ones_own_takes_the_place_of_the_package(tmp_path: Path) -> None:
    table = csv_of("1500,,1995,2,190000,an empty cell")
    made = remake(recipe_for("house_linear"), tmp_path, print, table=table, offline=True)
    assert made.figures[0].value < made.figures[0].baseline_value
    steps: list[Step] = []
    first_steps(recipe_for("house_mlp"), tmp_path, 2, steps.append, table=table, offline=True)
    assert [step.number for step in steps] == [1, 2]
    assert len(steps[0].gradients) == 6
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (b"living_area,price\n1,2\n", "no column 'basement_area'; expected living_area"),
        (csv_of("1500,a,1995,2,190000,"), "line 102, column 'basement_area': expected a number, got 'a'"),
        (csv_of("1500,1,1995,2,,"), "column 'price': expected a number, got ''"),
        (csv_of("1500,1,1995,2,1e999,"), "expected a number, got '1e999'"),
        (csv_of(rows=3), "it has 3 rows; expected at least 20"),
        (csv_of().replace(b",x", b",\xff"), "not a text in UTF-8"),
        (b"", "no column 'living_area'"),
        ((HEADER + "\n1,2,3,4,5,\n" * 30).encode(), "column 'living_area' has the same number in every row"),
    ],
)
def test_table_that_cannot_be_learned_from_is_an_error(table: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableTable, match=problem):
        remake(recipe_for("house_linear"), tmp_path, print, table=table)


def test_offline_without_the_data_fetches_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE forbids a fetch"):
        data_files(recipe_for("house_mlp").data, tmp_path, offline=True)
    assert not list(tmp_path.iterdir())


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match=r"no recipe for 'silero_vad'; it has .*house_linear"):
        recipe_for("silero_vad")
