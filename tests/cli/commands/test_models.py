import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from model_zoo.training_recipes.recipe_table import RECIPES
from service.pb import models_pb2
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def test_models_with_a_server_lists_its_models_and_names_the_server(run: Run, zoo: FakeZoo) -> None:
    zoo.models["silero_vad"].state = models_pb2.MODEL_STATE_UNAVAILABLE
    zoo.models["silero_vad"].state_reason = "its weights are gone"
    done = run("models", "--server", zoo.target)
    assert done.exit_code == 0
    assert f"models of the server at {zoo.target}" in done.stderr
    assert all(name in done.stdout for name in zoo.models)
    assert "UNAVAILABLE: its weights are gone" in done.stdout
    assert "4.7 M" in done.stdout


def test_models_without_a_server_lists_the_local_catalog_with_a_note(run: Run, nowhere: str, tmp_path: Path) -> None:
    done = run("models", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert done.stderr == f"no server answers at {nowhere}; this is the catalog of this machine\n"
    assert all(name in done.stdout for name in Catalog.from_package().names())
    assert "not downloaded" in done.stdout


def test_models_as_json_names_server_or_catalog_as_source(run: Run, zoo: FakeZoo, nowhere: str, tmp_path: Path) -> None:
    served = json.loads(run("models", "--json", "--server", zoo.target).stdout)
    assert (served["source"], served["server"]) == ("server", zoo.target)
    assert served["models"][0]["state"] == "READY"
    local = json.loads(run("models", "--json", "--server", nowhere, env={"ZOO_HOME": str(tmp_path)}).stdout)
    assert local["source"] == "catalog"
    assert [model["downloaded"] for model in local["models"]] == [
        model["source"] == "bundled" for model in local["models"]
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--family", "rnn", "--task", "voice-activity-detection"), {"silero_vad"}),
        (
            ("--family", "cnn", "--max-parameters", "4M"),
            {
                "esrgan_slim_x4",
                "fashion_cnn",
                "fashion_price",
                "image_filter",
                "mobilenetv2_100",
                "movenet_lightning",
                "nanodet",
                "selfie_segmentation",
                *("basic_pitch", "musicnn_vgg", "speech_music"),
            },
        ),
        (
            ("--task", "image-classification", "--licence", "apache"),
            {"efficientnet_lite0", "efficientnet_lite2", "fashion_cnn"},
        ),
        (("--licence", "no such licence"), set()),
        (("--source", "initial"), {"series_gru", "tabular_mlp"}),
        (("--source", "hub"), set()),
        (("--on-disk",), set(RECIPES)),
        (("--source", "bundled", "--family", "linear"), {"house_linear"}),
        (("--fine-tunable", "--family", "rnn"), {"austen_gru", "char_lstm", "mood_gru", "series_gru", "speaker_lstm"}),
        (
            ("--max-size", "3MB", "--source", "pypi"),
            {"basic_pitch", "char_lstm", "lid_176", "silero_vad", "speech_music"},
        ),
    ],
)
def test_models_lists_only_those_of_the_asked_kind(
    options: tuple[str, ...], names: set[str], run: Run, nowhere: str, tmp_path: Path
) -> None:
    home = {"ZOO_HOME": str(tmp_path)}
    done = json.loads(run("models", "--json", "--server", nowhere, *options, env=home).stdout)
    assert {model["name"] for model in done["models"]} == names
    shown = run("models", "--server", nowhere, *options, env=home)
    assert shown.exit_code == 0
    none = ("no model is of this kind", "no licence has")
    assert any(words in shown.stderr for words in none) == (not names)


def test_models_of_a_server_are_filtered(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    home = {"ZOO_HOME": str(tmp_path)}
    done = json.loads(run("models", "--json", "--server", zoo.target, "--family", "rnn", env=home).stdout)
    assert done["source"] == "server"
    assert {model["family"] for model in done["models"]} == {"rnn"}
    local = run("models", "--server", zoo.target, "--on-disk", env=home)
    assert "a server does not tell what was asked" in local.stderr


@pytest.mark.parametrize("amount", ["many", "-1", "1e9", "4 miles", "nan"])
def test_amount_that_is_no_number_is_a_usage_error(amount: str, run: Run) -> None:
    done = run("models", "--max-parameters", amount)
    assert (done.exit_code, "25M or 100k" in done.stderr) == (2, True)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A store that makes files without a network, and the names that it made."""
    made: list[str] = []

    def materialise(self: Store, card: object, progress: Callable[[int, int, str], None]) -> Materialised:
        name = str(getattr(card, "name", ""))
        made.append(name)
        progress(0, 0, "starting")
        progress(5, 10, "\x1b[31mfile")
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"x" * 2_000_000)
        return Materialised(tmp_path, file, {}, "0" * 64)

    monkeypatch.setattr(Store, "materialise", materialise)
    return made


def test_pull_prints_folder_and_licence_of_the_weights(run: Run, weights: list[str], tmp_path: Path) -> None:
    done = run("pull", "silero_vad", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert weights == ["silero_vad"]
    assert done.stdout == f"silero_vad: fetched, 2.0 MB in {tmp_path}\n  licence of the weights: MIT\n"
    assert done.stderr == "  serve it: zoo serve --model silero_vad; on a running server: zoo load silero_vad\n"


def test_pull_default_fetches_the_default_set(run: Run, weights: list[str], tmp_path: Path) -> None:
    assert run("pull", "--default", "silero_vad", env={"ZOO_HOME": str(tmp_path)}).exit_code == 0
    assert sorted(weights) == Catalog.from_package().default_names()


def test_pull_without_names_is_a_usage_error(run: Run) -> None:
    done = run("pull")
    assert done.exit_code == 2
    assert "--default" in done.stderr


def test_pull_offline_fetches_nothing_and_fails(run: Run, weights: list[str], tmp_path: Path) -> None:
    done = run("pull", "silero_vad", env={"ZOO_HOME": str(tmp_path), "ZOO_OFFLINE": "1"})
    assert done.exit_code == 1
    assert "ZOO_OFFLINE" in done.stderr
    assert weights == []


def test_pull_continues_after_a_model_that_fails(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from model_zoo.errors import SourceUnavailable

    def unreachable(self: Store, card: object, progress: object) -> Materialised:
        raise SourceUnavailable("the file", "no network")

    monkeypatch.setattr(Store, "materialise", unreachable)
    done = run("pull", "silero_vad", "all_minilm_l6_v2", env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 1
    assert done.stderr.count("no network") == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (
            ["--task", "image-clasification"],
            "no model has the task 'image-clasification'; did you mean image-classification",
        ),
        (["--family", "cnm"], "no model has the family 'cnm'"),
        (["--licence", "apche"], "no licence has 'apche' in it"),
        (["--family", "rnn", "--task", "image-classification"], "no model is of this kind"),
    ],
)
def test_word_that_no_model_has_is_named(run: Run, nowhere: str, words: list[str], note: str) -> None:
    done = run("models", *words, "--server", nowhere)
    assert done.exit_code == 0
    assert note in done.stderr
