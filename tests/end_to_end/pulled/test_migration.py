"""docs/migrate.md: a Triton model repository and a TorchServe archive become models of Zoo, by the commands of the page."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_zoo import strict_json
from model_zoo.golden.golden_case import golden_path
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, environment
from tests.support.end_to_end.stubs import infer, outputs, stubs_of
from tests.support.paths import REPOSITORY
from tests.support.references.onnx_files import cnn_file
from tests.support.references.tiny_repositories import text_classifier

CLASSES = 5
CONFIG = """name: "photos"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "image" data_type: TYPE_FP32 dims: [ 3, 16, 16 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 5 ] label_filename: "photos_labels.txt" } ]
dynamic_batching { max_queue_delay_microseconds: 2000 }
"""


def commands() -> list[str]:
    """The commands of the page, in order."""
    page = (REPOSITORY / "docs" / "migrate.md").read_text("utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


class Shell:
    """A folder in which the commands of the page are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {"ZOO_HOME": str(folder / "home")}

    def run(self, line: str) -> str:
        program, *arguments = shlex.split(line)
        if program == "zoo":
            done = run_preloaded(*arguments, cwd=self.folder, **self.settings)
        else:
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment(**self.settings),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A Triton model repository, a TorchServe archive and a photo, and nothing of Zoo."""
    folder = tmp_path_factory.mktemp("migration")
    (folder / "models/photos/1").mkdir(parents=True)
    cnn_file(folder / "models/photos/1/model.onnx")
    (folder / "models/photos/config.pbtxt").write_text(CONFIG)
    (folder / "models/photos/photos_labels.txt").write_text("".join(f"class {i}\n" for i in range(CLASSES)))
    (folder / "saved").mkdir()
    saved = text_classifier(folder / "saved")
    with zipfile.ZipFile(folder / "reviews.mar", "w") as archive:
        for path in saved.iterdir():
            archive.write(path, path.name)
        manifest = {"runtime": "python", "model": {"modelName": "reviews", "handler": "handler.py"}}
        archive.writestr("MAR-INF/MANIFEST.json", strict_json.text(manifest))
        archive.writestr("handler.py", "raise SystemExit('the code of an archive is not run')\n")
    shutil.copy(golden_path("cat.jpg"), folder / "cat.jpg")
    return Shell(folder)


@pytest.fixture(scope="module")
def served(shell: Shell) -> Iterator[ServerProcess]:
    """A server started by the page's command, after the commands before it."""
    lines = commands()
    start = next(i for i, line in enumerate(lines) if line.startswith("zoo serve"))
    for line in lines[:start]:
        shell.run(line)
    with ServerProcess(*shlex.split(lines[start])[2:], cwd=shell.folder, **shell.settings) as server:
        yield server.ready()


def test_commands_of_the_page_end_with_answers(served: ServerProcess, shell: Shell) -> None:
    lines = commands()
    start = next(i for i, line in enumerate(lines) if line.startswith("zoo serve"))
    shell.settings["ZOO_SERVER"] = served.target
    verified, photo, review = (shell.run(line) for line in lines[start + 1 :])
    assert all(name in verified for name in ("photos", "photos_raw", "reviews"))
    assert "class " in photo
    assert "good" in review
    assert "at most 8" in shell.run("zoo show photos")


def test_client_of_triton_gets_the_answers_of_the_file(served: ServerProcess, shell: Shell) -> None:
    images = np.random.default_rng(3).random((4, 3, 16, 16), np.float32)
    session = onnxruntime.InferenceSession(shell.folder / "models/photos/1/model.onnx")
    (expected,) = session.run(["logits"], {"image": images})
    with stubs_of(served) as stubs:
        found = outputs(stubs.infer(infer("photos", image=images)))["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
