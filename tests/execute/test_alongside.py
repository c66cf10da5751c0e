"""Beside another owner DTMS acts in defence alone, and leaves it for HEALTHY."""

from collections.abc import Mapping

import pytest
from tests.replay.windows import BESIDE, Window, played

from dtms.decide.trade_state import TABLE, Move, moves_of
from dtms.domain.actions import ActionKind
from dtms.domain.facts import FactKind
from dtms.domain.trade import Owner, State

DEFENCE: Mapping[str, tuple[Move, ...]] = {
    "position_gone": (Move.CLOSE_REST,),
    "worsened": (Move.CLOSE_PART, Move.BREAKEVEN),
    "hedged": (Move.OPEN_HEDGE,),
    "given_up_unhedged": (Move.CLOSE_ALL,),
    "turned_alongside": (Move.CLOSE_HEDGE,),
    "given_up_hedged": (Move.CLOSE_ALL,),
}
"""What DTMS does beside an owner; every other row is stepped without a move."""


@pytest.mark.parametrize("row", [r for r in TABLE if r.rule != "turned"], ids=lambda row: row.rule)
def test_only_rows_of_defence_act(row: object) -> None:
    made = next(r for r in TABLE if r is row)
    assert moves_of(made, alongside=True) == DEFENCE.get(made.rule, ())
    assert moves_of(made, alongside=False) == made.moves


@pytest.mark.parametrize("window", BESIDE, ids=lambda window: window.title)
def test_a_trade_is_defended_beside_its_owner_and_left_healthy(window: Window) -> None:
    """A market that ends in a recovery: halved, hedged, and once it turned nothing added; no owner holds it back."""
    beside = played(window)
    (left,) = beside.of_rule("turned_alongside")
    assert left.details["to"] == State.HEALTHY.value
    assert beside.books.hedged_lots(left.market_ms) == 0
    done = {i.action.kind for i in beside.intents.values()}
    assert {ActionKind.CLOSE_PART, ActionKind.OPEN_HEDGE} <= done
    assert not done & {ActionKind.TIGHTEN, ActionKind.READD}
    assert beside.trade.owner is Owner.UNIVERSAL
    held = [f.summary for f in beside.facts if f.kind in (FactKind.HELD, FactKind.REFUSAL)]
    assert not [told for told in held if "universal" in told or "defensive" in told]
