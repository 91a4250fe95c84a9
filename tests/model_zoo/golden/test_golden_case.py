"""Golden files exist for all cards, and invalid golden inputs are rejected."""

import pytest
from pydantic import ValidationError

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import GoldenInput, golden_path

FILES = sorted({case.input.file for card in Catalog.from_package() for case in card.golden if case.input.file})


@pytest.mark.parametrize("name", FILES)
def test_every_golden_file_ships_with_the_package(name: str) -> None:
    assert golden_path(name).stat().st_size > 0


def test_every_golden_file_has_its_origin_in_the_readme() -> None:
    readme = golden_path("README.md").read_text(encoding="utf-8")
    assert [name for name in FILES if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", ["dog.jpg", "../cards/card.py", "golden_case.py", ""])
def test_golden_path_of_another_file_is_rejected(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no golden input"):
        golden_path(name)


def test_golden_input_with_several_kinds_is_rejected() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        GoldenInput(file="cat.jpg", text="a cat")
    with pytest.raises(ValidationError, match="exactly one"):
        GoldenInput()


def test_row_and_series_are_kinds_of_their_own() -> None:
    row = GoldenInput.model_validate({"row": {"area": 70, "lift": True, "town": "Ulm", "note": None}})
    assert row.row == {"area": 70, "lift": True, "town": "Ulm", "note": None}
    assert GoldenInput.model_validate({"series": [[1.0], [2.0]]}).series == ((1.0,), (2.0,))
    record = GoldenInput(file="boot.png", row={"age": 2})
    assert (record.file, record.row) == ("boot.png", {"age": 2})
    for wrong in ({"row": {}}, {"series": []}, {"row": {"a": 1}, "text": "b"}, {"row": {"a": float("nan")}}):
        with pytest.raises(ValidationError):
            GoldenInput.model_validate(wrong)
