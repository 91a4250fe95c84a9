"""`zoo predict` takes the files that a model was trained on; each row reaches the server as the task takes it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RowRecipe
from model_zoo.cards.weight_source import TrainedColumns, TunedSource
from service.cli.inputs.input_source import InputSource
from service.cli.inputs.read_inputs import input_sources
from service.client.models import ModelInfo, read_model
from service.datasets.dataset import DatasetKind
from service.datasets.examples import StoredExamples
from service.pb import models_pb2 as pb
from service.tasks.tabular.row_input import encode_row
from service.training.data.columns import row_recipe
from service.types import RowInstance, SeriesInstance
from service.wire.zoo_v1.models_convert import write_inputs
from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    zipped,
)
from tests.support.paths import DATASET_FILES
from tests.support.tasks.structured_cards import series_card, table_card

DATA = DATASET_FILES


def trained(examples: StoredExamples) -> tuple[Card, ModelInfo]:
    """The card of a model of these data, and what a client sees of it."""
    info = examples.info
    if info.kind is DatasetKind.TABLE:
        rows = [row.cells for i in range(len(examples)) if isinstance(row := examples[i].instance, RowInstance)]
        card = table_card(recipe=row_recipe(info.inputs, rows, info.columns))
    else:
        card = series_card(channels=info.channels)
    channels = tuple(column.name for column in info.inputs) if info.kind is DatasetKind.SERIES else ()
    columns = TrainedColumns(**info.columns.model_dump(), channels=channels)
    source = TunedSource(kind="tuned", base="b", base_digest="0" * 64, method="full", files={}, columns=columns)
    card = card.model_copy(update={"source": source})
    model = pb.Model(name="mine", raw_input="row" if info.kind is DatasetKind.TABLE else "series")
    write_inputs(model, card)
    return card, read_model(model)


def text_model(**columns: Any) -> ModelInfo:
    source = TunedSource(
        kind="tuned", base="b", base_digest="0" * 64, method="head", files={}, columns=TrainedColumns(**columns)
    )
    model = pb.Model(name="mine", raw_input="text")
    write_inputs(model, table_card().model_copy(update={"source": source, "recipe": None}))
    return read_model(model)


def asked(path: Path | str, model: ModelInfo, **more: str) -> list[InputSource]:
    return list(input_sources([str(path)], model, **more))


def put(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


SHOPS = "date,shop,sold,price\n" + "".join(
    f"2024-01-{day:02},{shop},{day + len(shop)},{day / 2}\n" for day in range(1, 31) for shop in ("a", "bb")
)
FLATS = [(40 + i, ("Bonn", "Köln")[i % 2], i % 3, 500 + 9 * i) for i in range(40)]


def flats(delimiter: str, form: str, head: str = "area{0}town{0}lift{0}rent", above: str = "") -> str:
    return above + head.format(delimiter) + "\n" + "".join(form.format(*row) + "\n" for row in FLATS)


TABLES = {
    "train_space.csv": (DATA / "train_space.csv").read_bytes(),
    "train_index.csv": (DATA / "train_index.csv").read_bytes(),
    "train_pipe.csv": (DATA / "train_pipe.csv").read_bytes(),
    "sep.csv": flats(";", "{};{};{};{}", above="sep=;\n").encode(),
    "german.csv": flats(";", "{},5;{};{};1.{},00 €").encode(),
    "quoted.tsv": flats("\t", '{}\t"{}"\t{}\t{}').encode(),
    "utf16.csv": flats(",", "{},{},{},{}").encode("utf-16"),
    "cased.csv": flats(",", "{},{},{},{}", " Area , TOWN,lift ,rent").encode(),
    "unlike.csv": flats(",", "{0},{1},{2},x{0}y{3}z,{3}", "area{0}town{0}lift{0}name{0}rent").encode(),
    "empty.csv": flats(",", "{},{},{},,{}", "area{0}town{0}lift{0}note{0}rent").encode(),
    "ids.jsonl": "".join(
        json.dumps({"id": 2**60 + i % 4, "area": r[0], "lift": bool(r[2]), "rent": r[3]}) + "\n"
        for i, r in enumerate(FLATS)
    ).encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_a_training_table_are_encoded_as_in_training(tmp_path: Path, name: str) -> None:
    examples = read(tmp_path, name, TABLES[name], DatasetKind.TABLE, target="rent")
    card, model = trained(examples)
    recipe = card.recipe
    assert isinstance(recipe, RowRecipe)
    given = asked(put(tmp_path, name, TABLES[name]), model)
    assert [source.problem for source in given] == [""] * len(examples)
    for i, source in enumerate(given):
        row = examples[i].instance
        assert isinstance(row, RowInstance)
        for ours, theirs in zip(encode_row(recipe, source.value, "x"), encode_row(recipe, row.cells, "x"), strict=True):
            np.testing.assert_array_equal(ours, theirs)


SERIES = {
    **{
        name: (DATA / name).read_bytes()
        for name in ("german.csv", "business_days.csv", "dst_local.csv", "scale_1e19.csv")
    },
    "shops.csv": SHOPS.encode(),
    "decimal.csv": ("Datum;Wert\n" + "".join(f"{d:02}.01.2024;{d},5\n" for d in range(1, 31))).encode(),
    "lists.jsonl": b"".join(json.dumps({"values": list(range(i, i + 40))}).encode() + b"\n" for i in range(3)),
    "indexed.csv": (",value\n" + "".join(f"2024-01-{d:02},{d}\n" for d in range(1, 31))).encode(),
}


@pytest.mark.parametrize("name", SERIES)
def test_series_of_a_training_table_are_read_as_in_training(tmp_path: Path, name: str) -> None:
    examples = read(tmp_path, name, SERIES[name])
    assert examples.info.kind is DatasetKind.SERIES
    given = asked(put(tmp_path, name, SERIES[name]), trained(examples)[1])
    assert [source.problem for source in given] == [""] * len(examples)
    for i, source in enumerate(given):
        series = examples[i].instance
        assert isinstance(series, SeriesInstance)
        assert source.value == series.values.tolist()


def test_series_channels_come_in_the_order_of_the_model(tmp_path: Path) -> None:
    _, model = trained(read(tmp_path, "shops.csv", SHOPS.encode()))
    lines = [line.split(",") for line in SHOPS.splitlines()]
    turned = "\n".join(f"{d},{s},{p},9,{n}" for d, s, n, p in lines).replace("price,9,sold", "Price,stock,sold")
    first, second = asked(put(tmp_path, "turned.csv", turned), model)
    assert (first.name, second.name) == (f"{tmp_path}/turned.csv:a", f"{tmp_path}/turned.csv:bb")
    assert first.value[:2] == [[2.0, 0.5], [3.0, 1.0]]
    [missing] = asked(put(tmp_path, "less.csv", "date,sold\n2024-01-01,1\n2024-01-02,2\n"), model)
    assert missing.problem == "the file has no column 'price', which the model forecasts; it has 'date', 'sold'"


def test_unreadable_row_is_a_problem_with_its_line_number(tmp_path: Path) -> None:
    _, model = trained(read(tmp_path, "a.csv", TABLES["train_pipe.csv"], target="rent"))
    lines = TABLES["train_pipe.csv"].decode().splitlines()
    lines[3] = "44|Köln"
    given = asked(put(tmp_path, "a.csv", "\n".join(lines)), model)
    assert len(given) == 160
    assert [source.name.rpartition(":")[2] for source in given] == [str(i) for i in range(2, 162)]
    assert [source.problem for source in given if source.problem] == ["expected 5 cells as in the header, got 2"]


def test_unknown_column_is_not_sent_and_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, model = trained(read(tmp_path, "a.csv", TABLES["train_index.csv"], target="rent"))
    [one] = asked(put(tmp_path, "a.csv", "agent,Area,TOWN,lift,zip\nX,70,Köln,true,10115\n"), model)
    assert one.value == {"area": "70", "town": "Köln", "lift": "true", "zip": "10115"}
    assert "the model does not know column 'agent'; it is not sent" in capsys.readouterr().err


def test_misspelt_column_is_rejected(tmp_path: Path) -> None:
    _, model = trained(read(tmp_path, "a.csv", TABLES["train_index.csv"], target="rent"))
    [wrong] = asked(put(tmp_path, "a.csv", "aera,town,lift,zip\n70,Köln,true,10115\n"), model)
    assert wrong.problem == "the model has no column 'aera'; it takes 'area', 'zip', 'town', 'lift'"


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TOPICS = "id,message,label\n" + "".join(f'{i},"Hello, number {i} here",{"ab"[i % 2]}\n' for i in range(20))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("topics.csv", TOPICS),
        (
            "topics.jsonl",
            "".join(json.dumps({"message": f"Hello, number {i} here", "id": i}) + "\n" for i in range(20)),
        ),
    ],
)
def test_text_table_gives_a_text_for_each_row(tmp_path: Path, name: str, data: str) -> None:
    path = put(tmp_path, name, data)
    for model, more in (
        (text_model(text="message", target="label"), {}),
        (text_model(), {}),
        (text_model(), {"text_column": "message"}),
    ):
        given = asked(path, model, **more)
        assert [source.value for source in given] == [f"Hello, number {i} here" for i in range(20)]
        assert len({source.name for source in given}) == 20


def test_text_table_with_ambiguous_columns_asks_for_the_text_option(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "a,b\nx,y\nv,w\n")
    [one] = asked(path, text_model())
    assert one.problem == "cannot tell which column is the text; name it with --text: 'a', 'b'"
    [other] = asked(path, text_model(), text_column="c")
    assert other.problem == "the file has no column 'c'; it has 'a', 'b'"


def test_text_file_is_one_text_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "README.md", "# Title\n\nWords.\n")
    [one] = asked(path, text_model())
    assert (one.value, one.problem) == ("# Title\n\nWords.\n", "")
    assert "is read as one text; for a text a line, give it on stdin" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("data", [b"\x89PNG\xff\x00", b"", b"  \n"])
def test_binary_or_empty_text_file_is_rejected(tmp_path: Path, data: bytes) -> None:
    [one] = asked(put(tmp_path, "a.txt", data), text_model())
    assert one.problem in ("the file is not UTF-8 text, and the model takes texts", "the file is empty")


@pytest.mark.parametrize("packed", [False, True])
def test_folder_or_archive_gives_a_text_for_each_text_file(tmp_path: Path, packed: bool) -> None:
    files = {"mails/b/2.txt": "second", "mails/a/1.md": "first", "mails/c.png": b"x"}
    if packed:
        path = put(tmp_path, "mails.zip", zipped(files))
    else:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            put(tmp_path, name, text)
        path = tmp_path / "mails"
    assert [source.value for source in asked(path, text_model())] == ["first", "second"]


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("https://example.org/page", "is a URL, and is not fetched"),
        ("missing.csv", "there is no file of that name"),
        ("./missing", "there is no file of that name"),
        ("/etc/none/such", "there is no file of that name"),
        ("reports/none.md", "there is no file of that name"),
    ],
)
def test_url_or_missing_path_is_rejected_for_text_model_with_the_stdin_hint(argument: str, says: str) -> None:
    [one] = asked(argument, text_model())
    assert one.problem.startswith(says)
    assert "echo TEXT | zoo predict MODEL -" in one.problem


@pytest.mark.parametrize(
    "text",
    [
        "A cat.",
        "and/or",
        "e.g.",
        "9:30",
        "3.14",
        "I/O",
        "x" * 300,
        "aGVsbG8" * 2000,
        "a\nb/c.txt",
        "see https://a.b",
        "~",
        "",
    ],
)
def test_text_that_is_not_a_path_is_sent_as_it_is(text: str) -> None:
    assert [(source.value, source.problem) for source in asked(text, text_model())] == [(text, "")]


def test_word_that_names_a_file_is_a_text_unless_written_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "LICENSE", "Do what you want.")
    (tmp_path / "docs").mkdir()
    assert [source.value for source in asked("LICENSE", text_model())] == ["LICENSE"]
    assert [source.value for source in asked("docs", text_model())] == ["docs"]
    assert "for the folder of that name, write 'docs/'" in " ".join(capsys.readouterr().err.split())
    assert [source.value for source in asked("./LICENSE", text_model())] == ["Do what you want."]
    assert asked("docs/", text_model())[0].problem == "the folder holds no text files (.md .text .txt)"


# ── pictures, and arguments that are no files ─────────────────────────────────────────────────────────────────────


def image_model() -> ModelInfo:
    return read_model(pb.Model(name="mine", raw_input="image"))


def test_archive_of_training_pictures_gives_each_picture(tmp_path: Path) -> None:
    given = asked(put(tmp_path, "pets.zip", zipped(photos({"cat": 2, "dog": 1}))), image_model())
    assert [source.name for source in given] == [
        f"{tmp_path}/pets.zip/{name}" for name in ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg")
    ]
    assert given[2].value.read_bytes() == picture(2)


def test_record_archive_gives_rows_of_its_table_with_pictures(tmp_path: Path) -> None:
    table = "file,area,price\na.jpg,70,1\nb.jpg,80,2\n"
    packed = put(
        tmp_path, "homes.zip", zipped({"homes/a.jpg": picture(0), "homes/b.jpg": picture(1), "homes/t.csv": table})
    )
    model = read_model(pb.Model(name="homes", raw_input="record"))
    given = asked(packed, model)
    assert [source.value["image"].read_bytes() for source in given] == [picture(0), picture(1)]
    assert given[0].value["row"] == {"area": "70", "price": "1"}


@pytest.mark.parametrize("raw_input", ["image", "audio", "row", "series", "record"])
@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("https://example.org/cat.jpg", "is a URL; download it, and give the file"),
        ("iVBORw0KGgo" * 100, "is no file, and is too long for the name of one"),
        ("x" * 300, "is no file, and is too long for the name of one"),
        ("a\0b", "holds a NUL character"),
    ],
)
def test_argument_that_cannot_be_a_file_is_rejected(raw_input: str, argument: str, says: str) -> None:
    [one] = asked(argument, read_model(pb.Model(name="mine", raw_input=raw_input)))
    assert one.problem.startswith(says)


def test_large_table_is_read_lazily(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "area\n" + "70\n" * 5000)
    given = input_sources([str(path)], read_model(pb.Model(name="mine", raw_input="row")))
    assert next(iter(given)).value == {"area": "70"}
    path.write_text("area\n")  # what was not read yet is gone


def test_file_whose_name_is_not_utf8_is_read_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(f"{name}.txt").write_text("Words.")
    Path(f"{name}.csv").write_text("area\n70\n")
    Path(f"{name}.jpg").write_bytes(picture(0))
    [text] = asked(f"{name}.txt", text_model())
    [row] = asked(f"{name}.csv", read_model(pb.Model(name="mine", raw_input="row")))
    [photo] = asked(f"{name}.jpg", image_model())
    assert (text.value, row.value, photo.value.read_bytes()) == ("Words.", {"area": "70"}, picture(0))
    assert "\\udce9" in capsys.readouterr().err
    for source in (text, row, photo):
        assert "\\udce9" in json.dumps(source.name)
    [missing] = asked(f"{name}-none.txt", text_model())
    assert missing.problem.startswith("there is no file of that name")


def test_second_text_is_read_with_each_text_or_from_its_column(tmp_path: Path) -> None:
    model = text_model()
    [typed] = asked("It rains.", model, text_pair="It is wet.")
    assert (typed.name, typed.value) == ("It rains.", {"text": "It rains.", "text_pair": "It is wet."})
    table = put(tmp_path, "pairs.csv", "id,premise,hypothesis\n1,It rains.,It is wet.\n2,It snows.,\n")
    first, second = asked(table, model, text_column="premise", text_pair="hypothesis")
    assert first.value == {"text": "It rains.", "text_pair": "It is wet."}
    assert second.problem == "the text is empty"
    [wrong] = asked(table, model, text_column="premise", text_pair="nothing")
    assert "no column 'nothing'" in wrong.problem


def test_query_is_the_first_text_of_each_pair() -> None:
    [typed] = asked("It is 42 m high.", text_model(), query="how high?")
    assert typed.value == {"text": "how high?", "text_pair": "It is 42 m high."}


def test_argument_of_another_kind_is_told_what_the_model_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [words] = asked("a text", read_model(pb.Model(name="eyes", raw_input="image")))
    assert words.problem == "no such file or directory, and the model takes files of pictures"
    [photo] = asked(put(tmp_path, "a.jpg", picture(1)), text_model())
    assert photo.problem == "the file is not UTF-8 text, and the model takes texts"
    assert capsys.readouterr().err == ""
