"""Logs: one JSON object per line with the agreed fields, and never a secret."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from dtms import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_the_agreed_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "dtms")
    structlog.contextvars.bind_contextvars(correlation_id="abc")
    structlog.get_logger("dtms.x").info("stop_moved", ticket=42, symbol="EURUSD", action="tighten_stop")
    (line,) = lines(capsys)
    assert (
        line.items()
        >= {
            "level": "info",
            "event": "stop_moved",
            "correlation_id": "abc",
            "ticket": 42,
            "symbol": "EURUSD",
            "action": "tighten_stop",
            "service": "dtms",
            "logger": "dtms.x",
        }.items()
    )
    assert line["time"].endswith("Z")


def test_the_libraries_lines_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "dtms")
    logging.getLogger("uvicorn.error").info("Started %s", "server", extra={"color_message": "\x1b[1m"})
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    started, failed = lines(capsys)
    assert (started["event"], started["service"]) == ("Started server", "dtms")
    assert "color_message" not in started
    assert "ValueError: broken" in failed["exception"]


def test_secrets_are_masked_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "dtms")
    structlog.get_logger("x").info(
        "connect", password="hunter2", inner={"api_key": "hunter2"}, url="postgresql://me:hunter2@db/x", fencing_token=7
    )
    text = capsys.readouterr().err
    assert "hunter2" not in text
    assert json.loads(text)["fencing_token"] == 7


def test_the_level_changes_while_running(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json", "dtms")
    log = structlog.get_logger("x")
    log.info("hidden")
    logs.set_level("debug")
    log.debug("shown")
    assert [line["event"] for line in lines(capsys)] == ["shown"]


def test_the_console_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console", "dtms")
    structlog.get_logger("x").info("stop_moved", ticket=42)
    text = capsys.readouterr().err
    assert "stop_moved" in text
    assert not text.startswith("{")
