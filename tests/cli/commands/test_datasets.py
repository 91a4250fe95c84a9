"""`zoo datasets`."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from tests.support.fake_zoo.fine_tuning import BASE
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def test_datasets_list_show_and_delete_take_an_id_prefix(run: Run, zoo: FakeZoo, photos: Path) -> None:
    assert run("datasets", "--server", zoo.target).stderr == "the server has no datasets\n"
    run("finetune", BASE, str(photos), "--name", "pets", "--detach", "--server", zoo.target)
    [dataset_id] = zoo.fine_tuning.datasets
    assert run("datasets", "--server", zoo.target).stdout.splitlines()[1].split()[:3] == [
        dataset_id,
        "photos.zip",
        "image_folder",
    ]
    done = run("datasets", "show", dataset_id[:5], "--server", zoo.target)
    assert "    cat/a.jpg: it is no picture" in done.stdout.splitlines()
    assert json.loads(run("datasets", "show", dataset_id, "--json", "--server", zoo.target).stdout)["dataset"]["id"]
    done = run("datasets", "delete", dataset_id[:5], "--force", "--server", zoo.target)
    assert done.stdout.startswith(f"deleted dataset {dataset_id}, ")
    assert zoo.calls["DeleteDataset"][0].force
    assert not zoo.fine_tuning.datasets
