"""Beside another owner DTMS acts in defence alone, and leaves it for HEALTHY."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.execute.claims import claim
from tests.execute.restarting import Lives
from tests.replay.judge import check_invariants
from tests.replay.windows import EUR, LONG, SHIPPED, Played, Window

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.trade_state import TABLE, Move, moves_of
from dtms.domain.actions import ActionKind
from dtms.domain.facts import FactKind
from dtms.domain.trade import Owner, State
from dtms.execute.service import Registration

RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
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


def played_beside(window: Window, folder: Path) -> Played:
    """Play a window with a trade that the Universal manager owns."""

    async def main() -> Played:
        lives = await Lives.begin(window, folder, register=False)
        await lives.on.play(30.5)
        (lives.ticket,) = lives.held()
        await claim(lives, lives.ticket)
        await lives.on.engine.register(Registration(ticket=lives.ticket, alongside=True))
        await lives.on.play(window.hours * 60)
        return await lives.end()

    return run_virtual(main())


def test_a_trade_is_defended_beside_its_owner_and_left_healthy(tmp_path: Path) -> None:
    """The market that ends in a recovery: halved, hedged, and once it turns the hedge is closed; nothing is added."""
    played = played_beside(RECOVERED, tmp_path)
    rules = [str(f.details["rule"]) for f in played.transitions]
    assert rules[:4] == ["warned", "worsened", "hedged", "turned_alongside"]
    assert not {"turned", "recovered", "recovery_failed"} & set(rules)
    (left, *_) = played.of_rule("turned_alongside")
    assert left.details["to"] == State.HEALTHY.value
    assert played.books.hedged_lots(left.market_ms) == 0
    done = [i.action.kind for i in played.intents.values()]
    assert ActionKind.TIGHTEN not in done
    assert ActionKind.READD not in done
    assert {ActionKind.CLOSE_PART, ActionKind.OPEN_HEDGE, ActionKind.CLOSE_HEDGE} <= set(done)
    assert played.trade.owner is Owner.UNIVERSAL
    check_invariants(played.books, RECOVERED.spec)
    held = [f.summary for f in played.facts if f.kind in (FactKind.HELD, FactKind.REFUSAL)]
    assert not [told for told in held if "universal" in told or "defensive" in told]
