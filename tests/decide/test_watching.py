"""What becomes of a position that appeared: every row of the table."""

from dataclasses import replace
from decimal import Decimal

import pytest

from dtms.decide.watching import Fate, fate_of
from dtms.domain.actions import ActionKind, Intent, IntentState, OpenPosition
from dtms.domain.market import Side
from dtms.domain.owners import Asker, Ownership, Standing
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Owner, State, Trade

POSITION = Position(
    ticket=7,
    identifier=7,
    symbol="EURUSD",
    side=Side.LONG,
    volume=Decimal("0.10"),
    entry=1.1,
    stop=1.09,
    target=None,
    price_now=1.1,
    profit=0.0,
    swap=0.0,
    magic=0,
    comment="",
    opened_ms=1,
)
TRADE = Trade(
    ticket=7,
    identifier=7,
    login=1,
    server="Demo",
    symbol="EURUSD",
    side=Side.LONG,
    entry=1.1,
    initial_volume=Decimal("0.10"),
    initial_stop=1.09,
    risk=0.01,
    nominal_risk=False,
    registered_ms=1,
    opened_ms=1,
    volume=Decimal("0.10"),
    stop=1.09,
    target=None,
)
OWNED = Ownership(
    ticket=7, identifier=7, login=1, server="Demo", symbol="EURUSD", side=Side.LONG, owner=Owner.UNIVERSAL.value
)
EXECUTED = Intent(
    number=5,
    ticket=0,
    action=OpenPosition(
        kind=ActionKind.EXECUTE, symbol="EURUSD", side=Side.LONG, volume=Decimal("0.10"), stop=None, target=None
    ),
    serves=None,
    state=IntentState.CONFIRMED,
    token=1,
    created_ms=1,
    asker=Asker.EXECUTION,
)
HEDGE = replace(
    EXECUTED,
    asker=Asker.DTMS,
    action=OpenPosition(
        kind=ActionKind.OPEN_HEDGE, symbol="EURUSD", side=Side.SHORT, volume=Decimal("0.10"), stop=1.2, target=None
    ),
)
NOTHING = Standing(ticket=7)


def fate(
    standing: Standing = NOTHING, *, number: int | None = None, intent: Intent | None = None, magic: int = 0
) -> Fate:
    return fate_of(replace(POSITION, magic=magic), standing=standing, number=number, intent=intent, magics=(777,))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (fate(), Fate.DTMS),
        (fate(magic=777), Fate.DTMS),
        (fate(magic=4711), Fate.OTHER_PROGRAM),
        (fate(Standing(ticket=7, ownership=OWNED)), Fate.OWNED),
        (fate(Standing(ticket=7, ownership=replace(OWNED, owner="something new"))), Fate.OWNED),
        (fate(Standing(ticket=7, trade=TRADE)), Fate.OWNED),
        (fate(Standing(ticket=7, trade=replace(TRADE, disabled=True))), Fate.LEFT),
        (fate(Standing(ticket=7, trade=replace(TRADE, machine=Machine(state=State.CLOSED)))), Fate.ORPHAN),
        (fate(Standing(ticket=7, trade=replace(TRADE, identifier=99))), Fate.DTMS),
        (fate(number=5), Fate.ORPHAN),
        (fate(number=5, intent=HEDGE), Fate.FAMILY),
        (fate(number=5, intent=EXECUTED), Fate.DTMS),
        (fate(number=5, intent=replace(EXECUTED, strategy_type="breakout_bos")), Fate.UNIVERSAL),
        (fate(number=5, intent=replace(EXECUTED, state=IntentState.UNKNOWN)), Fate.WAITS),
        (fate(number=5, intent=replace(EXECUTED, state=IntentState.NOT_EXECUTED)), Fate.DTMS),
    ],
)
def test_every_row_of_the_table(found: Fate, expected: Fate) -> None:
    assert found is expected


def test_only_what_can_still_change_by_itself_is_looked_at_again() -> None:
    assert {f for f in Fate if not f.is_settled} == {Fate.WAITS, Fate.UNIVERSAL, Fate.DTMS, Fate.ORPHAN}
