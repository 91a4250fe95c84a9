"""`zoo predict` on rows, series and records: JSON as it stands, or files with one input a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from service.cli.rendering.predictions import format_interval
from tests.support.fake_zoo.models import add_columns, add_structured
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


@pytest.fixture
def zoo(zoo: FakeZoo) -> FakeZoo:
    add_structured(zoo.model_service)
    return zoo


@pytest.fixture
def ask(run: Run, zoo: FakeZoo) -> Run:
    """`zoo predict --json`, as lines."""
    return lambda *arguments, **more: run("predict", *arguments, "--json", "--server", zoo.target, **more)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def rows_sent(zoo: FakeZoo) -> list[dict[str, Any]]:
    requests = [*zoo.calls["Predict"], *zoo.calls["StreamPredict.request"]]
    return [dict(instance.row) for request in requests for instance in request.instances]


def test_row_as_json_argument_prints_value_and_interval(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", "flats", '{"area": 70, "rooms": 3}', "--server", zoo.target)
    assert done.exit_code == 0
    assert "70  (80 %: 0 to 100)" in done.stdout
    assert rows_sent(zoo) == [{"area": 70, "rooms": 3}]


def test_json_output_of_regression_has_value_and_interval(ask: Run) -> None:
    bare, full = lines(ask("flats", '{"area": 70}', '{"area": 1, "rooms": 1}'))
    assert (bare["value"], bare["lower"], bare["upper"]) == (70, None, None)
    assert (full["value"], full["lower"], full["upper"]) == (1, 0, 100)


def test_csv_rows_are_sent_as_text_cells_one_input_a_line(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    table = tmp_path / "flats.csv"
    table.write_text('\ufeffarea,town,rooms\n70,"Köln, Süd",3\n\n80,,\n', encoding="utf-8")
    done = ask("flats", str(table))
    assert done.exit_code == 0
    assert [line["input"] for line in lines(done)] == [f"{table}:2", f"{table}:4"]
    assert rows_sent(zoo) == [
        {"area": "70", "town": "Köln, Süd", "rooms": "3"},
        {"area": "80", "town": None, "rooms": None},
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_another_delimiter_is_read(ask: Run, zoo: FakeZoo, tmp_path: Path, delimiter: str) -> None:
    table = tmp_path / "flats.csv"
    table.write_text(f"area{delimiter}rooms\n70{delimiter}3\n")
    ask("flats", str(table))
    assert rows_sent(zoo) == [{"area": "70", "rooms": "3"}]


def test_bad_csv_line_fails_alone(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    table, objects = tmp_path / "flats.csv", tmp_path / "flats.jsonl"
    table.write_text("area,rooms\n70,3\n70\n80,4\n")
    objects.write_text('{"area": 70}\n{"area": \n\n[70]\n{"bad": 1}\n{"area": 80}\n')
    done = ask("flats", str(table))
    assert done.exit_code == 1
    assert ["error" in line for line in lines(done)] == [False, True, False]
    assert "expected 2 cells as in the header, got 1" in lines(done)[1]["error"]["message"]
    done = ask("flats", str(objects))
    assert [(line["input"].rpartition(":")[2], "error" in line) for line in lines(done)] == [
        ("1", False),
        ("2", True),
        ("4", True),
        ("5", True),
        ("6", False),
    ]


def test_row_error_of_the_server_names_the_column(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", "flats", '{"bad": 1}', "--server", zoo.target)
    assert done.exit_code == 1
    assert "no column 'bad'" in done.stdout
    assert "instances[" not in done.stdout


def test_json_file_with_object_or_array_gives_one_or_many_rows(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    one.write_text('{"area": 70}')
    many.write_text('[{"area": 1}, {"area": 2}]')
    assert [line["input"] for line in lines(ask("flats", str(one), str(many)))] == [str(one), f"{many}:1", f"{many}:2"]
    assert rows_sent(zoo) == [{"area": 70}, {"area": 1}, {"area": 2}]


def test_dash_reads_rows_as_json_lines_from_stdin(ask: Run, zoo: FakeZoo) -> None:
    done = ask("flats", "-", stdin=b'{"area": 1}\n{"area": 2}\n')
    assert [line["value"] for line in lines(done)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"area,area\n1,2\n", "has two columns called 'area'"),
        ("a.csv", b"area\n\xff\n", "is not UTF-8 text"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"7", "expected an object"),
        ("a.jpg", b"jpeg", "expected JSON or a file of .csv, .jsonl or .json"),
        ("none.csv", None, "no such file"),
    ],
)
def test_file_that_is_not_a_table_fails_as_one_input(
    ask: Run, zoo: FakeZoo, tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = ask("flats", str(tmp_path / name), '{"area": 1}')
    assert done.exit_code == 1
    bad, good = lines(done)
    assert says in bad["error"]["message"]
    assert good["value"] == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_target_and_ignored_columns_are_left_out_with_a_note(
    ask: Run, zoo: FakeZoo, tmp_path: Path, ending: str
) -> None:
    add_columns(zoo.model_service)
    table = tmp_path / f"flats.{ending}"
    rows = {
        "csv": "id,area,rent\n1,70,700\n2,80,800\n",
        "jsonl": '{"id": "1", "area": "70"}\n{"area": "80", "rent": 1}\n',
    }
    table.write_text(rows[ending])
    done = ask("flats", str(table))
    assert done.exit_code == 0, done.output
    assert sorted(done.stderr.splitlines()) == [
        "column 'id' was ignored when the model was trained; it is left out",
        "column 'rent' is what the model predicts; it is left out",
    ], "once, not for every row"
    assert rows_sent(zoo) == [{"area": "70"}, {"area": "80"}]


def test_table_with_misspelt_column_is_rejected_once(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    add_columns(zoo.model_service)
    table = tmp_path / "flats.csv"
    table.write_text("area,romms\n70,3\n80,4\n")
    done = ask("flats", str(table))
    assert done.exit_code == 1
    [line] = lines(done)
    assert line["error"]["message"] == "the model has no column 'romms'; it takes 'area', 'rooms', 'town'"
    assert rows_sent(zoo) == []
    assert len(lines(ask("flats", str(table), "--version", "2"))) == 2, "another version may know it"


def test_record_table_leaves_target_out_and_reads_pictures(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    add_columns(zoo.model_service)
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    table = tmp_path / "homes.csv"
    table.write_text("photo,area,rent\na.jpg,70,700\n")
    done = ask("homes", str(table))
    assert done.exit_code == 0, done.output
    [request] = zoo.calls["Predict"]
    assert dict(request.instances[0].record.parts["row"].row) == {"area": "70"}


def test_show_lists_the_columns_of_a_row_model(run: Run, zoo: FakeZoo) -> None:
    add_columns(zoo.model_service)
    shown = [
        line.split(maxsplit=1) for line in run("show", "flats", "--server", zoo.target).stdout.splitlines() if line
    ]
    assert ["rooms:", "number"] in shown
    assert ["town:", "Bonn, Köln"] in shown
    assert ["learned", "rent"] in shown
    told = json.loads(run("show", "flats", "--json", "--server", zoo.target).stdout)["model"]
    assert told["columns"][2] == {"name": "town", "kind": "category", "categories": ["Bonn", "Köln"]}


def test_folder_without_table_is_rejected_for_row_model(ask: Run, tmp_path: Path) -> None:
    [line] = lines(ask("flats", str(tmp_path)))
    assert "is a directory" in line["error"]["message"]


# ── series ────────────────────────────────────────────────────────────────────────────────────────────────────────


def series_sent(zoo: FakeZoo) -> list[tuple[list[float], int]]:
    requests = [*zoo.calls["Predict"], *zoo.calls["StreamPredict.request"]]
    return [(list(i.series.values), i.series.channels) for request in requests for i in request.instances]


def test_series_as_json_argument_prints_a_line_for_each_step(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", "sales", "[1, 2, 3]", "--server", zoo.target)
    assert done.exit_code == 0
    assert "+1  3  (80 %: 2 to 4)" in done.stdout
    assert "+2  3" in done.stdout
    assert series_sent(zoo) == [([1, 2, 3], 1)]


def test_json_output_of_forecast_has_every_step_and_bound(ask: Run) -> None:
    [line] = lines(ask("sales", "[[1, 5], [2, 6]]"))
    assert line["forecast"] == [[2, 6], [2, 6]]
    assert line["lower"] == [[1, 5], [1, 5]]
    [line] = lines(ask("sales", "[7]"))
    assert line["lower"] is None


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "date,sold\n2024-01-01,5\n2024-01-02,6\n", ([5, 6], 1)),
        ("a.csv", "sold,left\n5,1\n6,2\n", ([5, 1, 6, 2], 2)),
        ("a.txt", "5\n6\n7\n", ([5, 6, 7], 1)),
        ("a.json", "[5, 6]", ([5, 6], 1)),
        ("a.json", "[[5, 1], [6, 2]]", ([5, 1, 6, 2], 2)),
    ],
)
def test_file_of_numbers_is_one_series(
    ask: Run, zoo: FakeZoo, tmp_path: Path, name: str, content: str, expected: tuple[list[float], int]
) -> None:
    (tmp_path / name).write_text(content)
    assert ask("sales", str(tmp_path / name)).exit_code == 0
    assert series_sent(zoo) == [expected]


def test_jsonl_file_is_a_series_for_each_line(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[1, 2]\n[3, 4]\n")
    ask("sales", str(tmp_path / "a.jsonl"))
    assert series_sent(zoo) == [([1, 2], 1), ([3, 4], 1)]


def test_dash_reads_a_series_as_numbers_from_stdin(ask: Run, zoo: FakeZoo) -> None:
    ask("sales", "-", stdin=b"1\n2\n3\n")
    assert series_sent(zoo) == [([1, 2, 3], 1)]


def test_series_file_without_numbers_fails_as_one_input(ask: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\nx,y\n")
    [line] = lines(ask("sales", str(tmp_path / "a.csv")))
    assert "no column of the file holds numbers only" in line["error"]["message"]


# ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_record_table_reads_pictures_from_its_folder(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.jpg").write_bytes(b"12345")
    (tmp_path / "homes.csv").write_text("image,area\npictures/a.jpg,70\npictures/none.jpg,80\n,90\n")
    done = ask("homes", str(tmp_path / "homes.csv"))
    good, none, nameless = lines(done)
    assert good["value"] == 5
    assert "no such file" in none["error"]["message"]
    assert "names no picture" in nameless["error"]["message"]
    [sent] = [i for request in zoo.calls["StreamPredict.request"] for i in request.instances]
    assert dict(sent.record.parts["row"].row) == {"area": "70"}


def test_only_column_with_picture_names_is_the_image_column(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    (tmp_path / "homes.csv").write_text("photo,area\na.jpg,70\n")
    [good] = lines(ask("homes", str(tmp_path / "homes.csv")))
    assert good["value"] == 5
    [sent] = [i for request in zoo.calls["Predict"] for i in request.instances]
    assert dict(sent.record.parts["row"].row) == {"area": "70"}


def test_picture_without_columns_is_rejected_for_record_model(ask: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    [line] = lines(ask("homes", str(tmp_path / "a.jpg")))
    assert "takes a picture with its columns" in line["error"]["message"]


def test_interval_is_printed_with_significant_digits_only() -> None:
    assert format_interval(235.58912, 156.40312, 299.41834) == "236  (80 %: 156 to 299)"
    assert format_interval(0.0123456, 0.0120001, 0.0130009) == "0.01235  (80 %: 0.012 to 0.013)"
    assert format_interval(354250.0, 300100.0, 401900.0) == "354250  (80 %: 300100 to 401900)"
    assert format_interval(7.25, None, None) == "7.25"


def test_record_as_json_may_nest_its_row(ask: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"12345")
    for document in ({"image": str(photo), "row": {"area": 70}}, {"image": str(photo), "area": 70}):
        ask("homes", json.dumps(document))
        assert dict(zoo.calls["Predict"][-1].instances[0].record.parts["row"].row) == {"area": 70}
