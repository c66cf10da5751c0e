"""A trade with a past: warned, its stop tightened, a refusal, warned deeper."""

import asyncio
from dataclasses import replace
from typing import Any

from tests.server.double import START_MS, fact
from tests.server.world import World

from dtms.domain.facts import FactKind, Json
from dtms.domain.trade import Machine, State
from dtms.ports.store import Evaluation

MINUTE = 60_000


def body_of(total: float, close: float = 1.1) -> dict[str, Json]:
    """Make an evaluation's body as the market view writes it."""
    return {
        "total": total,
        "scale": 1.0,
        "readings": [
            {"layer": "structure", "points": -3.0, "raw": -3.0, "factor": 1.0, "reason": "break down at 1.0950"},
            {"layer": "momentum", "points": total + 3.0, "raw": 0.5, "factor": 1.0, "reason": "RSI 44"},
        ],
        "absent": ["flow"],
        "regime": {"text": "London, normal, trend"},
        "figures": {"close": close},
    }


def evaluation(minute: int, score: float, close: float = 1.1) -> Evaluation:
    return Evaluation(
        symbol="EURUSD",
        direction="BUY",
        bar_ms=START_MS + minute * MINUTE,
        score=score,
        regime="London",
        body=body_of(score, close),
    )


def transition(minute: int, before: State, after: State, score: float) -> Any:
    return fact(
        FactKind.TRANSITION,
        42,
        START_MS + minute * MINUTE,
        **{"from": before.value, "to": after.value, "rule": "r", "reason": "because", "score": score, "price": 1.095},
    )


def lived(world: World) -> None:
    """Give ticket 42 a past: warned after 10 minutes, its stop tightened, a refusal, warned deeper after 20."""
    asyncio.run(world.enable(42))
    world.store.scored += [evaluation(0, 1.0), evaluation(10, -4.0, 1.095), evaluation(20, -6.0, 1.094)]
    world.store.add(transition(10, State.HEALTHY, State.WARNING_L1, -4.0))
    world.store.add(
        fact(
            FactKind.ACTION,
            42,
            START_MS + 10 * MINUTE,
            action="tighten_stop",
            success=True,
            stop=1.092,
            old_stop=1.09,
            position=42,
        )
    )
    world.store.add(fact(FactKind.REFUSAL, 42, START_MS + 12 * MINUTE, action="open_hedge", rail="spread"))
    world.store.add(transition(20, State.WARNING_L1, State.WARNING_L2, -6.0))
    world.clock.now_ms = START_MS + 30 * MINUTE
    machine = Machine(state=State.WARNING_L2, entered_ms=START_MS + 20 * MINUTE)
    live = world.service.lives[42]
    trade = replace(live.trade, machine=machine, stop=1.092, version=4)
    world.store.rows[42] = trade
    world.service.lives[42] = replace(live, trade=trade, score=-6.0, price=1.094, profit=-60.0)
