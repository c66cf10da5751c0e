"""How positions come into the managers' hands, and leave them: by request, and by what the registry says.

A claim for the Universal manager changes the registry under the ticket's free lease, with compare-and-set, together
with the manager's memory: either both are there or neither is.
"""

import asyncio
from dataclasses import dataclass, replace

from dtms.decide import exits_rules
from dtms.decide.adoption import adopt
from dtms.decide.strategies import resolve, timeframe_of
from dtms.domain.actions import Intent
from dtms.domain.errors import ChangedMeanwhile, LeaseHeld
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.market import Timeframe
from dtms.domain.owners import Ownership, Standing
from dtms.domain.position import DealEntry, Position
from dtms.domain.strategies import UnknownStrategy, strategy_of
from dtms.domain.trade import Owner, State
from dtms.execute.leases import Held, Leases
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.news import ended
from dtms.execute.managing.presence import closed_by
from dtms.execute.managing.sights import Sights
from dtms.execute.trading.service import Code, TradingRefused
from dtms.market.levels import Levels
from dtms.market.regime import session_at
from dtms.ports.store import Free, Unit

TRIES = 3
"""How often a claim is judged anew when the registry changed while it was made."""


class ManagingRefused(TradingRefused):
    """A request to the managers was refused; nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A position that is to be taken over, and what is true of its ticket."""

    position: Position
    standing: Standing
    atr_m15: float | None
    costs: float


