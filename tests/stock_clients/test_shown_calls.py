"""The programs for Triton's client that `zoo show` prints work as they are."""

from __future__ import annotations

import json

import pytest

from tests.stock_clients.triton_calls import CNN, RNN, TRANSFORMER
from tests.support.end_to_end.server_process import ServerProcess, run_zoo
from tests.support.paths import REPOSITORY


@pytest.mark.parametrize("model", [CNN, RNN, TRANSFORMER])
def test_shown_program_prints_the_output_of_the_model(
    model: str,
    server: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(REPOSITORY)  # the programs name files of examples/
    shown = run_zoo("show", model, "--json", "--server", server.target)
    assert shown.returncode == 0, shown.stderr
    exec(compile(json.loads(shown.stdout)["calls"]["tritonclient"], "tritonclient", "exec"), {})
    assert capsys.readouterr().out.startswith("[[")
