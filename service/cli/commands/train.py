"""`zoo train`: makes a network again that Zoo itself has trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.rendering.console import escaped, new_table, print_line, print_note, print_table
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from model_zoo.training_recipes.recipe import Recipe
    from model_zoo.training_recipes.remake import Remade
    from model_zoo.training_recipes.steps import Step


def train(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Name of a model that Zoo itself has trained.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the files here. Default: they are only compared.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="A CSV to learn from in place of the model's own data, for models of tables.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        int | None,
        typer.Option("--explain", metavar="N", min=1, help="Print every number of the first N steps, and end."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the models that this command makes.")] = False,
) -> None:
    """Train a network of the zoo again: fetch its data, train, measure, and compare the file with the one that ships.

    On the machine that made it the file is the same, bit by bit. Another processor or another torch may add in another order.
    With --explain the first steps are printed: forward pass, loss, gradients, and the weights before and after.
    To train on data of your own: `zoo finetune`.
    """
    from model_zoo.training_recipes.recipe_table import RECIPES, recipe_for

    if listed:
        _print_list([recipe_for(name) for name in RECIPES])
        return
    if not model:
        raise typer.BadParameter("name a model, or give --list", param_hint="NAME")
    recipe = recipe_for(model)
    if data is not None and not recipe.columns:
        raise typer.BadParameter(f"{model} does not learn from a table", param_hint="--data")
    if explain and recipe.observed is None:
        names = [name for name in RECIPES if recipe_for(name).observed is not None]
        raise typer.BadParameter(
            f"the steps of {model} cannot be shown; those of {', '.join(names)} can", param_hint="--explain"
        )
    if explain and out is not None:
        raise typer.BadParameter("the training ends before there are files to write", param_hint="--explain")
    table = None if data is None else data.read_bytes()
    if explain:
        _explain(recipe, explain, table)
    else:
        _train(recipe, out, table)


def _explain(recipe: Recipe, steps: int, table: bytes | None) -> None:
    from model_zoo.training_recipes.remake import first_steps
    from service.cli.commands.pull import progress_bar
    from service.cli.rendering.training_steps import print_step
    from service.settings import load_settings

    settings = load_settings()
    done: list[Step] = []
    with progress_bar(recipe.data.package) as progress:
        first_steps(recipe, settings.home, steps, done.append, table=table, offline=settings.offline, progress=progress)
    for step in done:
        if step.number > 1:
            print_line("")
        print_step(step, recipe.columns)


def _train(recipe: Recipe, out: Path | None, table: bytes | None) -> None:
    from model_zoo.catalog import Catalog
    from model_zoo.training_recipes.remake import differences, remake, write
    from service.cli.commands.pull import progress_bar
    from service.settings import load_settings

    settings = load_settings()
    card = Catalog.from_package().get(recipe.name)
    if table is None:
        package = f"{recipe.data.package} {recipe.data.version}"
        print_note(f"data: {package} of Debian, {format_size(recipe.data.artifact_bytes)}")
    began = time.monotonic()
    with progress_bar(recipe.data.package) as progress:
        made = remake(recipe, settings.home, print_note, table=table, offline=settings.offline, progress=progress)
    print_note(f"it took {time.monotonic() - began:.0f} s")
    if out is not None:
        write(made, out)
    _print_made(recipe.name, made, differences(made, card))


def _print_made(name: str, made: Remade, different: list[str]) -> None:
    for figure in made.figures:
        print_line(figure.in_words)
    for file, content in made.files.items():
        print_line(f"{file}: {format_size(len(content))}")
    print_line(f"sha256 {made.sha256}")
    if different:
        print_line(
            f"it is not the {name} that ships with Zoo, as another processor, another torch or other data may make it:"
        )
        for line in different:
            print_line(f"  {line}")
    else:
        print_line(f"it is the {name} that ships with Zoo", "green")


def _print_list(recipes: list[Recipe]) -> None:
    rows = new_table("model", "data", "package of Debian", "about", right=("about",))
    for recipe in recipes:
        size = format_size(recipe.data.artifact_bytes)
        rows.add_row(
            escaped(recipe.name), size, escaped(f"{recipe.data.package} {recipe.data.version}"), f"{recipe.seconds} s"
        )
    print_table(rows)
