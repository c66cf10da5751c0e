"""The gateway passes on what is allowed, refuses for certain what is not, and speaks plain JSON."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from tests.adapters_mt5.bench import BTCUSD, EURUSD, described
from tests.adapters_mt5.faulty import Faulty, altered

from dtms.terminal.gateway import Gateway
from dtms.terminal.guards import Budget, is_reducing
from dtms.terminal.protocol import ORDER_FIELDS, POSITION_FIELDS, RESULT_FIELDS, TICK_FIELDS, decode, encode
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.clock import SteppedClock
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.vendor import REQUEST_KEYS, VENDOR_CALLS

INSTANCE = 7


class Bench:
    """A gateway on a simulated terminal whose clock stands still."""

    def __init__(self, **options: Any) -> None:
        config = load_config(described())
        self.clock = SteppedClock(config.start_ms)
        self.terminal = SimulatedTerminal(config, self.clock)
        self.faulty = Faulty(self.terminal)
        self.now_s = 0.0
        self.gateway = Gateway(self.faulty, instance=INSTANCE, now=lambda: self.now_s, **options)
        self.ask("connect")
        self.clock.advance(5)

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        answer = self.gateway.handle({"call": call, **arguments})
        assert decode(encode(answer)) == answer, "an answer must cross as JSON without a change"
        return answer

    def value(self, call: str, **arguments: Any) -> Any:
        answer = self.ask(call, **arguments)
        assert "value" in answer, answer
        return answer["value"]

    def fence(self, key: str = "1", token: int = 1) -> dict[str, Any]:
        return {"key": key, "token": token, "instance": self.value("fence", key=key, token=token)["instance"]}

    def send(self, request: Mapping[str, Any], **fence: Any) -> dict[str, Any]:
        return self.ask("send", request=dict(request), **(fence or self.fence()))

    def requests(self) -> int:
        return len(self.terminal.simulation.ledger.requests)

    def open(self) -> int:
        """Open a position and return its ticket."""
        result = dict(zip(RESULT_FIELDS, self.send(OPEN)["value"], strict=True))
        assert result["retcode"] == MT5.TRADE_RETCODE_DONE
        return int(result["order"])


OPEN = {"action": 1, "symbol": EURUSD, "volume": 0.1, "type": 0, "price": 1.2, "deviation": 20, "type_filling": 0}


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestAllowList:
    @pytest.mark.parametrize(
        "call",
        [
            "initialize",
            "login",
            "shutdown",
            "order_send",
            "last_error",
            "Buy",
            "Close",
            "__class__",
            "eval",
            "",
            None,
            5,
        ],
    )
    def test_what_is_not_on_the_list_cannot_be_called(self, bench: Bench, call: Any) -> None:
        bench.faulty.asked.clear()
        answer = bench.gateway.handle({"call": call})
        assert answer["refused"] == "unknown_call"
        assert bench.faulty.asked == []

    @pytest.mark.parametrize(
        ("call", "arguments"),
        [
            ("symbol_info", {}),
            ("symbol_info", {"symbol": 5}),
            ("symbol_info", {"symbol": EURUSD, "more": 1}),
            ("copy_rates_from_pos", {"symbol": EURUSD, "timeframe": "M5", "start_pos": 0, "count": 1}),
            ("copy_rates_from_pos", {"symbol": EURUSD, "timeframe": 5, "start_pos": True, "count": 1}),
            ("positions_get", {"ticket": "1"}),
            ("snapshot", {"symbols": "EURUSD"}),
            ("snapshot", {"symbols": [5]}),
            ("positions", {"tickets": ["1"]}),
            ("rates", {"requests": [[EURUSD, 7, 10]]}),
            ("rates", {"requests": [[EURUSD, 5, 0]]}),
            ("fence", {"key": "1", "token": "1"}),
            ("order_check", {"request": [1]}),
            ("order_check", {"request": {"action": 1, "volume": "0.1"}}),
            ("order_check", {"request": {"action": 1, "unknown": 1}}),
        ],
    )
    def test_arguments_of_the_wrong_form_do_not_reach_the_terminal(
        self, bench: Bench, call: str, arguments: dict[str, Any]
    ) -> None:
        bench.faulty.asked.clear()
        assert bench.ask(call, **arguments)["refused"] == "bad_request"
        assert bench.faulty.asked == []

    def test_every_plain_call_answers(self, bench: Bench) -> None:
        window = {"date_from": 1_500_000_000, "date_to": 1_600_000_000}
        deal = {"action": 0, "symbol": EURUSD, "volume": 0.1}
        arguments: dict[str, dict[str, Any]] = {
            "symbol_info": {"symbol": EURUSD},
            "symbol_info_tick": {"symbol": EURUSD},
            "symbol_select": {"symbol": EURUSD, "enable": True},
            "symbols_get": {"group": "*USD*"},
            "positions_get": {"symbol": EURUSD},
            "copy_rates_from_pos": {"symbol": EURUSD, "timeframe": 5, "start_pos": 0, "count": 10},
            "copy_rates_range": {"symbol": EURUSD, "timeframe": 16385, **window},
            "copy_ticks_from": {"symbol": EURUSD, "date_from": 1_507_021_200, "count": 10, "flags": -1},
            "copy_ticks_range": {"symbol": EURUSD, "date_from": 1_507_031_000, "date_to": 1_507_032_100, "flags": -1},
            "order_calc_margin": {**deal, "price": 1.17},
            "order_calc_profit": {**deal, "price_open": 1.17, "price_close": 1.18},
            "history_orders_total": window,
            "history_deals_total": window,
        }
        for call in VENDOR_CALLS:
            assert bench.value(call, **arguments.get(call, {})) is not None, call
        assert bench.value("order_check", request=OPEN)[0] == 0

    def test_a_plain_none_comes_with_its_error_code(self, bench: Bench) -> None:
        answer = bench.ask("symbol_info", symbol="NO.SUCH")
        assert answer["value"] is None
        assert answer["last_error"][0] == MT5.RES_E_NOT_FOUND

    def test_the_keys_of_a_request_are_the_vendors(self) -> None:
        assert len(REQUEST_KEYS) == 17


class TestFence:
    def test_tokens_rise_per_key(self, bench: Bench) -> None:
        for token in (3, 3, 8):
            assert bench.value("fence", key="a", token=token) == {"instance": INSTANCE}
        assert bench.ask("fence", key="a", token=7)["refused"] == "fenced"
        assert bench.value("fence", key="b", token=1) == {"instance": INSTANCE}

    @pytest.mark.parametrize(
        ("change", "refusal"),
        [
            ({"token": 4}, "fenced"),
            ({"token": 6}, "fenced"),
            ({"key": "other"}, "fenced"),
            ({"instance": INSTANCE + 1}, "other_instance"),
            ({"instance": "7"}, "bad_request"),
            ({"token": None}, "bad_request"),
        ],
    )
    def test_a_send_without_the_newest_token_is_refused_unsent(
        self, bench: Bench, change: dict[str, Any], refusal: str
    ) -> None:
        fence = bench.fence("a", 5)
        assert bench.send(OPEN, **{**fence, **change})["refused"] == refusal
        assert bench.requests() == 0
        assert bench.send(OPEN, **fence)["value"][0] == MT5.TRADE_RETCODE_DONE

    @pytest.mark.parametrize(
        ("program", "refusal"),
        [
            (["engine", 2], "fenced"),
            (["engine", 4], "fenced"),
            (["main", 3], "fenced"),
            (["engine"], "bad_request"),
            (["engine", "3"], "bad_request"),
            (["engine", True], "bad_request"),
            ([3, "engine"], "bad_request"),
            ("engine", "bad_request"),
        ],
    )
    def test_a_send_is_refused_unsent_when_its_programs_token_is_not_the_newest(
        self, bench: Bench, program: Any, refusal: str
    ) -> None:
        """However new the token of what it changes is."""
        bench.value("fence", key="engine", token=3)
        fence = bench.fence("a", 5)
        assert bench.send(OPEN, **fence, program=program)["refused"] == refusal
        assert bench.requests() == 0
        assert bench.send(OPEN, **fence, program=["engine", 3])["value"][0] == MT5.TRADE_RETCODE_DONE

    def test_a_newest_program_does_not_make_up_for_an_old_lease(self, bench: Bench) -> None:
        bench.value("fence", key="engine", token=3)
        fence = bench.fence("a", 5)
        bench.value("fence", key="a", token=6)
        assert bench.send(OPEN, **fence, program=["engine", 3])["refused"] == "fenced"
        assert bench.requests() == 0


class TestEvidence:
    def test_an_orders_end_is_found_by_its_ticket_outside_the_window_and_once_within_it(self, bench: Bench) -> None:
        """A pending order may have been placed long before anybody asks."""
        waiting = {"action": 5, "symbol": EURUSD, "volume": 0.1, "type": 2, "price": 1.1, "type_filling": 2}
        ticket = bench.send(waiting)["value"][RESULT_FIELDS.index("order")]
        assert bench.send({"action": 8, "order": ticket})["value"][0] == MT5.TRADE_RETCODE_DONE

        def ends(**search: Any) -> list[int]:
            everything = {"magic": 1, "mark": "", "date_from": 0, "date_to": 2**31}
            found = bench.value("evidence", **{**everything, **search})["past_orders"]
            return [row[ORDER_FIELDS.index("ticket")] for row in found]

        assert ends() == []
        assert ends(date_to=1, order=ticket) == [ticket]
        assert ends(order=ticket, symbol=EURUSD) == [ticket]


class TestAccount:
    @pytest.mark.parametrize(
        ("call", "arguments"),
        [
            ("order_check", {"request": {"action": 1, "symbol": EURUSD, "volume": 0.1, "type": 0}}),
            ("margin", {"action": 0, "symbol": EURUSD, "volume": 0.1, "price": 1.2}),
            ("profit", {"action": 0, "symbol": EURUSD, "volume": 0.1, "price_open": 1.2, "price_close": 1.3}),
        ],
    )
    def test_what_is_asked_of_an_account_is_asked_of_no_other(
        self, bench: Bench, call: str, arguments: dict[str, Any]
    ) -> None:
        assert "value" in bench.ask(call, **arguments, login=5_000_001, server="Simulated-Demo")
        assert bench.ask(call, **arguments, login=1)["refused"] == "account"

    @pytest.mark.parametrize(("call", "prices"), [("margin", ["price"]), ("profit", ["price_open", "price_close"])])
    def test_an_amount_needs_all_of_its_figures(self, bench: Bench, call: str, prices: list[str]) -> None:
        sound = {"action": 0, "symbol": EURUSD, "volume": 0.1, **dict.fromkeys(prices, 1.2)}
        for missing in sound:
            given = {name: value for name, value in sound.items() if name != missing}
            assert bench.ask(call, **given)["refused"] == "bad_request"
        assert bench.ask(call, **{**sound, "symbol": "NO.SUCH"})["failed"] == f"order_calc_{call}"

    def test_a_send_names_the_account_that_it_is_meant_for(self, bench: Bench) -> None:
        fence = bench.fence()
        assert bench.send(OPEN, login=1, **fence)["refused"] == "account"
        assert bench.send(OPEN, server="Elsewhere", **fence)["refused"] == "account"
        assert bench.requests() == 0
        assert "value" in bench.send(OPEN, login=5_000_001, server="Simulated-Demo", **fence)

    def test_an_account_that_cannot_be_read_is_not_sent_to(self, bench: Bench) -> None:
        bench.faulty.faults["account_info"] = None, -10005
        assert bench.send(OPEN)["refused"] == "disconnected"
        assert bench.requests() == 0


class TestBudget:
    @pytest.mark.parametrize(
        ("request_", "reducing"),
        [
            ({"action": MT5.TRADE_ACTION_SLTP, "position": 1}, True),
            ({"action": MT5.TRADE_ACTION_REMOVE, "order": 1}, True),
            ({"action": MT5.TRADE_ACTION_CLOSE_BY, "position": 1}, True),
            ({"action": MT5.TRADE_ACTION_DEAL, "position": 1}, True),
            ({"action": MT5.TRADE_ACTION_DEAL, "position": 0}, False),
            ({"action": MT5.TRADE_ACTION_DEAL}, False),
            ({"action": MT5.TRADE_ACTION_PENDING}, False),
            ({"action": MT5.TRADE_ACTION_MODIFY}, False),
            ({}, False),
        ],
    )
    def test_what_reduces_risk_is_read_off_the_request(self, request_: dict[str, Any], reducing: bool) -> None:
        assert is_reducing(request_) is reducing

    def test_a_spent_budget_stops_what_adds_and_never_what_reduces(self) -> None:
        bench = Bench(requests_per_day=4, reserve=2)
        ticket = bench.open()
        bench.open()
        stop = {"action": 6, "position": ticket, "symbol": EURUSD, "sl": 1.1, "tp": 0.0}
        assert bench.send(OPEN)["refused"] == "budget"
        assert bench.send(stop)["value"][0] == MT5.TRADE_RETCODE_DONE
        assert bench.send({**stop, "sl": 1.11})["value"][0] == MT5.TRADE_RETCODE_DONE
        assert bench.send({**stop, "sl": 1.12})["value"][0] == MT5.TRADE_RETCODE_DONE
        assert bench.send(OPEN)["refused"] == "budget"
        assert bench.requests() == 5
        bench.now_s = 86_400.0
        bench.open()

    def test_a_budget_is_of_any_24_hours(self) -> None:
        now = [0.0]
        budget = Budget(2, 0, lambda: now[0])
        assert budget.take(reducing=False)
        now[0] = 50_000.0
        assert budget.take(reducing=False)
        now[0] = 86_399.0
        assert not budget.take(reducing=False)
        now[0] = 86_400.0
        assert budget.left() == 1


class TestBatches:
    def test_a_snapshot_is_one_answer_with_named_fields(self, bench: Bench) -> None:
        ticket = bench.open()
        value = bench.value("snapshot", symbols=[EURUSD, BTCUSD, "NO.SUCH"])
        position = dict(zip(POSITION_FIELDS, value["positions"][0], strict=True))
        listed = bench.terminal.positions_get(ticket=ticket)
        assert listed is not None
        assert position == listed[0]._asdict()
        assert value["ticks"]["NO.SUCH"] is None
        tick = bench.terminal.symbol_info_tick(EURUSD)
        assert tick is not None
        assert dict(zip(TICK_FIELDS, value["ticks"][EURUSD], strict=True)) == tick._asdict()
        assert value["clock"] == {"simulated": True, "utc_ms": bench.clock.now_ms(), "rate": 0.0}

    def test_rates_come_with_the_forming_bar(self, bench: Bench) -> None:
        five, hour = bench.value("rates", requests=[[EURUSD, 5, 3], [BTCUSD, 60, 2]])
        assert [len(columns[0]) for columns in (five, hour)] == [3, 2]
        server_s = bench.clock.now_ms() // 1000 + 3 * 3600
        assert five[0][-1] == server_s // 300 * 300
        assert hour[0][-1] == server_s // 3600 * 3600

    def test_flow_sums_the_sign_of_each_move_of_the_mid_price(self, bench: Bench) -> None:
        bench.clock.advance(1800)
        end_ms = bench.clock.now_ms() // 300_000 * 300_000 + 3 * 3_600_000
        start_ms = end_ms - 1_200_000
        times, signed, total, spread = bench.value("flow", symbol=EURUSD, from_ms=start_ms, to_ms=end_ms)
        ticks = bench.terminal.copy_ticks_range(EURUSD, start_ms // 1000 - 300, end_ms // 1000, MT5.COPY_TICKS_INFO)
        assert ticks is not None
        expected: dict[int, list[int]] = {}
        mids = [(row["bid"] + row["ask"]) / 2 for row in ticks]
        for before, mid, row in zip(mids, mids[1:], ticks[1:], strict=False):
            if mid != before and start_ms <= row["time_msc"] < end_ms:
                bar = expected.setdefault(int(row["time_msc"]) // 300_000 * 300_000, [0, 0])
                bar[0] += 1 if mid > before else -1
                bar[1] += 1
        assert times == sorted(expected)
        assert len(times) == 4
        assert [list(pair) for pair in zip(signed, total, strict=True)] == [expected[time] for time in times]
        for time, median in zip(times, spread, strict=True):
            quoted = sorted(row["ask"] - row["bid"] for row in ticks if time <= row["time_msc"] < time + 300_000)
            assert median == pytest.approx(quoted[(len(quoted) - 1) // 2])

    def test_a_quote_that_is_no_number_crosses_as_null(self, bench: Bench) -> None:
        tick = bench.terminal.symbol_info_tick(EURUSD)
        assert tick is not None
        bench.faulty.faults["symbol_info_tick"] = altered(tick, bid=math.nan, ask=math.inf), 1
        answer = bench.gateway.handle({"call": "quotes", "symbols": [EURUSD]})
        row = dict(zip(TICK_FIELDS, decode(encode(answer))["value"][EURUSD], strict=True))
        assert (row["bid"], row["ask"], row["time"]) == (None, None, tick.time)

    def test_a_structure_without_a_field_is_a_failure_and_no_guess(self, bench: Bench) -> None:
        bench.faulty.faults["positions_get"] = (object(),), 1
        assert bench.ask("snapshot", symbols=[])["failed"] == "positions_get"

    def test_a_connect_attaches_a_terminal_that_let_go(self, bench: Bench) -> None:
        bench.terminal.shutdown()
        assert bench.ask("snapshot", symbols=[])["last_error"][0] == MT5.RES_E_INTERNAL_FAIL_CONNECT
        assert bench.value("connect")["newest_tick_s"] > 0
        assert "value" in bench.ask("snapshot", symbols=[])

    def test_a_terminal_that_refuses_the_credentials_is_not_connected(self) -> None:
        config = load_config(described())
        terminal = SimulatedTerminal(config, SteppedClock(config.start_ms))
        gateway = Gateway(terminal, instance=1, credentials={"login": 1, "password": "x", "server": "y"})
        assert gateway.handle({"call": "connect"})["failed"] == "initialize"

    def test_a_real_module_has_the_machines_clock(self) -> None:
        class Module:
            def last_error(self) -> tuple[int, str]:
                return 1, "Success"

        gateway = Gateway(Module(), instance=1, utc_ms=lambda: 1234)
        assert gateway.handle({"call": "clock"})["value"] == {"simulated": False, "utc_ms": 1234, "rate": 1.0}


def test_messages_are_json_and_nothing_else() -> None:
    assert json.loads(encode({"a": [1, 2.5, None, "x", math.nan]})) == {"a": [1, 2.5, None, "x", None]}
    for data in (b"\x80\x04\x95", b"[]", b"1", b"", b"\xff\xfe"):
        with pytest.raises(ValueError, match=r".*"):
            decode(data)
