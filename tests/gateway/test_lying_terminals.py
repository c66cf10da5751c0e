"""What the gateway believes of a terminal that lies: another account, a broken connection, an error for an answer."""

from typing import Any

import pytest
from tests.adapters_mt5.bench import EURUSD
from tests.gateway.test_gateway import OPEN, Bench

from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.constants import MT5

CHECKED: dict[str, dict[str, Any]] = {
    "snapshot": {"symbols": [EURUSD]},
    "positions": {"tickets": [100_001]},
    "evidence": {"magic": 1, "mark": "", "date_from": 0, "date_to": 2**33},
    "history": {"date_from": 0, "date_to": 2**33},
}


@pytest.fixture
def bench() -> Bench:
    return Bench(login=5_000_001, server="Simulated-Demo")


def fault(bench: Bench, kind: str, **more: Any) -> None:
    bench.value("simulation", do="add", fault={"kind": kind, **more})


class TestWrongAccount:
    @pytest.mark.parametrize("call", CHECKED)
    def test_no_look_is_believed(self, bench: Bench, call: str) -> None:
        bench.open()
        fault(bench, "wrong_account")
        assert bench.ask(call, **CHECKED[call])["refused"] == "account"
        bench.value("simulation", do="clear")
        assert "value" in bench.ask(call, **CHECKED[call])

    @pytest.mark.parametrize("call", CHECKED)
    def test_nor_one_during_which_the_account_changed(self, bench: Bench, call: str) -> None:
        """The pipe crosses between the first reading of the account and the lists."""
        bench.open()
        fault(bench, "wrong_account", calls=["account_info"], nth=2, times=1)
        fault(bench, "wrong_account", calls=["books", "history"])
        assert bench.ask(call, **CHECKED[call])["refused"] == "account"

    def test_nothing_is_sent(self, bench: Bench) -> None:
        fence = bench.fence()
        fault(bench, "wrong_account")
        assert bench.send(OPEN, **fence)["refused"] == "account"
        assert bench.value("simulation", do="faults")["elsewhere"] == []
        assert bench.requests() == 0

    def test_the_expected_account_can_come_with_the_request(self) -> None:
        bench = Bench()
        fault(bench, "wrong_account")
        expected = {"login": 5_000_001, "server": "Simulated-Demo"}
        for call, arguments in CHECKED.items():
            assert bench.ask(call, **arguments, **expected)["refused"] == "account"
        assert bench.ask("send", request=OPEN, **bench.fence(), **expected)["refused"] == "account"


class TestConnection:
    @pytest.mark.parametrize("call", CHECKED)
    def test_empty_lists_without_a_connection_are_no_answer(self, bench: Bench, call: str) -> None:
        bench.open()
        fault(bench, "empty_offline")
        assert bench.ask(call, **CHECKED[call])["refused"] == "disconnected"

    @pytest.mark.parametrize("call", CHECKED)
    def test_nor_when_the_connection_breaks_in_the_middle_of_the_look(self, bench: Bench, call: str) -> None:
        bench.open()
        fault(bench, "empty_offline", calls=["books", "history"])
        fault(bench, "offline", calls=["terminal_info"], nth=2, times=1)
        assert bench.ask(call, **CHECKED[call])["refused"] == "disconnected"

    def test_a_restarting_terminal_is_attached_again_and_believed_when_it_is_connected(self, bench: Bench) -> None:
        ticket = bench.open()
        fault(bench, "restart", none_s=4, empty_s=4, partial_s=0)
        told = []
        for _ in range(6):
            answer = bench.ask("connect")
            told.append(answer.get("failed") or answer.get("refused") or "connected")
            bench.clock.advance(2)
        assert told == ["initialize"] * 2 + ["disconnected"] * 2 + ["connected"] * 2
        assert [row[0] for row in bench.value("snapshot", symbols=[])["positions"]] == [ticket]


class TestErrors:
    @pytest.mark.parametrize("code", [-1, -4, -8, -10_000, -10_001, -10_002, -10_003, -10_004, -10_005])
    def test_the_code_of_a_lost_reply_comes_with_it(self, bench: Bench, code: int) -> None:
        fence = bench.fence()
        fault(bench, "none", calls=["order_send"], code=code)
        answer = bench.send(OPEN, **fence)
        assert (answer["value"], answer["last_error"][0]) == (None, code)

    @pytest.mark.parametrize("code", [-1, -3, -10_000, -10_005])
    def test_a_symbol_that_cannot_be_read_is_not_a_symbol_that_does_not_exist(self, bench: Bench, code: int) -> None:
        fault(bench, "none", calls=["symbol_info"], code=code)
        answer = bench.ask("instrument", symbol=EURUSD)
        assert (answer["failed"].split()[0], answer["last_error"][0]) == ("symbol_info", code)
        assert bench.value("instrument", symbol="NO.SUCH") is None

    @pytest.mark.parametrize(
        ("call", "arguments", "spoiled"),
        [
            ("snapshot", {"symbols": [EURUSD]}, "orders_get"),
            ("evidence", CHECKED["evidence"], "history_orders_get"),
            ("evidence", CHECKED["evidence"], "history_deals_get"),
            ("positions", {"tickets": [1]}, "positions_get"),
            ("rates", {"requests": [[EURUSD, 5, 10]]}, "copy_rates_from_pos"),
        ],
    )
    def test_none_in_one_part_fails_the_whole(
        self, bench: Bench, call: str, arguments: dict[str, Any], spoiled: str
    ) -> None:
        fault(bench, "none", calls=[spoiled], code=-10_002)
        answer = bench.ask(call, **arguments)
        assert answer["failed"].split()[0] == spoiled
        assert answer["last_error"] == [-10_002, "IPC recv failed"]

    def test_a_module_that_breaks_inside_is_a_failure(self, bench: Bench) -> None:
        bench.faulty.faults["positions_get"] = SystemError("returned NULL without setting an exception"), 1
        assert bench.ask("snapshot", symbols=[])["failed"] == "positions_get"


class TestSimulation:
    def test_what_is_wrong_with_a_message_is_said(self, bench: Bench) -> None:
        answer = bench.ask("simulation", do="add", fault={"kind": "x"})
        assert (answer["refused"], "x" in answer["message"]) == ("bad_request", True)
        assert bench.ask("simulation")["refused"] == "bad_request"

    def test_a_real_terminal_knows_no_such_call(self) -> None:
        class Module:
            def last_error(self) -> tuple[int, str]:
                return MT5.RES_S_OK, "Success"

        answer = Gateway(Module(), instance=1).handle({"call": "simulation", "do": "faults"})
        assert answer["refused"] == "unknown_call"
