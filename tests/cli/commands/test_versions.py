import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from service.client import Client
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


@pytest.fixture
def pets(zoo: FakeZoo) -> FakeZoo:
    """A server with two versions of `pets`; the second is stable."""
    with Client(zoo.target) as client:
        for _ in range(2):
            list(client.watch_job(client.create_job("efficientnet_lite0", "d1", "pets").id))
    return zoo


def test_versions_list_aliases_and_metrics(run: Run, pets: FakeZoo) -> None:
    done = run("versions", "pets", "--server", pets.target)
    assert done.exit_code == 0, done.output
    _, second, first = done.stdout.splitlines()
    assert second.split()[:6] == ["2", "stable", "READY", "efficientnet_lite0", "head", "accuracy"]
    assert first.split()[:3] == ["1", "READY", "efficientnet_lite0"]
    pets.model_service.versions["pets"][0].lineage.metrics.update({"ece": 0.05, "log_loss": 0.3, "macro_f1": 0.875})
    assert (
        "accuracy 0.9375, ece 0.05, log_loss 0.3, macro_f1 0.875"
        in run("versions", "pets", "--server", pets.target).stdout
    )
    listed = json.loads(run("versions", "pets", "--json", "--server", pets.target).stdout)
    assert [version["number"] for version in listed["versions"]] == [2, 1]
    assert listed["versions"][0]["lineage"]["base"] == "efficientnet_lite0"


def test_versions_print_canary_share_and_last_rollback_reason(run: Run, pets: FakeZoo) -> None:
    done = run("canary", "pets", "1", "--share", "0.25", "--server", pets.target)
    assert done.stdout == "version 1 of pets gets 25% of the calls\n"
    assert (
        "version 1 gets 25% of the calls that name no version"
        in run("versions", "pets", "--server", pets.target).stdout
    )
    assert run("canary", "pets", "--share", "0", "--server", pets.target).stdout == "pets has no canary now\n"
    pets.models["pets"].traffic.rolled_back_reason = "6 of 20 calls failed"
    assert "the last canary lost its share: 6 of 20" in run("versions", "pets", "--server", pets.target).stdout
    assert run("canary", "pets", "--server", pets.target).exit_code == 2
    assert run("canary", "pets", "1", "--share", "1.5", "--server", pets.target).exit_code == 2
    for share, wanted in (("nan", " of at most 1, got 'nan'"), ("1.5", " of at most 1, got '1.5'"), ("x", ", got 'x'")):
        refused = run("canary", "pets", "1", "--share", share, "--server", pets.target)
        assert refused.exit_code == 2
        assert f"Invalid value for '--share': expected a number{wanted}\n" in refused.stderr


def test_report_prints_metrics_and_writes_html(run: Run, pets: FakeZoo, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", "pets", "--html", str(page), "--server", pets.target)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "pets version 2, image-classification"
    assert lines[1].split("  ")[0] == "held-out data"
    assert "baseline (majority class)" in lines[1]
    assert any(line.split() == ["accuracy", "*", "0.9375", "0.85", "to", "1", "0.3125"] for line in lines)
    assert page.read_bytes() == b"<html>curves</html>"
    whole = json.loads(run("report", "pets", "--version", "1", "--json", "--server", pets.target).stdout)
    assert (whole["version"], whole["report"]["primary"]) == (1, "accuracy")
    done = run("report", "pets", "--html", str(tmp_path / "none" / "x.html"), "--server", pets.target)
    assert done.exit_code == 1
    assert "no such file or directory" in done.stderr


def test_promote_and_rollback_print_the_stable_version(run: Run, pets: FakeZoo) -> None:
    assert run("promote", "pets", "1", "--server", pets.target).stdout == "version 1 of pets is stable now\n"
    assert run("promote", "pets", "2", "--server", pets.target).exit_code == 0
    done = run("rollback", "pets", "--server", pets.target)
    assert done.stdout == "version 1 of pets is stable again, in place of version 2\n"
    model = json.loads(run("promote", "pets", "2", "--json", "--server", pets.target).stdout)["model"]
    assert model["aliases"] == {"stable": 2}
    assert run("promote", "pets", "0", "--server", pets.target).exit_code == 2


def test_alias_is_set_and_deleted(run: Run, pets: FakeZoo) -> None:
    assert run("alias", "pets", "best", "2", "--server", pets.target).stdout == "best is version 2 of pets now\n"
    assert run("alias", "pets", "best", "--delete", "--server", pets.target).stdout == "pets has no alias best now\n"
    assert run("alias", "pets", "best", "--server", pets.target).exit_code == 2
    pets.fail_next("SetAlias", "NOT_FOUND", "unknown version '9'; model 'pets' has versions 1 and 2")
    done = run("alias", "pets", "best", "9", "--server", pets.target)
    assert (done.exit_code, done.stderr) == (1, "unknown version '9'; model 'pets' has versions 1 and 2\n")


def test_versions_of_unknown_model_print_one_sentence(run: Run, pets: FakeZoo) -> None:
    done = run("versions", "petz", "--server", pets.target)
    assert (done.exit_code, done.stderr) == (1, "unknown model 'petz'\n")
