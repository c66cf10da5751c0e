"""`dtms sim`: a running simulation is tampered with from the command line, through its gateway."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.bench import EURUSD, SECRET, accelerated, running
from typer.testing import CliRunner, Result

from dtms.commands.sim import app
from dtms.domain.errors import BrokerUnavailable, Misconfigured
from dtms.terminal.simulated.faults_kinds import FaultKind

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(accelerated()) as (at, _):
        yield at


@pytest.fixture
def run(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the gateway of this module."""
    monkeypatch.setenv("DTMS_TERMINAL_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)

    def command(*words: str, at: int = port) -> Result:
        result = CliRunner().invoke(app, [*words, "--set", f"terminal.port={at}"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return command


def books(run: Run) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(run("ledger", "--json").output)
    return read


def test_every_kind_is_listed_without_a_gateway() -> None:
    told = CliRunner().invoke(app, ["faults"]).output
    assert all(kind.value in told for kind in FaultKind)
    assert [kind["kind"] for kind in json.loads(CliRunner().invoke(app, ["faults", "--json"]).output)] == [*FaultKind]


def test_a_fault_is_put_in_place_shown_and_taken_away(run: Run) -> None:
    run("fault", "none", "--call", "books", "--call", "history", "--times", "0", "--nth", "3", "--arg", "code=-10001")
    run("fault", "lost_late", "--of", "opening", "--arg", "late_s=2.5", "--for", "4", "--probability", "0.5")
    first, second = json.loads(run("active").output)["active"]
    assert (first["kind"], first["code"], first["nth"], len(first["calls"])) == ("none", -10001, 3, 8)
    assert (second["of"], second["late_s"], second["for_s"], second["probability"]) == ("opening", 2.5, 4.0, 0.5)
    assert run("clear", "lag").output.strip() == "0 taken away"
    assert run("clear").output.strip() == "2 taken away"


def test_a_person_acts_and_the_books_show_it(run: Run) -> None:
    assert "retcode 10009" in run("act", "open", EURUSD, "buy", "0.3").output
    ticket = str(books(run)["positions"][-1]["ticket"])
    assert "retcode 10009" in run("act", "modify", ticket, "--target", "1.9", "--by", "web").output
    assert "retcode 10009" in run("act", "close", ticket, "--lots", "0.1").output
    (position,) = books(run)["positions"]
    assert (position["tp"], position["volume"], position["reason"]) == (1.9, 0.2, 1)
    assert "retcode 10009" in run("act", "close", ticket).output
    told = run("ledger").output
    assert all(word in told for word in ("balance", "positions", "orders", "deals", "requests"))
    assert books(run)["positions"] == []


def test_conditions_are_changed_and_time_is_moved_on(run: Run) -> None:
    assert run("set", f"{EURUSD}.stops_level_points", "77").output.strip() == f"symbol.{EURUSD}.stops_level_points = 77"
    assert json.loads(run("conditions", "--json").output)[f"symbol.{EURUSD}.stops_level_points"] == 77
    assert "comment_mode" in run("conditions").output
    run("set", "comment_mode", "truncate_16")
    before = books(run)["utc_ms"]
    run("advance", "600")
    assert books(run)["utc_ms"] >= before + 600_000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fault", "nonsense"], "nonsense"),
        (["fault", "lag", "--arg", "ms=3"], "unknown key"),
        (["fault", "lag", "--arg", "ms"], "NAME=VALUE"),
        (["set", "nothing", "1"], "no such name"),
        (["act", "open", "NO.SUCH", "buy", "1"], "NO.SUCH"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(run: Run, words: list[str], told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        run(*words)


def test_without_a_gateway_it_says_so(run: Run) -> None:
    with pytest.raises(BrokerUnavailable, match="no gateway"):
        run("active", at=1)
