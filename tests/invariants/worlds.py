"""Worlds made of what was really played: the terminal's own books beside what the engine stored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.invariants.books import told
from tests.replay.windows import Played, config_of, settings_of

from dtms.audit.invariants import judge
from dtms.audit.violations import Violation
from dtms.audit.world import Books, World
from dtms.domain.trade import State, Trade
from dtms.ports.store import Controls, KeptKind, Store
from dtms.settings import Settings
from dtms.terminal.simulated.config import SimConfig

ALL_STATES = frozenset(State)
FACTS_AT_ONCE = 1_000_000


async def books_of(store: Store, acknowledged: frozenset[int] = frozenset()) -> Books:
    """Read all that a store has."""
    loaded, intents = await store.load(), await store.intents()
    tickets = {intent.ticket for intent in intents if intent.ticket}
    entries = {e.ticket: e for e in (*await store.ownerships(), *await store.ownerships(sorted(tickets)))}
    return Books(
        trades=await _trades(store, loaded.tickets),
        stored=loaded.tickets,
        intents=intents,
        facts=await store.facts(limit=FACTS_AT_ONCE),
        facts_since_ms=0,
        controls=loaded.controls,
        acknowledged=acknowledged,
        ownerships=tuple(entries.values()),
        managed=await store.managed(),
        plans=await store.plans(),
        letters=frozenset(int(kept.key) for kept in await store.kept(KeptKind.REGISTRATION)),
    )


async def _trades(store: Store, tickets: frozenset[int]) -> Sequence[Trade]:
    found = [await store.trade(ticket) for ticket in sorted(tickets)]
    return [trade for trade in found if trade is not None]


async def world_of(on: Any, config: SimConfig, settings: Settings, **known: Any) -> World:
    """Look at both sides of what runs: a stage, or a site of managers."""
    acknowledged = known.pop("acknowledged", frozenset())
    specs = [symbol.spec for symbol in config.symbols]
    ledger = told(on.terminal.simulation.ledger, specs, config.account, on.clock.market_ms())
    ledger = replace(ledger, median_spread=known.pop("median_spread", {}))
    return World(ledger=ledger, books=await books_of(on.store, acknowledged), settings=settings, **known)


def played_world(played: Played) -> World:
    """Make a world of a window that was played to its end, with the engine running to the end."""
    config = config_of(played.window)
    until_ms = max(f.market_ms for f in played.facts) + 1_000
    ledger = told(played.ledger, [s.spec for s in config.symbols], config.account, until_ms)
    return World(ledger=ledger, books=books_of_played(played), settings=settings_of(played.window))


def books_of_played(played: Played) -> Books:
    return Books(
        trades=(played.trade,),
        stored=frozenset({played.trade.ticket}),
        intents=list(played.intents.values()),
        facts=played.facts,
        facts_since_ms=0,
        controls=Controls(),
        acknowledged=frozenset({played.ticket}),
    )


def broken(world: World) -> tuple[Violation, ...]:
    return judge(world).violations


def require_sound(world: World) -> None:
    """Assert that every invariant holds, and name those that do not."""
    found = broken(world)
    assert not found, "\n".join(map(str, found))
