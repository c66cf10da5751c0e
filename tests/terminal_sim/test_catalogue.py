"""Every retcode of the catalogue that a rule of the trade server can give is given, by doing what calls for it.

The rest can only be forced upon an answer: a dealer's cancel, processing errors, timeouts, locks.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

BUY, SELL = 0, 1
BUY_LIMIT = 2
FOK, IOC, RETURN = 0, 1, 2

CATALOGUE = frozenset(
    {10004, 10006, 10007, 10008, 10009, 10010, 10011, 10012, 10013, 10014, 10015, 10016, 10017, 10018, 10019, 10020}
    | {10021, 10022, 10023, 10024, 10025, 10026, 10027, 10028, 10029, 10030, 10031, 10032, 10033, 10034, 10035, 10036}
    | {10038, 10039, 10040, 10041, 10042, 10043, 10044, 10045, 10046}
)
FORCED = frozenset({10007, 10011, 10012, 10023, 10028, 10041})

Deed = Callable[[Lab], int]


def buy(**request: Any) -> Deed:
    return lambda lab: lab.market(BUY, **request).retcode


def sell(**request: Any) -> Deed:
    return lambda lab: lab.market(SELL, **request).retcode


def place(**request: Any) -> Deed:
    usual = {"action": 5, "type": BUY_LIMIT, "volume": 0.1, "price": price(-50), "type_filling": RETURN}
    return lambda lab: lab.send(**usual | request).retcode


def on_position(deed: Callable[[Lab, int], int], side: int = BUY, lots: float = 0.4, **request: Any) -> Deed:
    """Open a position first, whatever the permissions are by then, and act on it."""
    return lambda lab: deed(lab, lab.opened(side, lots, **request))


def close(lots: float = 0.1, filling: int = FOK, **request: Any) -> Callable[[Lab, int], int]:
    return lambda lab, ticket: (
        lab.send(action=1, type=SELL, volume=lots, type_filling=filling, position=ticket, **request).retcode
    )


def levels(**points: int) -> Callable[[Lab, int], int]:
    return lambda lab, ticket: lab.levels(ticket, **{name: price(at) for name, at in points.items()}).retcode


def after(name: str, value: object, deed: Deed) -> Deed:
    """Change a condition, and then act."""

    def done(lab: Lab) -> int:
        lab.terminal.simulation.world.set(name, value)
        return deed(lab)

    return done


def twice(deed: Deed) -> Deed:
    """Give the answer to the second of two equal deeds, of which the first is accepted."""

    def done(lab: Lab) -> int:
        assert deed(lab) in (10009, 10010)
        return deed(lab)

    return done


def unseen(deed: Deed) -> Deed:
    """Act on a symbol outside Market Watch."""

    def done(lab: Lab) -> int:
        assert lab.terminal.symbol_select(lab.symbol, False)
        return deed(lab)

    return done


def at_night(deed: Deed) -> Deed:
    def done(lab: Lab) -> int:
        lab.minute(8)
        return deed(lab)

    return done


def closed_twice(lab: Lab, ticket: int) -> int:
    assert close(0.4)(lab, ticket) == 10009
    return close(0.4)(lab, ticket)


def second_close_in_flight(lab: Lab, ticket: int) -> int:
    lab.terminal.simulation.world.set("manners.fill_lots_max", 0.1)
    assert close(0.4, RETURN)(lab, ticket) == 10010
    return close(0.1, RETURN)(lab, ticket)


def newest_first(lab: Lab, _: int) -> int:
    return close(0.4)(lab, lab.opened(BUY, 0.4))


EXCHANGE = {"spec": {"exemode": 3}}
INSTANT = {"spec": {"exemode": 1}}
PARTS = {"manners": {"fill_lots_max": 0.1}}

PROOFS: tuple[tuple[int, Deed, dict[str, Any]], ...] = (
    (10004, buy(price=price(-90), deviation=5), INSTANT),
    (10006, buy(lots=0.4), PARTS),
    (10008, buy(), {"manners": {"execution_delay_ms": 1_000}}),
    (10009, buy(), {}),
    (10010, lambda lab: lab.send(action=1, type=BUY, volume=0.4, type_filling=IOC).retcode, PARTS),
    (10013, lambda lab: lab.send(action=77).retcode, {}),
    (10014, buy(lots=0.105), {}),
    (10015, place(price=price(50)), {}),
    (10016, buy(sl=price(50)), {}),
    (10017, after("switches.account_trade_allowed", False, buy()), {}),
    (10018, at_night(buy()), {}),
    (10019, buy(lots=50.0), {}),
    (10020, buy(price=price(-90), deviation=5), INSTANT | {"manners": {"moved_price": "price_changed"}}),
    (10021, unseen(buy()), {}),
    (10022, place(type_time=2, expiration=1), {}),
    (10024, twice(buy()), {"manners": {"requests_per_minute": 1}}),
    (10025, on_position(levels(sl=-50), sl=price(-50)), {}),
    (10026, after("switches.account_trade_expert", False, buy()), {}),
    (10027, after("switches.terminal_trade_allowed", False, buy()), {}),
    (10029, on_position(close(), sl=price(-20)), {"spec": {"freeze_level_points": 30}}),
    (10030, lambda lab: lab.send(action=1, type=BUY, volume=0.1, type_filling=RETURN).retcode, {}),
    (10031, after("switches.connected", False, buy()), {}),
    (10032, buy(), {"manners": {"only_real": True}}),
    (10033, twice(place()), {"account": {"limit_orders": 1}}),
    (10034, twice(buy()), {"spec": {"volume_limit_lots": 0.15}}),
    (10035, place(type=BUY), {}),
    (10036, on_position(closed_twice), {}),
    (10038, on_position(close(0.5)), {}),
    (10039, on_position(second_close_in_flight), EXCHANGE),
    (10040, twice(buy()), {"account": {"limit_positions": 1}}),
    (10042, after("symbol.EURUSD.trade_mode", 1, sell()), {}),
    (10043, after("symbol.EURUSD.trade_mode", 2, buy()), {}),
    (10044, after("symbol.EURUSD.trade_mode", 3, buy()), {}),
    (10045, on_position(newest_first), {"account": {"fifo_close": True}}),
    (10046, on_position(lambda lab, _: sell()(lab)), {"account": {"hedge_allowed": False}}),
)


@pytest.mark.parametrize(("retcode", "deed", "options"), PROOFS, ids=[str(row[0]) for row in PROOFS])
def test_doing_what_calls_for_a_retcode_gives_it(
    bench: MakeLab, retcode: int, deed: Deed, options: dict[str, Any]
) -> None:
    minutes: list[Minute] = [FLAT] * 5 + [None] * 60 + [FLAT]
    lab = bench(minutes, **options)
    assert deed(lab) == retcode
    note = lab.terminal.simulation.ledger.requests[-1]
    assert note.retcode == retcode


def test_every_retcode_is_proven_here_or_can_only_be_forced() -> None:
    proven = {row[0] for row in PROOFS}
    assert proven | FORCED == CATALOGUE
    assert not proven & FORCED
