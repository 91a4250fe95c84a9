"""Two simple rules, a linear model and a network on houses that none of them has learned from:
`python examples/course/compare_houses.py`."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

from service.client import Client, Regression

HOUSES = Path(__file__).with_name("houses.csv")
COLUMNS = ("living_area", "basement_area", "year_built", "garage_cars")


def shown(name: str, learned: str, found: Sequence[float], prices: Sequence[float]) -> None:
    """Prints the mean absolute error."""
    error = fmean(abs(a - b) for a, b in zip(found, prices, strict=True))
    print(f"{name:<34}{learned:>9}  ${error:>7,.0f}")


def main() -> None:
    """Compare them."""
    with HOUSES.open(encoding="utf-8", newline="") as file:
        houses = list(csv.DictReader(file))
    known = [house for house in houses if house["split"] == "train"]
    new = [house for house in houses if house["split"] == "test"]
    prices = [float(house["price"]) for house in new]
    print(f"{'':<34}{'learned':>9}  {'off by':>8}, on {len(new)} houses")
    always = median(float(house["price"]) for house in known)
    shown(f"always ${always:,.0f}", "1 number", [always] * len(new), prices)
    foot = median(float(house["price"]) / float(house["living_area"]) for house in known)
    areas = [float(house["living_area"]) for house in new]
    shown(f"${foot:.0f} for each square foot", "1 number", [foot * area for area in areas], prices)
    rows = [{column: float(house[column]) for column in COLUMNS if house[column]} for house in new]
    with Client(os.environ.get("ZOO_SERVER", "127.0.0.1:8001")) as zoo:
        for model in ("house_linear", "house_mlp"):
            answers = [answer for answer in zoo.stream_predict(model, rows) if isinstance(answer, Regression)]
            learned = f"{zoo.model(model).parameter_count} numbers"
            shown(model, learned, [answer.value for answer in answers], prices)


if __name__ == "__main__":
    main()
