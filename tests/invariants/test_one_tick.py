"""One tick decides: a stop that would come to lie a tick worse, or where it is, stays; a tick better is taken."""

import pytest
from tests.decide.builders import TICKET, position, sight

from dtms.decide.defence import Plan, plan
from dtms.decide.trade_state import Move
from dtms.domain.actions import MoveStop
from dtms.domain.market import Side

TICK = 0.00001


@pytest.mark.parametrize(("ticks_better", "moves"), [(-1, False), (0, False), (1, True)])
@pytest.mark.parametrize("side", Side, ids=lambda side: side.direction)
def test_a_stop_moves_only_for_the_better(side: Side, ticks_better: int, moves: bool) -> None:
    """The live stop is put so many ticks behind the one that tightening comes to."""
    free = plan(Move.TIGHTEN, sight(side))
    assert isinstance(free, Plan)
    (wanted,) = free.actions
    assert isinstance(wanted, MoveStop)
    live = round(wanted.stop - side.sign * ticks_better * TICK, 5)
    planned = plan(Move.TIGHTEN, sight(side, own=position(TICKET, side, "0.4", stop=live)))
    assert isinstance(planned, Plan)
    assert bool(planned.actions) is moves
