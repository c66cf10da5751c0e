"""A broker's list that leaves a position out: nothing is concluded from it, and no move passes for done on it."""

from random import Random
from typing import Any

import pytest
from tests.execute.unsteady import Scene, play
from tests.replay.judge import OUT, check_invariants, is_ours, lots
from tests.replay.windows import SHIPPED, Window

from dtms.domain.trade import State

SHARE_SHORT = 0.35


def shorten(scene: Scene, seed: int) -> None:
    """Leave the trade's own position out of some of the full lists, at random but the same in every run."""
    whole, random = scene.terminal._terminal.positions_get, Random(seed)

    def short(*arguments: Any, **named: Any) -> Any:
        found = whole(*arguments, **named)
        if named or random.random() >= SHARE_SHORT:
            return found
        return None if found is None else tuple(p for p in found if p.ticket != scene.ticket)

    scene.terminal.positions_get = short  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("window", SHIPPED, ids=lambda w: f"{w.recording}-{w.side.direction}-{w.rules[-1]}")
def test_no_move_is_made_on_a_list_without_the_position(window: Window, seed: int) -> None:
    """With a third of the lists short the trade is warned all the same, and ends only with its position closed."""

    async def begin(scene: Scene) -> None:
        shorten(scene, seed)

    played, scene = play(window, during=begin)
    check_invariants(played.books, window.spec)
    left = played.books.open_lots(scene.ticket, 2**62)
    assert (played.trade.machine.state is State.CLOSED) == (left == 0)
    told = [f.summary for f in played.facts]
    assert not [summary for summary in told if " 0 lots" in summary]
    closed = [d for d in played.books.deals if d.position_id == scene.ticket and d.entry == OUT and is_ours(d.magic)]
    assert played.trade.closed_by_dtms <= sum(lots(d.units) for d in closed)
    assert played.of_rule("warned")
