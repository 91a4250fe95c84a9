"""A run keeps its figures scenario by scenario, and can be continued."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run
from benchmarks.measurement.cases import Case
from benchmarks.measurement.plan import Plan
from benchmarks.participants.process import ParticipantFailed

CASES = (Case(("cnn",), "tensors", ("zoo",), ("closed", "server")), Case(("rnn",), "raw", ("zoo",), ("closed",)))


class Measurements:
    """Stands in for all measurements: notes what is measured, and fails at one scenario."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.fails_at = ""

    def case(self, case: Case, wanted: Sequence[str], plan: Plan, keep: Callable[[dict[str, Any]], object]) -> None:
        """As `measure_case`."""
        for done, scenario in enumerate(wanted, 1):
            name = f"{case.name}: {scenario}"
            if name == self.fails_at:
                raise ParticipantFailed("it ended")
            self.made.append(name)
            keep({"scenarios": list(wanted[:done]), "rounds": [{s: {"figure": 1.0} for s in wanted[:done]}]})

    def null(self, plan: Plan) -> dict[str, Any]:
        """As `measure_null_call`."""
        self.made.append("null")
        return {"rounds": []}


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> Measurements:
    made = Measurements()
    monkeypatch.setattr(run, "CASES", CASES)
    monkeypatch.setattr(run, "measure_case", made.case)
    monkeypatch.setattr(run, "EXTRAS", {"null": made.null})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return made


def measure(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> dict[str, Any]:
    monkeypatch.setattr("sys.argv", ["run", "--out", str(out), *arguments])
    run.main()
    report: dict[str, Any] = json.loads(out.read_text())
    return report


def test_failed_scenario_leaves_the_figures_before_it(
    measurements: Measurements, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measurements.fails_at = "cnn tensors: server"

    report = measure(monkeypatch, tmp_path / "out.json")

    assert report["cases"]["cnn tensors"]["scenarios"] == ["closed"]
    assert report["cases"]["cnn tensors"]["failed"] == "it ended"
    assert report["cases"]["rnn raw"]["scenarios"] == ["closed"]


def test_resumed_run_measures_only_what_is_missing(
    measurements: Measurements, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measurements.fails_at = "cnn tensors: server"
    measure(monkeypatch, tmp_path / "out.json")
    measurements.fails_at, measurements.made = "", []

    report = measure(monkeypatch, tmp_path / "out.json", "--resume")

    assert measurements.made == ["cnn tensors: server"]
    cnn = report["cases"]["cnn tensors"]
    assert cnn["scenarios"] == ["closed", "server"]
    assert cnn["rounds"] == [{"closed": {"figure": 1.0}, "server": {"figure": 1.0}}]
    assert "failed" not in cnn


def test_run_of_other_settings_cannot_be_resumed(
    measurements: Measurements, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measure(monkeypatch, tmp_path / "out.json", "--rounds", "2")
    with pytest.raises(SystemExit, match="other settings"):
        measure(monkeypatch, tmp_path / "out.json", "--rounds", "3", "--resume")
