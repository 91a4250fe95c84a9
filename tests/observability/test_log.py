"""Logs: lines for people or JSON, and never what callers sent."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
from service.observability.log import configure, logger
configure({level!r}, {style!r})
log = logger("t")
log.debug("small")
log.info("served", model="m", rows=3)
def predict(text):
    raise ValueError("broken")
try:
    predict("the caller's secret")
except ValueError:
    log.exception("failed", reference="ab12")
import logging
logging.getLogger("other").info("chatter")
logging.getLogger("other").warning("serious")
"""


def lines(level: str, style: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(level=level, style=style)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "", "standard output is for the banner"
    return done.stderr.splitlines()


def test_json_log_has_one_object_for_each_line() -> None:
    *ours, other = lines("info", "auto")
    served, failed = (json.loads(line) for line in ours)
    assert (served["event"], served["level"], served["model"], served["rows"]) == ("served", "info", "m", 3)
    assert served["timestamp"].endswith("Z")
    assert failed["reference"] == "ab12"
    assert "ValueError: broken" in failed["exception"]
    assert other == "WARNING other: serious"


@pytest.mark.parametrize(("level", "events"), [("debug", 3), ("info", 2), ("error", 1)])
def test_events_below_the_level_are_dropped(level: str, events: int) -> None:
    assert len([line for line in lines(level, "json") if line.startswith("{")]) == events


@pytest.mark.parametrize("style", ["json", "console"])
def test_logged_error_does_not_contain_request_data(style: str) -> None:
    text = "\n".join(lines("info", style))
    assert "broken" in text
    assert "the caller's secret" not in text.replace('predict("the caller\'s secret")', "")
    assert "locals" not in text


AT_RUN_TIME = """
from service.observability.log import configure, level, logger, set_level
configure("info", "json")
log = logger("t")
log.debug("1")
log.info("2")
set_level("debug")
log.debug("3 " + level())
set_level("error")
log.warning("4")
log.error("5")
set_level("warning")
log.info("6")
log.warning("7")
"""


def test_level_that_changes_holds_for_loggers_that_were_used_before() -> None:
    done = subprocess.run([sys.executable, "-c", AT_RUN_TIME], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["2", "3 debug", "5", "7"]


HOSTILE = r"""
from service.observability.log import configure, logger
configure("info", {style!r})
log = logger("t")
log.info("served", request_id="x\n{{}}\x1b[2J\u2028", rows=3)
log.info("served", request_id="y" * 1_000_000)
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_texts_of_callers_break_no_line_and_are_bounded(style: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE.format(style=style)], capture_output=True, text=True, check=True
    )
    first, second = done.stderr.split("\n")[:-1]
    assert "\x1b[2J" not in first
    assert "\u2028" not in first
    assert "rows" in first
    assert 4000 < len(second) < 4400


OF_GRPC = """
import logging
from service.observability.log import configure
configure("info", "json")
configure("info", "json")
log = logging.getLogger("grpc._cython.cygrpc")
log.exception("ExecuteBatchError raised in core by servicer method [/inference.GRPCInferenceService/ModelInfer]")
log.error("Unexpected event loop")
"""


def test_response_to_a_cancelled_call_is_not_logged_as_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", OF_GRPC], capture_output=True, text=True, check=True)
    assert done.stderr == "ERROR grpc._cython.cygrpc: Unexpected event loop\n"
