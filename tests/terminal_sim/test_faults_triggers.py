"""Faults as values: which calls they meet and when, what is refused, that they repeat, that none leaves no trace."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.faults import Fault, When, described, parse_fault, parse_faults
from dtms.terminal.simulated.faults_kinds import ROWS, FaultKind
from dtms.terminal.simulated.faults_layer import ACTS, REAL_TIME
from dtms.terminal.simulated.faults_names import CALLS, GROUPS
from dtms.terminal.simulated.structs import TradePosition

MARKET: list[Minute] = [FLAT, (0, 80, -60, 40), (40, 90, 30, 35), (35, 36, -120, -100), *[(-100, -90, -110, -95)] * 6]


def test_every_kind_has_a_meaning_and_something_that_it_does() -> None:
    assert set(ROWS) == set(ACTS) == set(FaultKind)
    assert all(row.meaning and row.calls <= CALLS for row in ROWS.values())
    assert all(calls <= CALLS for calls in GROUPS.values())


@pytest.mark.parametrize("kind", FaultKind)
def test_what_is_described_reads_back_as_the_same(kind: FaultKind) -> None:
    start_ms = 1_507_000_000_000
    when = When(nth=3, times=2, probability=0.25, seed=9, for_s=4, from_ms=start_ms, until_ms=start_ms + 9)
    for fault in (Fault(kind=kind), Fault(kind=kind, when=when)):
        written = json.loads(json.dumps(described(fault)))
        assert parse_fault(written) == fault


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"kind": "nonsense"}, "nonsense"),
        ({}, "FaultKind"),
        ({"kind": "lost_executed", "code": -2}, "-10005"),
        ({"kind": "lost_executed", "calls": ["positions_get"]}, "cannot concern positions_get"),
        ({"kind": "none", "calls": ["shutdown"]}, "cannot concern shutdown"),
        ({"kind": "lag", "ms_max": "800"}, "ms_max: must be int"),
        ({"kind": "lag", "ms": 800}, "unknown key 'ms'"),
        ({"kind": "stale_list", "age_s": float("nan")}, "age_s"),
        ({"kind": "lag", "nth": 0}, "nth"),
        ({"kind": "lag", "probability": 1.5}, "probability"),
        ({"kind": "lag", "of": "everything"}, "everything"),
        ({"kind": "lag", "from": "tomorrow"}, "tomorrow"),
        ("lag", "entry 1"),
    ],
)
def test_what_is_no_fault_is_refused_by_place_and_name(entry: Any, told: str) -> None:
    with pytest.raises(ValueError, match="faults, entry 1") as refused:
        parse_faults([entry])
    assert told in str(refused.value)


def seen(lab: Lab, count: int) -> list[bool]:
    """Ask for the positions so many times, a second apart; say which times there was no answer."""
    missed = []
    for _ in range(count):
        missed.append(lab.terminal.positions_get() is None)
        lab.clock.advance(1)
    return missed


class TestWhen:
    def add(self, lab: Lab, **when: Any) -> None:
        lab.terminal.simulation.faults.add({"kind": "none", "calls": ["positions_get"], **when})

    def test_from_the_nth_matching_call_on_for_so_many_times(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        self.add(lab, nth=3, times=2)
        lab.terminal.orders_get()
        assert seen(lab, 6) == [False, False, True, True, False, False]
        assert lab.terminal.simulation.faults.active == ()

    def test_times_of_zero_has_no_end_until_cleared(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        self.add(lab, times=0)
        assert seen(lab, 5) == [True] * 5
        assert lab.terminal.simulation.faults.clear() == 1
        assert seen(lab, 2) == [False] * 2

    def test_within_a_window_of_the_terminals_time(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        now_ms = lab.terminal.simulation.utc_ms()
        self.add(lab, times=0, **{"from": now_ms + 2_000, "until": now_ms + 4_000})
        assert seen(lab, 6) == [False, False, True, True, False, False]
        assert lab.terminal.simulation.faults.active == ()

    def test_once_it_happened_it_goes_on_for_so_long(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        self.add(lab, nth=2, for_s=3)
        assert seen(lab, 7) == [False, True, True, True, False, False, False]

    def test_by_chance_the_same_for_the_same_seed(self, bench: MakeLab) -> None:
        def drawn(seed: int) -> list[bool]:
            lab = bench([FLAT] * 10)
            self.add(lab, times=0, probability=0.3, seed=seed)
            return seen(lab, 200)

        assert drawn(1) == drawn(1)
        assert drawn(1) != drawn(2)
        assert 35 <= sum(drawn(1)) <= 85

    @pytest.mark.parametrize(
        ("of", "missed"),
        [
            ("opening", [True, False, False, False]),
            ("levels", [False, True, False, False]),
            ("closing", [False, False, True, False]),
            ("pending", [False, False, False, True]),
            ("any", [True, True, True, True]),
        ],
    )
    def test_of_chooses_among_requests(self, bench: MakeLab, of: str, missed: list[bool]) -> None:
        lab = bench([FLAT] * 10)
        ticket = lab.opened(0, 0.2)
        lab.terminal.simulation.faults.add({"kind": "lost_unexecuted", "of": of, "times": 0})
        deal = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type_filling": 0}
        requests: list[dict[str, Any]] = [
            {**deal, "type": 0},
            {"action": 6, "symbol": "EURUSD", "position": ticket, "sl": price(-99)},
            {**deal, "type": 1, "position": ticket},
            {**deal, "action": 5, "type": 2, "type_filling": 2, "price": price(-200)},
        ]
        assert [lab.terminal.order_send(request) is None for request in requests] == missed

    def test_a_symbol_chooses_among_calls_that_name_one(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        lab.terminal.simulation.faults.add({"kind": "none", "calls": ["quotes"], "symbol": "GBPUSD", "times": 0})
        assert lab.terminal.symbol_info_tick("EURUSD") is not None
        assert lab.terminal.symbol_info_tick("GBPUSD") is None
        assert lab.terminal.simulation.faults.fired == {FaultKind.NONE: 1}

    def test_several_faults_meet_one_call_and_each_is_counted(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        lab.opened(0)
        faults = lab.terminal.simulation.faults
        faults.add({"kind": "empty_list", "times": 1})
        faults.add({"kind": "outside_open", "calls": ["positions_get"]})
        assert lab.terminal.positions_get() == ()
        assert len(lab.terminal.positions_get() or ()) == 2
        assert faults.fired == {FaultKind.EMPTY_LIST: 1, FaultKind.OUTSIDE_OPEN: 1}


def story(lab: Lab) -> list[Any]:
    """Do what a caller does, and give everything that it was told."""
    told: list[Any] = []
    lab.minute(0)
    for step in range(16):
        request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": step % 2, "type_filling": 0, "magic": step}
        told += [lab.terminal.order_send(request), lab.terminal.last_error()]
        positions: tuple[TradePosition, ...] = lab.terminal.positions_get() or ()
        if positions:
            levels = {"action": 6, "symbol": "EURUSD", "position": positions[0].ticket, "sl": price(-200 - step)}
            told += [lab.terminal.order_send(levels), lab.terminal.last_error()]
        told += [positions, lab.terminal.orders_get(), lab.terminal.history_deals_get(0, 2**33)]
        told += [lab.terminal.symbol_info_tick("EURUSD"), lab.terminal.symbol_info("EURUSD")]
        told += [lab.terminal.account_info(), lab.terminal.terminal_info(), lab.terminal.positions_total()]
        rows = lab.terminal.copy_rates_from_pos("EURUSD", 1, 0, 5)
        told += [None if rows is None else rows.tobytes()]
        lab.clock.advance(20)
    return told


ALL_KINDS = [{"kind": kind, "probability": 0.15, "seed": 4, "times": 0} for kind in FaultKind if kind not in REAL_TIME]


class TestNoTrace:
    def test_with_none_that_happens_every_answer_and_the_journal_are_the_same_to_the_bit(
        self, bench: MakeLab, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal.jsonl"
        runs = []
        for faults in ([], [{**entry, "nth": 1_000_000} for entry in ALL_KINDS]):
            lab = bench(MARKET, journal="journal.jsonl")
            for entry in faults:
                lab.terminal.simulation.faults.add(entry)
            told = story(lab)
            lab.terminal.simulation.close()
            assert len(lab.terminal.simulation.faults.active) == len(faults)
            runs.append((told, path.read_bytes()))
            for left in (path, tmp_path / "journal.jsonl.faults.json"):
                left.unlink(missing_ok=True)
        assert runs[0] == runs[1]

    def test_once_gone_nothing_stands_in_the_way_of_a_call(self, bench: MakeLab) -> None:
        lab = bench([FLAT] * 10)
        lab.terminal.simulation.faults.add({"kind": "none", "calls": ["orders_get"]})
        assert lab.terminal._layer is not None
        lab.terminal.orders_get()
        assert lab.terminal._layer is None
        assert lab.terminal.simulation.faults.fired[FaultKind.NONE] == 1

    def test_the_same_seed_and_calls_give_the_same_faults(self, bench: MakeLab) -> None:
        """Every kind at once, by chance; what is told is compared as text, in which NaN equals NaN."""
        runs = []
        for _ in range(2):
            lab = bench(MARKET)
            for entry in ALL_KINDS:
                lab.terminal.simulation.faults.add(entry)
            runs.append((repr(story(lab)), dict(lab.terminal.simulation.faults.fired)))
        assert runs[0] == runs[1]
        assert len(runs[0][1]) > 30
