"""Pulls in the process of the tests: the library's own process takes ten seconds to import it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for

Maker = Callable[[Path], Path]
Puller = Callable[..., Pulled]


@pytest.fixture(scope="session")
def pull_tiny(tmp_path_factory: pytest.TempPathFactory) -> Puller:
    """Writes a repository, pulls it as `local:` and gives what was pulled; `given` are the user's facts."""

    def pull(make: Maker, given: Given = Given()) -> Pulled:  # noqa: B008 - frozen
        folder = tmp_path_factory.mktemp("repository") / "tiny"
        folder.mkdir()
        make(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
            home = tmp_path_factory.mktemp("home")
            return pull_reference(parse_reference(f"local:{folder}"), home, name="tiny", given=given)

    return pull


def served(pulled: Pulled) -> tuple[Task, NetworkRuntime]:
    """The task and the network of a pulled model, in eager torch on a CPU."""
    return task_for(pulled.card, pulled.files), NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")
