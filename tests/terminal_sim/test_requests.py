"""What is not a request never reaches the server: None, and the package's own error."""

import math
from typing import Any

import numpy as np
import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT

GOOD = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "comment": "x"}


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"volume": "0.1"}, "volume"),
        ({"volume": None}, "volume"),
        ({"action": 1.0}, "action"),
        ({"magic": 1.5}, "magic"),
        ({"magic": np.int64(3)}, "magic"),
        ({"symbol": 5}, "symbol"),
        ({"sl": "none"}, "sl"),
        ({"tp": [1]}, "tp"),
        ({"comment": "x" * 32}, "comment"),
        ({"comment": b"x"}, "comment"),
        ({"position": "7"}, "position"),
        ({"type_filling": None}, "type_filling"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(bench: MakeLab, wrong: dict[str, Any], name: str) -> None:
    lab = bench([FLAT] * 5)
    assert lab.terminal.order_send(GOOD | wrong) is None
    assert lab.terminal.last_error() == (-2, f'Invalid "{name}" argument')
    assert lab.terminal.simulation.ledger.requests == []


@pytest.mark.parametrize("request_", [None, [], "action", (("action", 1),)])
def test_only_a_dict_is_a_request(bench: MakeLab, request_: object) -> None:
    lab = bench([FLAT] * 5)
    assert lab.terminal.order_send(request_) is None
    assert lab.terminal.order_check(request_) is None
    assert lab.terminal.last_error() == (-2, "Invalid arguments")


def test_a_comment_of_31_characters_is_kept(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    result = lab.terminal.order_send(GOOD | {"comment": "y" * 31})
    assert result is not None
    position = lab.position(result.order)
    assert position is not None
    assert position.comment == "y" * 31


def test_whole_numbers_serve_as_prices(bench: MakeLab) -> None:
    result = bench([FLAT] * 5).terminal.order_send(GOOD | {"sl": 1, "tp": 2})
    assert result is not None
    assert (result.retcode, result.request.sl, result.request.tp) == (10009, 1.0, 2.0)


def test_a_refusal_is_an_answer_and_no_error(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    result = terminal.order_send(GOOD | {"volume": math.inf})
    assert result is not None
    assert result.retcode == 10014
    assert terminal.last_error() == (1, "Success")


def test_every_call_overwrites_the_last_error(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    assert terminal.symbol_info("NOSUCH") is None
    assert terminal.last_error()[0] == -4
    assert terminal.last_error()[0] == -4
    assert terminal.positions_get() == ()
    assert terminal.last_error() == (1, "Success")


def test_none_found_is_an_empty_tuple_and_an_error_is_none(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    assert terminal.positions_get() == ()
    assert terminal.orders_get(symbol="EURUSD") == ()
    assert terminal.history_deals_get(ticket=1) == ()
    assert terminal.positions_get(ticket="x") is None  # type: ignore[arg-type]
    assert terminal.last_error() == (-2, 'Invalid "ticket" argument')


def test_filters_are_named_only(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    assert terminal.positions_get("EURUSD") is None
    assert terminal.last_error() == (-2, "Unnamed arguments not allowed")
    assert terminal.orders_get(5) is None


def test_without_a_connection_every_call_fails_alike(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    terminal.shutdown()
    assert terminal.positions_get() is None
    assert terminal.account_info() is None
    assert terminal.order_send(dict(GOOD)) is None
    assert not terminal.symbol_select("EURUSD", True)
    assert terminal.copy_rates_from_pos("EURUSD", 1, 0, 1) is None
    assert terminal.last_error() == (-10004, "No IPC connection")


@pytest.mark.parametrize(
    ("options", "admitted"),
    [
        ({}, True),
        ({"login": 5_000_001, "server": "Simulated-Demo", "password": "right"}, True),
        ({"login": 7}, False),
        ({"server": "Another"}, False),
        ({"password": "wrong"}, False),
    ],
)
def test_another_account_is_not_admitted(bench: MakeLab, options: dict[str, Any], admitted: bool) -> None:
    terminal = bench([FLAT] * 5, account={"password": "right"}).terminal
    terminal.shutdown()
    assert terminal.initialize(**options) is admitted
    assert terminal.last_error()[0] == (1 if admitted else -6)
