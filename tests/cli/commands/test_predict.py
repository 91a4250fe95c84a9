import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import Result

from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]
PHOTOS = "efficientnet_lite0"
TEXTS = "all_minilm_l6_v2"
SOUNDS = "silero_vad"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of photos, other files, and a photo that is none."""
    (tmp_path / "inner").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.JPG", "a.png", "inner/c.webp", "notes.txt", "speech.wav", ".hidden/d.jpg"):
        (tmp_path / name).write_bytes(f"content of {name}".encode())
    (tmp_path / "inner/x.jpg").write_bytes(b"bad")
    return tmp_path


def _lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_photo_prints_labels_with_scores(run: Run, zoo: FakeZoo, album: Path) -> None:
    done = run("predict", PHOTOS, str(album / "a.png"), "--server", zoo.target)
    assert done.exit_code == 0
    assert "content of a.png" in done.stdout
    assert "0.900" in done.stdout
    assert "0.500" in done.stdout


def test_folder_gives_the_files_of_the_models_input_kind(run: Run, zoo: FakeZoo, album: Path) -> None:
    done = run("predict", PHOTOS, str(album), "--json", "--server", zoo.target)
    named = [str(Path(line["input"]).relative_to(album)) for line in _lines(done)]
    assert named == ["a.png", "b.JPG", "inner/c.webp", "inner/x.jpg"]
    done = run("predict", SOUNDS, str(album), "--json", "--server", zoo.target)
    assert [Path(line["input"]).name for line in _lines(done)] == ["speech.wav"]


@pytest.mark.parametrize("model", [PHOTOS, SOUNDS])
def test_blank_input_fails_and_the_current_folder_is_not_read(
    run: Run, zoo: FakeZoo, album: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(album)
    for blank in ("", " "):
        done = run("predict", model, blank, "--json", "--server", zoo.target)
        assert done.exit_code == 1
        [line] = _lines(done)
        assert line["error"]["message"] == "is empty; give a file, a folder or an input for the model"


def test_empty_text_is_sent_as_a_text(run: Run, zoo: FakeZoo, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    done = run("predict", TEXTS, "", "--json", "--server", zoo.target)
    assert [instance.text for instance in zoo.calls["Predict"][-1].instances] == [""]
    assert "folder" not in done.stderr


def test_failed_file_is_an_error_in_its_row_and_others_are_answered(run: Run, zoo: FakeZoo, album: Path) -> None:
    inputs = [str(album / "a.png"), str(album / "inner/x.jpg"), str(album / "none.jpg"), str(album / "b.JPG")]
    for reverse in (False, True):
        zoo.prediction.hold_back = 2 if reverse else 1
        done = run("predict", PHOTOS, *inputs, "--json", "--server", zoo.target)
        assert done.exit_code == 1
        good, bad, none, other = _lines(done)
        assert [good["labels"][0]["name"], other["labels"][0]["name"]] == ["content of a.png", "content of b.JPG"]
        assert bad == {
            "input": inputs[1],
            "error": {
                "code": "INVALID_ARGUMENT",
                "reason": "INVALID_INPUT",
                "field": "instances[0].image",
                "message": "this is no image",
            },
        }
        assert "no such file" in none["error"]["message"]
    table = run("predict", PHOTOS, *inputs, "--server", zoo.target)
    assert table.exit_code == 1
    assert "this is no image" in table.stdout
    assert "instances[" not in table.stdout
    assert "Traceback" not in table.stdout + table.stderr


@pytest.mark.parametrize("name", ["inner/x.jpg", "none.jpg"])
def test_single_failed_file_is_an_error_in_its_row(run: Run, zoo: FakeZoo, album: Path, name: str) -> None:
    done = run("predict", PHOTOS, str(album / name), "--json", "--server", zoo.target)
    assert done.exit_code == 1
    assert [set(line) for line in _lines(done)] == [{"input", "error"}]


def test_folder_without_suitable_files_fails_as_one_input(run: Run, zoo: FakeZoo, album: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("predict", PHOTOS, str(empty), str(album / "a.png"), str(empty), "--json", "--server", zoo.target)
    assert done.exit_code == 1
    before, photo, after = _lines(done)
    assert "holds no image files" in before["error"]["message"]
    assert photo["labels"]
    assert after["error"]["reason"] == "NOTHING_TO_SEND"


def test_json_output_has_the_fields_of_the_task(run: Run, zoo: FakeZoo, album: Path) -> None:
    ask = ("--json", "--server", zoo.target)
    [photo] = _lines(run("predict", PHOTOS, str(album / "a.png"), "--top-k", "1", *ask))
    assert photo == {
        "input": str(album / "a.png"),
        "model": PHOTOS,
        "version": 1,
        "labels": [{"index": 0, "name": "content of a.png", "score": pytest.approx(0.9)}],
        "notes": {},
    }
    [text] = _lines(run("predict", TEXTS, "a cat", "--timing", *ask))
    assert set(text) == {"input", "model", "version", "embedding", "notes", "timing"}
    assert (text["embedding"], text["notes"]) == ([1.0, 0.0], {"truncated": False, "tokens": 5})
    assert (text["timing"]["execute_s"], text["timing"]["batch_rows"]) == (0.0305, 7)
    [sound] = _lines(run("predict", SOUNDS, str(album / "speech.wav"), *ask))
    assert sound["segments"] == [{"start_s": 0.5, "end_s": 2.0, "score": 0.75}]
    assert (sound["duration_s"], sound["frame_probabilities"]) == (3.0, [0.25, 0.75])


def test_segments_are_printed_in_seconds(run: Run, zoo: FakeZoo, album: Path) -> None:
    done = run("predict", SOUNDS, str(album / "speech.wav"), "--server", zoo.target)
    assert "0.50 to 2.00 s" in done.stdout


def test_few_texts_print_a_matrix_of_similarities(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", TEXTS, "a cat", "a kitten", "a tax form", "--server", zoo.target)
    first, second, third = (line.split() for line in done.stdout.splitlines()[1:4])
    assert first[-3:] == ["1.000", "0.800", "0.000"]
    assert second[-3:] == ["0.800", "1.000", "0.600"]
    assert third[-3:] == ["0.000", "0.600", "1.000"]


def test_many_texts_print_their_nearest_text(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", TEXTS, "a cat", "a kitten", *["a tax form"] * 13, "--server", zoo.target)
    row = next(line for line in done.stdout.splitlines() if line.split()[:3] == ["1", "a", "cat"])
    assert row.split()[3:] == ["a", "kitten", "0.800"]


def test_single_text_prints_its_first_values(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", TEXTS, "a kitten", "--server", zoo.target)
    assert "+0.8000 +0.6000 … (2 values)" in done.stdout


def test_dash_reads_a_text_for_each_line_of_stdin(run: Run, zoo: FakeZoo) -> None:
    stdin = "a cat\n\na kitten\r\nb\xff\n".encode("latin-1")
    done = run("predict", TEXTS, "-", "--json", "--server", zoo.target, stdin=stdin)
    cat, kitten, broken = _lines(done)
    assert [cat["input"], kitten["input"], broken["input"]] == ["a cat", "a kitten", "b\\xff"]
    assert "UTF-8" in broken["error"]["message"]
    assert done.exit_code == 1


def test_dash_reads_one_file_from_stdin_for_other_models(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", PHOTOS, "-", "--json", "--server", zoo.target, stdin=b"a cat")
    assert _lines(done)[0]["labels"][0]["name"] == "a cat"


@pytest.mark.parametrize(("limited", "inputs"), [(1, 1), (8, 1), (1, 3), (8, 3)])
def test_inputs_that_the_limits_of_the_token_refuse_are_sent_again(
    run: Run, zoo: FakeZoo, limited: int, inputs: int
) -> None:
    zoo.prediction.rate_limited = limited
    texts = ["a cat", "a kitten", "a tax form"][:inputs]
    done = run("predict", TEXTS, *texts, "--json", "--server", zoo.target)
    assert done.exit_code == 0
    assert [line["input"] for line in _lines(done)] == texts
    assert all("error" not in line for line in _lines(done))


def test_bad_input_that_the_limits_of_the_token_refused_first_is_an_error_in_its_row(
    run: Run, zoo: FakeZoo, album: Path
) -> None:
    zoo.prediction.rate_limited = 8
    done = run("predict", PHOTOS, str(album / "inner/x.jpg"), str(album / "a.png"), "--json", "--server", zoo.target)
    bad, good = _lines(done)
    assert bad["error"]["code"] == "INVALID_ARGUMENT"
    assert "error" not in good


def test_many_inputs_share_one_stream(run: Run, zoo: FakeZoo) -> None:
    run("predict", TEXTS, *["a cat"] * 100, "--server", zoo.target)
    assert len(zoo.calls["StreamPredict"]) == 1
    assert len(zoo.calls["StreamPredict.request"]) == 100


def test_predict_options_reach_the_server(run: Run, zoo: FakeZoo) -> None:
    run("predict", TEXTS, "a", "--top-k", "2", "--threshold", "0.5", "--version", "canary", "--server", zoo.target)
    [request] = zoo.calls["Predict"]
    assert (request.options.top_k, request.options.threshold, request.version) == (2, 0.5, "canary")


def test_timing_option_prints_stages_and_batch_rows(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", TEXTS, "a cat", "--timing", "--server", zoo.target)
    last = done.stdout.splitlines()[-1].split()
    assert last == ["a", "cat", "2.0", "0.0", "30.5", "0.0", "7", "0%", "cpu", "fp32"]


def test_control_characters_in_labels_and_names_are_escaped(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    evil = tmp_path / "\x1b[31mred\u202e[bold].jpg"
    evil.write_bytes("\x1b]0;title\x07\r[red]\u009b".encode())
    done = run("predict", PHOTOS, str(evil), "--server", zoo.target)
    assert not set(done.stdout) & set("\x1b\x07\r\u202e\u009b")
    assert "\\x1b]0;title\\x07\\r[red]\\x9b" in done.stdout
    assert "\\x1b[31mred\\u202e[bold].jpg" in done.stdout
    as_json = run("predict", PHOTOS, str(evil), "--json", "--server", zoo.target)
    assert as_json.stdout.isascii()
    assert "\x1b" not in as_json.stdout


def test_preprocessing_notes_are_printed(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", TEXTS, "a text that is much too long", "--server", zoo.target)
    assert "note: " in done.stdout
    assert "truncated: True" in done.stdout


def test_output_to_a_pipe_has_no_bars(run: Run, zoo: FakeZoo, album: Path) -> None:
    done = run("predict", PHOTOS, str(album), "--server", zoo.target)
    assert not set(done.stdout + done.stderr) & set("━─█\x1b")


def test_unknown_model_prints_the_message_of_the_server(run: Run, zoo: FakeZoo) -> None:
    done = run("predict", "silero", "x.wav", "--server", zoo.target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "unknown model 'silero'; did you mean 'silero_vad'?\n"


def test_predict_without_a_server_prints_one_sentence(run: Run, nowhere: str) -> None:
    done = run("predict", PHOTOS, "x.jpg", "--server", nowhere)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"no server answers at {nowhere}; start one with `zoo serve`\n"


def test_drawing_is_refused_by_name_for_a_task_without_anything_to_draw(run: Run, zoo: FakeZoo, album: Path) -> None:
    done = run("predict", PHOTOS, str(album / "a.png"), "--draw", str(album / "drawn"), "--server", zoo.target)
    assert done.exit_code == 2
    assert "--draw" in done.stderr
    assert "add --attribute" in done.stderr
    done = run("predict", TEXTS, "a text", "--draw", str(album / "drawn"), "--attribute", "--server", zoo.target)
    assert done.exit_code == 2
    assert "object-detection" in done.stderr
    assert not (album / "drawn").exists()
    assert not zoo.calls["Predict"]


def test_attribution_is_printed_as_json_and_drawn(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 6), (128, 128, 128)).save(encoded, "PNG")
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded.getvalue())
    words = ("predict", PHOTOS, str(photo), "--attribute", "--server", zoo.target)
    drawn = tmp_path / "drawn"
    [line] = _lines(run(*words, "--json", "--draw", str(drawn)))
    assert line["attribution"]["heat_map"] == {"weights": [[0.5, -0.25]], "area": [0.0, 0.0, 8.0, 6.0]}
    assert Path(line["drawn"]) == drawn / "photo-attribution.png"
    with Image.open(line["drawn"]) as picture:
        assert picture.size == (8, 6)
    assert "its score falls by 0.500 without the part from (0, 0) to (4, 6)" in run(*words).stdout


def test_copies_of_a_folder_keep_its_sub_folders(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 6), (128, 128, 128)).save(encoded, "PNG")
    album, drawn = tmp_path / "album", tmp_path / "drawn"
    for place in ("cats/1.png", "dogs/small/1.png", "1.png"):
        (album / place).parent.mkdir(parents=True, exist_ok=True)
        (album / place).write_bytes(encoded.getvalue())
    done = run("predict", PHOTOS, str(album), "--attribute", "--draw", str(drawn), "--server", zoo.target)
    assert done.exit_code == 0, done.output
    found = sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.png"))
    assert found == ["1-attribution.png", "cats/1-attribution.png", "dogs/small/1-attribution.png"]
    assert "pictures written: 3" in done.stderr
