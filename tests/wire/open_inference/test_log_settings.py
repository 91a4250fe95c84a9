"""Triton's log settings: one level behind several switches."""

from collections.abc import Iterator
from typing import Any

import pytest

from service.errors import InvalidInput
from service.observability.log import LEVELS, level, set_level
from service.pb import open_inference_pb2 as pb
from service.wire.open_inference.log_settings import changed_level, log_settings
from tests.support.wire.open_inference import served


def request(**settings: Any) -> pb.LogSettingsRequest:
    """As tritonclient makes it; None is a setting without a value."""
    made = pb.LogSettingsRequest()
    for name, value in settings.items():
        entry = made.settings[name]
        if isinstance(value, bool):
            entry.bool_param = value
        elif isinstance(value, int):
            entry.uint32_param = value
        elif value is not None:
            entry.string_param = value
    return made


def plain(response: pb.LogSettingsResponse) -> dict[str, Any]:
    return {
        name: getattr(value, str(value.WhichOneof("parameter_choice"))) for name, value in response.settings.items()
    }


@pytest.mark.parametrize(
    ("named", "warning", "info", "verbose"),
    [("error", False, False, 0), ("warning", True, False, 0), ("info", True, True, 0), ("debug", True, True, 1)],
)
def test_level_is_shown_as_triton_shows_it(named: str, warning: bool, info: bool, verbose: int) -> None:
    assert plain(log_settings(named)) == {
        "log_file": "",
        "log_format": "default",
        "log_error": True,
        "log_warning": warning,
        "log_info": info,
        "log_verbose_level": verbose,
    }


@pytest.mark.parametrize("before", LEVELS)
@pytest.mark.parametrize("after", LEVELS)
def test_settings_that_were_read_restore_their_level(before: str, after: str) -> None:
    assert changed_level(request(**plain(log_settings(after))), before) == after


@pytest.mark.parametrize(
    ("before", "settings", "after"),
    [
        ("info", {"log_verbose_level": 1}, "debug"),
        ("debug", {"log_verbose_level": 0}, "info"),
        ("warning", {"log_verbose_level": 0}, "warning"),
        ("debug", {"log_info": False}, "warning"),
        ("error", {"log_info": True}, "info"),
        ("debug", {"log_info": True}, "debug"),
        ("info", {"log_warning": False}, "error"),
        ("error", {"log_warning": True}, "warning"),
        ("info", {"log_error": True}, "info"),
        ("info", {"log_info": None, "log_file": None}, "info"),
        ("info", {}, "info"),
    ],
)
def test_switch_moves_the_level_only_as_far_as_it_must(before: str, settings: dict[str, Any], after: str) -> None:
    assert changed_level(request(**settings), before) == after


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"log_file": "/etc/passwd"},
            "settings[log_file]: cannot be set: the server opens no file that a caller names",
        ),
        ({"log_file": 3}, "settings[log_file]: cannot be set"),
        ({"log_format": "ISO8601"}, "ZOO_LOG_FORMAT sets it at the start"),
        ({"log_error": False}, "settings[log_error]: expected true: errors are always logged"),
        ({"log_verbose_level": 2}, "settings[log_verbose_level]: expected 0 or 1, got 2"),
        ({"log_verbose_level": True}, "settings[log_verbose_level]: expected 0 or 1, got bool"),
        ({"log_info": "yes"}, "settings[log_info]: expected a bool, got string"),
        ({"log_info": True, "log_warning": False}, "settings: contradict each other"),
        ({"log_verbose_level": 1, "log_info": False}, "settings: contradict each other"),
        ({"log_colour": True}, "settings: unknown setting 'log_colour'; known are log_error, log_warning, log_info"),
        ({"x" * 1_000_000: True}, f"unknown setting {'x' * 64!r};"),
    ],
)
def test_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        changed_level(request(**settings), "info")
    assert text in str(raised.value)
    assert "/etc/passwd" not in str(raised.value)


@pytest.fixture
def restored() -> Iterator[None]:
    before = level()
    yield
    set_level(before)


@pytest.mark.asyncio
@pytest.mark.usefixtures("restored")
async def test_level_changes_while_the_server_runs_and_a_refusal_changes_nothing() -> None:
    set_level("info")
    async with served() as (_, stub):
        assert plain(await stub.LogSettings(request()))["log_info"] is True
        changed = await stub.LogSettings(request(log_info=False))
        assert plain(changed)["log_info"] is False
        assert level() == "warning"
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            await stub.LogSettings(request(log_verbose_level=1, log_file="/tmp/x"))  # the second is refused
        assert level() == "warning"
        assert plain(await stub.LogSettings(request()))["log_verbose_level"] == 0
