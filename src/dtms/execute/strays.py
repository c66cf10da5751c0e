"""Positions that no watched trade knows: found in every full look at the broker, and given to whom they belong.

``decide.belonging`` says whose a position is; here the store is asked for what it says that by, and what it says is
done. A list can be old: what deals show to be closed is passed over.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import structlog

from dtms.decide.belonging import NOT_DONE, Whose, again, role_of, whose
from dtms.decide.lives import lives, open_volume
from dtms.decide.settle import ROLE_OF, member_of
from dtms.domain.actions import Intent, IntentState
from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone, StoreFailed
from dtms.domain.facts import FactKind, Json
from dtms.domain.owners import Asker
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.feeds import Feeds
from dtms.execute.isolation import Isolation
from dtms.execute.presence import Presence
from dtms.execute.registrar import Registrar
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)


class Strays:
    """Finds positions that stand alone."""

    def __init__(
        self, *, desk: Desk, book: Book, feeds: Feeds, isolation: Isolation, presence: Presence, registrar: Registrar
    ) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._isolation = isolation
        self._presence = presence
        self._registrar = registrar
        self._passed_over: set[int] = set()
        """Tickets of positions that are nobody's, another program's, or a person's by his will."""
        self._main: set[int] = set()
        """Tickets of positions that are the main program's for good."""
        self._troubles: dict[int, str] = {}
        self._at_version = 0
        self.acted = 0
        """How many positions were given to somebody, since it was made."""

    def forget(self) -> None:
        """Ask anew whose each position is: the store was read anew."""
        self._passed_over.clear()
        self._main.clear()

    async def settle(self, snapshot: Snapshot, *, adopting: bool = False) -> list[Trade]:
        """Give every stray position to whom it belongs; with ``adopting`` protect those that are nobody's.

        Returns what was adopted.
        """
        if self._book.version != self._at_version:
            self._passed_over.clear()
            self._at_version = self._book.version
        unknown = [p for p in snapshot.positions.values() if self._is_unknown(p)]
        strangers: list[Position] = []
        for position in unknown:
            try:
                if (await self._give(position)).is_stranger:
                    strangers.append(position)
            except BrokerUnavailable as error:
                if not await self._isolation.is_answering():
                    raise
                log.error("stray_unanswered", position=position.ticket, told=str(error))
            except LeaseHeld as error:
                log.info("stray_deferred", position=position.ticket, key=error.key, holder=error.holder)
            except (StoreFailed, PermissionGone):
                raise
            except Exception as error:  # noqa: BLE001 - the edge of a position: it is recorded, and the others go on
                await self._failed(position, error)
        return await self._registrar.adopt(strangers) if adopting and strangers else []

    async def _failed(self, position: Position, error: Exception) -> None:
        """Record, once per reason, that nobody could be given a position."""
        told = f"position {position.ticket} could be given to nobody: {type(error).__name__}: {error}"
        if self._troubles.get(position.ticket) == told:
            return
        self._troubles[position.ticket] = told
        log.error("stray_failed", position=position.ticket, exc_info=error)
        details: dict[str, Json] = {"position": position.ticket, "symbol": position.symbol, "alert": "CRITICAL"}
        await self._desk.store.commit(
            Unit(facts=(self._desk.journal.fact(FactKind.CYCLE_FAILED, told, details=details),))
        )

    def _is_unknown(self, position: Position) -> bool:
        ticket = position.ticket
        if ticket in self._passed_over or ticket in self._main or self._book.ticket_of(ticket) is not None:
            return False
        return not self._book.is_member(position)

    async def _give(self, position: Position) -> Whose:
        number = self._desk.broker.number_in(position.magic, position.comment)
        row = await self._row(position)
        intent = await self._intent(number) if number is not None and row is None else None
        if intent is None and self._desk.broker.intent_of(position.magic) is None:
            number = None  # a comment that looks like one of ours, and nothing else that does
        family = await self._trade(intent.ticket) if intent is not None and intent.ticket else None
        verdict = whose(position, row=row, number=number, intent=intent, family=family)
        if verdict in (Whose.STRANGER, Whose.EXECUTED, Whose.LEFT, Whose.ROBOT):
            self._passed_over.add(position.ticket)
        elif verdict is Whose.MAIN and intent is not None and not intent.state.is_open:
            self._main.add(position.ticket)
        elif not verdict.needs_nothing and await self._is_there(position, verdict):
            self.acted += 1
            await self._act(verdict, position, row or family, intent)
        return verdict

    async def _row(self, position: Position) -> Trade | None:
        """Return the stored trade of this very position, under its ticket or the one that it began with."""
        for ticket in dict.fromkeys((position.ticket, position.identifier)):
            at = self._book.ended.get(ticket, ticket)
            if at in self._book.stored and (row := await self._trade(at)) is not None:
                return row
        return None

    async def _trade(self, ticket: int) -> Trade | None:
        watch = self._book.watches.get(ticket)
        return watch.trade if watch is not None else await self._desk.store.trade(ticket)

    async def _intent(self, number: int) -> Intent | None:
        return await self._desk.store.intent(number)

    async def _is_there(self, position: Position, verdict: Whose) -> bool:
        """Answer whether the position's deals say that it is open, and not only a list that may be old."""
        deals = await self._desk.broker.deals(position=position.identifier)
        if verdict in (Whose.AGAIN, Whose.REVERSED):
            return open_volume(deals) > Decimal(0)
        return not deals or not lives(deals)[-1].is_over

    # --- what is done ----------------------------------------------------------------------------------------------

    async def _act(self, verdict: Whose, position: Position, trade: Trade | None, intent: Intent | None) -> None:
        match verdict:
            case Whose.JOINS | Whose.SURPLUS | Whose.UNRESOLVED:
                assert trade is not None
                assert intent is not None
                watch = await self.take_up(trade)
                if watch is not None and verdict is not Whose.UNRESOLVED:
                    await self._isolation.run(watch, lambda: self._join(watch, position, intent, verdict))
            case Whose.AGAIN:
                assert trade is not None
                await self._again(trade, position)
            case Whose.REVERSED:
                what = f"position {position.ticket} is what a reversal left of a closed trade: another one begins"
                await self._adopt(position, what, None)
            case Whose.ORPHAN:
                what = f"position {position.ticket} carries our number, but no request is known by it: it is watched"
                await self._adopt(position, what, "ERROR")

    async def take_up(self, trade: Trade, intents: Sequence[Intent] | None = None) -> Watch | None:
        """Watch a trade that has something left to be done for it, closed ones too; None without its symbol."""
        watch = self._book.watches.get(trade.ticket)
        if watch is not None:
            return watch
        symbol = await self._feeds.symbol(trade.symbol)
        if symbol is None:
            return None
        if intents is None:
            intents = await self._desk.store.intents(ticket=trade.ticket, open_only=True)
        watch = self._book.watches.get(trade.ticket) or self._book.add(trade, symbol)
        watch.open_intents = {i.number: i for i in intents if i.asker is Asker.DTMS}
        return watch

    async def _join(self, watch: Watch, position: Position, intent: Intent, verdict: Whose) -> None:
        """Take a position into the family that it was opened for."""
        trade = watch.trade
        if self._book.is_member(position) or intent.number in watch.open_intents:
            return  # found meanwhile, or its request still is to be resolved
        if intent.state is IntentState.NOT_EXECUTED and await self._presence.arrived(watch, intent):
            return  # it makes its transition all the same, or is surplus
        role = ROLE_OF.get(intent.action.kind) or role_of(position, trade)
        now = trade.with_member(member_of(position, role, intent.number))
        what = f"{role.value} #{position.ticket} was found at the broker and attached"
        intents: tuple[Intent, ...] = ()
        if verdict is Whose.SURPLUS:
            now = replace(now, surplus=now.surplus | {position.ticket})
            what = f"{what}: it is not wanted any more, and will be closed"
        if intent.state in NOT_DONE:
            intents = (replace(intent, state=IntentState.CONFIRMED, message="executed after all"),)
            what = f"{what} (its request counted as {intent.state.value.lower().replace('_', ' ')})"
        alert = "ERROR" if verdict is Whose.SURPLUS else "WARNING"
        details: dict[str, Json] = {"position": position.ticket, "intent": intent.number, "alert": alert}
        fact = self._desk.journal.fact(FactKind.ADOPTED, what, trade=now, details=details)
        await self._desk.keep(Unit(trades=(now,), intents=intents, facts=(fact,)), now)
        self._desk.believe(watch, now, (fact,))
        self._book.index(now)
        watch.next_fast_ms = 0

    async def _again(self, row: Trade, position: Position) -> None:
        """Watch a closed trade's position again, as the same trade."""
        symbol = await self._feeds.symbol(row.symbol)
        if symbol is None or row.ticket in self._book.watches:
            return
        trade = again(row, position, self._desk.clock.market_ms())
        told = f"{trade.needs_attention}: it is watched again, from HEALTHY"
        details: dict[str, Json] = {"position": position.ticket, "volume": float(position.volume), "alert": "ERROR"}
        fact = self._desk.journal.fact(FactKind.ADOPTED, told, trade=trade, details=details)
        await self._desk.keep(Unit(create=(trade,), facts=(fact,)), trade)
        self._book.add(trade, symbol)
        self._desk.journal.tell((fact,))

    async def _adopt(self, position: Position, what: str, alert: str | None) -> None:
        adopted = await self._registrar.adopt([position])
        if not adopted:
            return
        details: dict[str, Json] = {"position": position.ticket, "symbol": position.symbol, "alert": alert}
        fact = self._desk.journal.fact(FactKind.ADOPTED, what, trade=adopted[0], details=details)
        await self._desk.store.commit(Unit(facts=(fact,)))
        self._desk.journal.tell((fact,))