class Claiming:
    """Takes positions over and gives them away."""

    def __init__(self, bench: Bench, floor: Floor, sights: Sights) -> None:
        self._bench = bench
        self._floor = floor
        self._sights = sights
        self._lock = asyncio.Lock()
        """One registration at a time: requests and the registry's reader may mean the same position."""

    # --- Universal -----------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a registration is under way, which may wait for another's lease."""
        return self._lock.locked()

    async def register(
        self, ticket: int, strategy_type: str, correlation_id: str | None = None, *, is_patient: bool = True
    ) -> Managed:
        """Give a position to the Universal manager, with rules that are resolved now and frozen.

        Args:
            is_patient: whether it waits for another's lease as long as one may, or as the loop does.

        Raises:
            ManagingRefused: with the owner, or what else stands in the way.
            BrokerUnavailable, StoreFailed, PermissionGone: when it could not be done; nothing changed.
        """
        _known_strategy(strategy_type)
        leases = self._bench.claims if is_patient else self._bench.leases
        async with self._lock:
            return await self._register(ticket, strategy_type, correlation_id, leases)

    async def _register(self, ticket: int, strategy_type: str, correlation_id: str | None, leases: Leases) -> Managed:
        for _ in range(TRIES):
            found = await self._find(ticket)
            known = self._registered(ticket, strategy_type)
            if known is not None:
                return known
            self._require_claimable(found)
            try:
                return await self._claim(found, strategy_type, correlation_id, leases)
            except LeaseHeld as held:
                raise ManagingRefused(Code.LEASE_HELD, f"{held}.", {"ticket": ticket, "holder": held.holder}) from held
            except ChangedMeanwhile:
                continue
        raise ManagingRefused(Code.CONFLICT, f"Position {ticket} changes hands just now; ask again.")

    def _registered(self, ticket: int, strategy_type: str) -> Managed | None:
        """Return what the manager has of a position already; another strategy has to wait until it lets go of it."""
        charge = self._floor.charges.get((Owner.UNIVERSAL, ticket))
        if charge is None:
            return None
        rules = charge.managed.rules
        known = getattr(rules, "strategy_type", "")
        if known != strategy_type:
            told = f"Position {ticket} is managed as {known}: unregister it first."
            raise ManagingRefused(Code.CONFLICT, told, {"ticket": ticket, "strategy_type": known})
        return charge.managed

    def _require_claimable(self, found: _Found) -> None:
        """Pass for what nobody owns, what is Universal's already, and what the watcher gave to DTMS and is at rest."""
        standing, trade = found.standing, found.standing.defended
        if standing.owner in (Owner.NOBODY, Owner.UNIVERSAL):
            return
        yields = trade is not None and trade.by_watcher and trade.state is State.HEALTHY and not trade.members
        if standing.owner is Owner.DTMS and yields:
            return
        owner = standing.ownership.owner if standing.ownership is not None else Owner.DTMS.value
        details: dict[str, Json] = {"ticket": standing.ticket, "managed_by": owner}
        raise ManagingRefused(Code.OWNED, f"Position {standing.ticket} is managed by {owner}.", details)

    async def _claim(self, found: _Found, strategy_type: str, correlation_id: str | None, leases: Leases) -> Managed:
        """Claim it under its lease, held from the look at its owner to the commit: DTMS may turn defensive before."""
        managed, ticket = await self._universal(found, strategy_type), found.position.ticket
        async with leases.held(self._bench.key(ticket, found.position.symbol), ticket) as held:
            found = replace(found, standing=held.standing)
            self._require_claimable(found)
            unit = self._claimed(found, managed, correlation_id)
            await self._bench.store.commit(replace(unit, free=_still(held)))
        for taken in unit.ownership:
            self._floor.ownerships[taken.ticket] = taken
        self._floor.add(managed)
        self._bench.journal.tell(unit.facts)
        return managed

    def _claimed(self, found: _Found, managed: Managed, correlation_id: str | None) -> Unit:
        """Return what a claim changes: the manager's memory, and the registry where it says otherwise."""
        row, strategy_type = found.standing.ownership, getattr(managed.rules, "strategy_type", "")
        mine = row is not None and row.manager is Owner.UNIVERSAL and row.strategy_type == strategy_type
        owned = () if mine else (self._owned(found.position, strategy_type, row),)
        return Unit(managed=(managed,), ownership=owned, facts=self._facts_of_claim(managed, row, correlation_id))

    def _facts_of_claim(self, managed: Managed, row: Ownership | None, correlation_id: str | None) -> tuple[Fact, ...]:
        before = "" if row is None else row.owner
        rules = managed.rules
        told = f"managed by {managed.manager.value} as {getattr(rules, 'strategy_type', 'profit protection')}"
        details: dict[str, Json] = {"owner_before": before, "risk": managed.risk, "nominal_risk": managed.nominal_risk}
        return (self._bench.fact(FactKind.MANAGED, told, managed, details, correlation_id),)

    async def _universal(self, found: _Found, strategy_type: str) -> Managed:
        """Resolve the rules, and take R from what is known of the position, else from its stop."""
        bench, position = self._bench, found.position
        timeframe = timeframe_of(strategy_type)
        levels = await self._levels(position.symbol, timeframe)
        now = bench.clock.market_ms()
        baseline = None if levels is None else levels.atr_baseline
        rules = resolve(strategy_type, position.symbol, session_at(now), baseline, bench.settings.universal)
        login, server = bench.account
        return adopt(
            position,
            rules,
            login=login,
            server=server,
            now_ms=now,
            atr_m15=found.atr_m15,
            settings=bench.settings,
            costs=found.costs,
            known=found.standing.defended or self._other(Owner.EXITS, position.ticket),
        )

    async def unregister(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """Take a position out of the Universal manager's hands; nobody owns it then, and nothing is closed.

        Raises:
            ManagingRefused: when the manager has no such position, or another has its lease.
        """
        charge = self._charge(Owner.UNIVERSAL, ticket)
        key = self._bench.key(ticket, charge.managed.symbol)
        try:
            # The lease first: whoever waits for it with the position in hand would keep the loop from all others.
            async with self._bench.claims.held(key, ticket) as held, charge.lock:
                return await self._given_up(charge, held, correlation_id)
        except LeaseHeld as held_by:
            details: dict[str, Json] = {"ticket": ticket, "holder": held_by.holder}
            raise ManagingRefused(Code.LEASE_HELD, f"{held_by}.", details) from held_by

    async def _given_up(self, charge: Charge, held: Held, correlation_id: str | None) -> Managed:
        if self._floor.charges.get(charge.key) is not charge:
            raise ManagingRefused(Code.NOT_FOUND, "It left the manager's hands meanwhile.")
        row = (await self._bench.store.standing(charge.managed.ticket)).ownership
        freed: tuple[Ownership, ...] = ()
        if row is not None and row.manager is Owner.UNIVERSAL:
            now = self._bench.clock.market_ms()
            freed = (replace(row, owner="", strategy_type=None, since_ms=now, version=row.version + 1),)
        return await self._let_go(charge, "unregistered", freed, correlation_id, _still(held))

    async def close_if_gone(self, row: Ownership) -> bool:
        """Close the registry's entry of a position that was closed before it was taken up, by its deals."""
        bench = self._bench
        deals = await bench.broker.deals(position=row.identifier)
        closed = closed_by(deals, row.side, bench.broker.intent_of)
        if closed is None:
            return False
        free = Free(holder=bench.claims.holder, keys=(bench.key(row.ticket, row.symbol),))
        after = replace(row, closed_ms=closed.at_ms, version=row.version + 1)
        try:
            await bench.store.commit(Unit(ownership=(after,), free=free))
        except (LeaseHeld, ChangedMeanwhile):
            return False
        self._floor.ownerships.pop(row.ticket, None)
        return True

    # --- Intelligent Exit ----------------------------------------------------------------------------------------

    async def enable(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """Put a position under profit protection, beside its owner.

        Raises:
            ManagingRefused: when there is no such position, or it belongs to a trade's family.
        """
        async with self._lock:
            known = self._floor.charges.get((Owner.EXITS, ticket))
            return known.managed if known is not None else await self._enable(ticket, correlation_id)

    async def _enable(self, ticket: int, correlation_id: str | None) -> Managed:
        found = await self._find(ticket)
        position, bench = found.position, self._bench
        now, row = bench.clock.market_ms(), found.standing.ownership
        scalp = exits_rules.is_scalp(row.strategy_type if row is not None else None)
        rules = exits_rules.rules_of(position.symbol, session_at(now), scalp, bench.settings.exits)
        login, server = bench.account
        managed = adopt(
            position,
            rules,
            login=login,
            server=server,
            now_ms=now,
            atr_m15=found.atr_m15,
            settings=bench.settings,
            costs=found.costs,
            known=found.standing.defended or self._other(Owner.UNIVERSAL, ticket),
        )
        facts = self._facts_of_claim(managed, row, correlation_id)
        await bench.store.commit(Unit(managed=(managed,), facts=facts))
        bench.journal.tell(facts)
        return self._floor.add(managed).managed

    async def disable(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """End profit protection of a position.

        Raises:
            ManagingRefused: when it has none.
        """
        charge = self._charge(Owner.EXITS, ticket)
        async with charge.lock:
            return await self._let_go(charge, "disabled", (), correlation_id)

    # --- what all share ------------------------------------------------------------------------------------------

    async def _let_go(
        self,
        charge: Charge,
        why: str,
        rows: tuple[Ownership, ...],
        correlation_id: str | None,
        free: Free | None = None,
    ) -> Managed:
        bench, before = self._bench, charge.managed
        managed = ended(before, why, bench.clock.market_ms())
        fact = bench.fact(FactKind.UNMANAGED, why, managed, correlation_id=correlation_id)
        await bench.store.commit(Unit(managed=(managed,), ownership=rows, facts=(fact,), free=free))
        charge.managed = managed
        self._floor.drop(charge)
        for row in rows:
            self._floor.ownerships[row.ticket] = row
        bench.journal.tell((fact,))
        return managed

    def _charge(self, owner: Owner, ticket: int) -> Charge:
        charge = self._floor.charges.get((owner, ticket))
        if charge is None:
            raise ManagingRefused(Code.NOT_FOUND, f"{owner.value} has no position {ticket}.", {"ticket": ticket})
        return charge

    def _other(self, owner: Owner, ticket: int) -> Managed | None:
        charge = self._floor.charges.get((owner, ticket))
        return None if charge is None else charge.managed

    async def _find(self, ticket: int) -> _Found:
        """Read a position that may be managed, and what is true of it.

        Raises:
            ManagingRefused: when the broker does not list it, or it belongs to a trade's family.
        """
        bench = self._bench
        position = (await bench.broker.positions([ticket])).get(ticket)
        if position is None:
            raise ManagingRefused(Code.NOT_FOUND, f"The broker lists no position {ticket}.", {"ticket": ticket})
        await self._require_no_family(position)
        levels = await self._levels(position.symbol, Timeframe.M15)
        deals = await bench.broker.deals(position=position.identifier)
        costs = sum(d.commission + d.fee for d in deals if d.entry is DealEntry.IN)
        standing = await self._standing(position)
        known = replace(position, ticket=standing.ticket)
        return _Found(position=known, standing=standing, atr_m15=None if levels is None else levels.atr, costs=costs)

    async def _standing(self, position: Position) -> Standing:
        """Read what is true of a position, under the ticket by which it was known first: a broker may replace it."""
        now = await self._bench.store.standing(position.ticket)
        if now.ownership is not None or now.trade is not None or position.identifier == position.ticket:
            return now
        first = await self._bench.store.standing(position.identifier)
        known = first.ownership or first.trade
        return first if known is not None and known.identifier == position.identifier else now

    async def _require_no_family(self, position: Position) -> None:
        """Refuse hedges and re-added positions: they belong to the trade that they protect."""
        number = self._bench.broker.number_in(position.magic, position.comment)
        intent = None if number is None else await self._bench.store.intent(number)
        if _is_family(intent):
            told = f"Position {position.ticket} belongs to the family of trade {intent.ticket if intent else 0}."
            details: dict[str, Json] = {"ticket": position.ticket, "trade": intent.ticket if intent else None}
            raise ManagingRefused(Code.CONFLICT, told, details)

    async def _levels(self, symbol: str, timeframe: Timeframe) -> Levels | None:
        """Read a symbol's levels, also one that nobody needed before."""
        watch = await self._sights.symbol(symbol)
        if watch is None:
            raise ManagingRefused(Code.NOT_FOUND, f"The broker does not know {symbol}.", {"symbol": symbol})
        watch.wanted = watch.wanted | {timeframe}
        await self._sights.feeds.quotes([watch])
        await self._sights.feeds.bars([watch], self._bench.settings)
        return self._sights.feeds.levels(watch, [timeframe], self._bench.settings).get(timeframe)

    def _owned(self, position: Position, strategy_type: str, row: Ownership | None) -> Ownership:
        """Return the registry's entry after a claim, following on the one that is there."""
        now, universal = self._bench.clock.market_ms(), Owner.UNIVERSAL.value
        if row is not None and row.identifier == position.identifier:
            return replace(
                row,
                owner=universal,
                strategy_type=strategy_type,
                since_ms=now,
                by_watcher=False,
                version=row.version + 1,
            )
        login, server = self._bench.account
        return Ownership(
            ticket=position.ticket,
            identifier=position.identifier,
            login=login,
            server=server,
            symbol=position.symbol,
            side=position.side,
            owner=universal,
            strategy_type=strategy_type,
            since_ms=now,
            version=0 if row is None else row.version + 1,
        )


def _still(held: Held) -> Free:
    """Ask that a lease is still held under which something was looked at."""
    return Free(holder=held.lease.holder, keys=(held.lease.key,), token=held.lease.token)


def _is_family(intent: Intent | None) -> bool:
    return intent is not None and not intent.action.kind.opens_trade


def _known_strategy(name: str) -> None:
    try:
        strategy_of(name)
    except UnknownStrategy as unknown:
        near: list[Json] = list(unknown.near)
        valid: list[Json] = list(unknown.valid)
        details: dict[str, Json] = {"strategy_type": name, "near": near, "valid": valid}
        raise ManagingRefused(Code.INVALID, f"{unknown}.", details) from unknown
