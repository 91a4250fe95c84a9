"""Every input is used or skipped with a reason: `input_count == used + skipped_count`."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.datasets.dataset import DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.examples import StoredExamples
from service.types import SeriesInstance, TextInstance
from tests.support.datasets.dataset_files import (
    picture,
    read,
    sound,
    tarred,
    zipped,
)

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
GOOD = {f"{c}/good{i}.jpg": picture(i + 10 * k) for k, c in enumerate(("cat", "dog")) for i in range(2)}


def checked(file_name: str, data: bytes, entered: int, used: int | None = None, **how: object) -> StoredExamples:
    """Runs the whole validation; `used` are rows, lines or files, if these are not the examples."""
    with tempfile.TemporaryDirectory() as folder:
        examples = read(Path(folder), file_name, data, **how)  # type: ignore[arg-type]
        report = examples.info.report
        assert report.input_count == entered
        assert report.input_count == (report.examples if used is None else used) + report.skipped_count
        assert sum(report.skipped_reasons.values()) == report.skipped_count
        assert all(report.skipped_reasons.values())
        assert len(report.skipped) <= DatasetLimits().skipped_shown
        assert bool(report.skipped) == bool(report.skipped_count)
        assert all(skipped.reason for skipped in report.skipped)
        return examples


# ── archives ──────────────────────────────────────────────────────────────────────────────────────────────────────

PIECES = {
    "picture.jpg": picture(40),
    "picture": picture(41),
    "picture.jfif": picture(42, "PNG"),
    "no_end.jpg": picture(43)[:-2],
    "cut.jpg": picture(44, size=(90, 90))[:700],
    "text.jpg": b"no picture",
    "empty.jpg": b"",
    "film.gif": picture(45, "GIF"),
    "note.txt": b"hello",
    "note.json": b"{}",
    "LICENSE": b"free",
    ".DS_Store": b"x",
    "._picture.jpg": b"x",
    "Thumbs.db": b"x",
    "sound.wav.bak": b"x",
    "archive.zip": b"PK",
}
PLACES = ("", "cat/", "dog/", "cat/deeper/", "__MACOSX/cat/", ".hidden/", "x" * 210 + "/", "bird/")


@PROPERTY
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(sorted(PIECES))), unique=True, max_size=12),
    st.booleans(),
)
def test_archive_of_images_accounts_for_every_file(chosen: list[tuple[str, str]], tar: bool) -> None:
    files = (
        GOOD | {"bird/1.jpg": picture(60), "bird/2.jpg": picture(61)} | {at + name: PIECES[name] for at, name in chosen}
    )
    data = tarred(files) if tar else zipped(files)
    checked("a.tar.gz" if tar else "a.zip", data, len(files))


@PROPERTY
@given(st.lists(st.sampled_from([*range(9), "gone.jpg", "", "../out.jpg", "CUT.jpg"]), max_size=12), st.integers(0, 3))
def test_table_of_images_accounts_for_every_row_and_file(named: list[object], more: int) -> None:
    pictures = {f"pictures/{i}.jpg": picture(i) for i in range(9)} | {"pictures/cut.jpg": picture(70)[:300]}
    rows = [
        {"image": f"{name}.jpg" if isinstance(name, int) else name, "label": "abcd"[i % 4]}
        for i, name in enumerate(named)
    ]
    rows += [{"image": f"{i}.jpg", "label": "abcd"[i % 4]} for i in range(8)]
    rows += [{"image": "1.jpg", "label": None}, {"image": 5, "label": "a"}]
    others = {f"{i}.json": b"{}" for i in range(more)} | {".DS_Store": b""}
    lines = "".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n"
    met = {row["image"] for row in rows}
    unnamed = sum(f"{i}.jpg" not in met for i in range(9)) + ("CUT.jpg" not in met)
    data = zipped({**pictures, **others, "table.jsonl": lines})
    checked("a.zip", data, len(rows) + 1 + unnamed + len(others))


@PROPERTY
@given(st.lists(st.sampled_from(["good", "none", "cut", "nan", "long", "text"]), max_size=10))
def test_archive_of_sounds_accounts_for_every_file(chosen: list[str]) -> None:
    import numpy as np
    import soundfile

    broken = io.BytesIO()
    soundfile.write(broken, np.array([0, np.nan, 0], np.float32), 16_000, format="WAV", subtype="FLOAT")
    kinds = {
        "good": sound(7),
        "none": b"",
        "cut": sound(8)[:20],
        "nan": broken.getvalue(),
        "long": sound(9, 40_000),
        "text": b"x",
    }
    files = {f"{c}/{i}.wav": sound(i + 10 * (c == "b")) for c in "ab" for i in range(2)}
    files |= {f"a/{i}_{kind}.wav": kinds[kind] for i, kind in enumerate(chosen)} | {"a/notes.md": b"x"}
    checked("a.zip", zipped(files), len(files), limits=DatasetLimits(audio_seconds=2))


# ── tables and texts ──────────────────────────────────────────────────────────────────────────────────────────────

CELLS = st.sampled_from(["1", "2.5", "", "NA", "nan", "inf", "1e999", "x", "a,b", "two\nlines", "ü", " "])


@PROPERTY
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=12), st.booleans())
def test_csv_table_accounts_for_every_row(rows: list[list[str]], packed: bool) -> None:
    good = [[str(i), "uv"[i % 2], "yes" if i % 3 else "no"] for i in range(12)]
    rows = [[*row[:2], *("yes" if cell in ("1", "x") else "" for cell in row[2:])] for row in rows]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["size", "form", "label"], *good, *rows])
    blank = sum(len(row) == 1 and not row[0].strip() for row in rows)  # an empty line is no row
    entered = len(good) + len(rows) - blank
    data = buffer.getvalue().encode()
    if packed:
        data, entered = zipped({"t.csv": data, "README.md": b"x", ".DS_Store": b"x"}), entered + 2
    checked("a.zip" if packed else "a.csv", data, entered, target="label")


@PROPERTY
@given(st.lists(st.sampled_from([1.0, None, float("nan"), float("inf"), -3.5, 1e12]), max_size=20))
def test_parquet_table_accounts_for_every_row(targets: list[float | None]) -> None:
    targets = [*map(float, range(12)), *targets]
    table = pa.table({"size": list(range(len(targets))), "price": pa.array(targets, pa.float64())})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    checked("a.parquet", buffer.getvalue(), len(targets), target="price")


LINES = st.sampled_from(
    [
        b'{"text": "good one", "label": "a"}',
        b'{"text": "", "label": "a"}',
        b'{"text": "x"}',
        b"[]",
        b"{",
        b'{"text": 5, "label": "a"}',
        b'{"text": "\xff", "label": "a"}',
        b'{"text": "t", "label": ["a"]}',
    ]
)


@PROPERTY
@given(st.lists(LINES, max_size=12))
def test_table_of_texts_accounts_for_every_line(lines: list[bytes]) -> None:
    good = [json.dumps({"text": f"sentence number {i}", "label": "ab"[i % 2]}).encode() for i in range(8)]
    checked("a.jsonl", b"\n".join(good + lines) + b"\n", len(good) + len(lines), text="text", target="label")


@PROPERTY
@given(st.lists(st.sampled_from([b"a text", b"", b"  \n", b"\xff\xfe\xff", b"\xffx"]), max_size=10), st.booleans())
def test_archive_of_texts_accounts_for_every_file(contents: list[bytes], stray: bool) -> None:
    files = {f"{c}/{i}.txt": f"text {c} {i}".encode() for c in "ab" for i in range(2)}
    files |= {f"a/more{i}.txt": content for i, content in enumerate(contents)} | (
        {"x.txt": b"x", "y.bin": b"y"} if stray else {}
    )
    checked("a.zip", zipped(files), len(files))


PROSE = st.sampled_from(
    [b"a line of words", b"", b"   ", b"bad \xff byte", b"w " * 3000, b"w " * 3000 + b"\xff" + b"w " * 3000]
)


@PROPERTY
@given(st.lists(PROSE, max_size=30), st.booleans(), st.booleans())
def test_plain_text_accounts_for_every_line(lines: list[bytes], ends: bool, packed: bool) -> None:
    lines = [b"the first line " * 100, *lines]
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    entered = len(lines) - (not ends and not lines[-1])
    data, extra = (zipped({"a.txt": data, "cover.jpg.txt.bak": b"x"}), 1) if packed else (data, 0)
    with tempfile.TemporaryDirectory() as folder:
        report = read(Path(folder), "a.zip" if packed else "a.txt", data, DatasetKind.PLAIN_TEXT).info.report
    bad = sum(line.startswith(b"bad") for line in lines)
    assert report.input_count == entered + extra
    assert report.skipped_count >= bad + extra
    assert sum(report.skipped_reasons.values()) == report.skipped_count


def test_plain_text_used_and_skipped_lines_add_up() -> None:
    data = b"words and more\n" * 900 + b"\xff\n" * 7 + b"last words\n" + b"\n" * 5
    examples = checked("a.txt", data, 913, 906)
    texts = [examples[i].instance for i in range(len(examples))]
    assert sum(text.data.count(b"\n") for text in texts if isinstance(text, TextInstance)) == 906


# ── series ────────────────────────────────────────────────────────────────────────────────────────────────────────


@PROPERTY
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "x", "", "nan"])), max_size=40), st.integers(1, 30)
)
def test_series_accounts_for_every_row(more: list[tuple[str, str]], short: int) -> None:
    rows = [("long", str(i)) for i in range(40)] + [("short", str(i)) for i in range(short)] + more
    data = "series,value\n" + "".join(f"{name},{value}\n" for name, value in rows)
    with tempfile.TemporaryDirectory() as folder:
        examples = read(Path(folder), "a.csv", data.encode(), DatasetKind.SERIES, series="series", target="value")
        report = examples.info.report
        steps = [examples[i].instance for i in range(len(examples))]
        used = sum(len(one.values) for one in steps if isinstance(one, SeriesInstance))
    assert report.input_count == len(rows) == used + report.skipped_count
    assert sum(report.skipped_reasons.values()) == report.skipped_count


@PROPERTY
@given(st.lists(st.sampled_from([[1.0] * 20, [1.0] * 3, [], None, [1.0, None] * 10, "x", 5]), max_size=12))
def test_series_as_lists_accounts_for_every_row(more: list[object]) -> None:
    rows = [{"values": [float(i + k) for i in range(30)]} for k in range(3)] + [{"values": one} for one in more]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    checked("a.jsonl", data, len(rows), kind=DatasetKind.SERIES)
