"""Registration: requests that wait together share one look at the broker and one commit.

The broker fills what a request leaves out and wins where they differ, but for symbol and direction: contradicting those
is a conflict. A registration answered is a trade durably stored; a repeated one changes nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.domain.errors import AlreadyStored, InvariantBroken
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Owner, State, Trade
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.desk import Desk
from dtms.execute.feeds import Feeds
from dtms.execute.service import RefusalCode, Refused, Registered, Registration
from dtms.ports.store import Unit

FALLBACK_RISK_SHARE = 0.005
"""Nominal R as a share of the price while not even ATR is known."""


PRICE_SHARE_MAX = 0.5
LINGER_S = 0.002
EVERY_STATE = frozenset(State)


@dataclass(slots=True)
class Waiting:
    """One request and where its answer goes."""

    request: Registration
    answer: asyncio.Future[Registered]


@dataclass(frozen=True, slots=True)
class New:
    """A trade that is to be kept, and the request that it came with."""

    trade: Trade
    symbol: SymbolWatch
    correlation_id: str | None = None


class Registrar:
    """Registers trades, one batch at a time, so that concurrent requests for one ticket make one trade."""

    def __init__(self, desk: Desk, book: Book, feeds: Feeds) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._waiting: list[Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._awaited = 0
        self._enough = asyncio.Event()

    async def register(self, request: Registration) -> Registered:
        """Register one trade durably.

        Raises:
            Refused: with the code and the reason; nothing changed.
            BrokerUnavailable: when the broker could not be asked.
            StoreFailed: when it could not be kept.
        """
        waiting = Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._waiting) >= self._awaited:
            self._enough.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.answer

    async def _work(self) -> None:
        together = 0
        while self._waiting:
            await self._linger(together)
            batch, self._waiting = self._waiting, []
            await self._settle(batch)
            together = len(batch) + len(self._waiting)

    async def _linger(self, together: int) -> None:
        """Wait a moment for those who asked together before, so that they share a look and a commit again.

        Without it, callers who wait for their answers fall into two halves that take turns. One caller never waits.
        """
        if len(self._waiting) >= together:
            return
        self._awaited = together
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._enough.wait()
        self._awaited = 0

    async def _settle(self, batch: Sequence[Waiting]) -> None:
        """Answer a batch; whatever goes wrong, everybody who waits hears of it."""
        (error,) = await asyncio.gather(self._answer(batch), return_exceptions=True)
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error or InvariantBroken("a registration was left without an answer"))

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        tickets = list({w.request.ticket for w in batch if w.request.ticket not in self._book.watches})
        positions, stored = await self._looked_up(tickets)
        new: dict[int, New] = {}
        answers: list[tuple[Waiting, Registered]] = []
        for waiting in batch:
            try:
                answers.append((waiting, await self._one(waiting.request, positions, stored, new)))
            except Refused as refused:
                _refuse(waiting, refused)
        refusals = await self._keep(new)
        for waiting, registered in answers:
            if (refusal := refusals.get(registered.trade.ticket)) is not None:
                _refuse(waiting, refusal)
            elif not waiting.answer.done():
                waiting.answer.set_result(registered)

    async def _looked_up(self, tickets: Sequence[int]) -> tuple[Mapping[int, Position], Mapping[int, Trade]]:
        """Ask the broker for the positions, and the store for rows that are known but not watched."""
        if not tickets:
            return {}, {}
        positions = await self._desk.broker.positions(tickets)
        old = [ticket for ticket in tickets if ticket in self._book.stored]
        rows = (await self._desk.store.trades(states=EVERY_STATE, tickets=old, limit=len(old))).trades if old else ()
        return positions, {t.ticket: t for t in rows}

    async def _one(
        self,
        request: Registration,
        positions: Mapping[int, Position],
        stored: Mapping[int, Trade],
        new: dict[int, New],
    ) -> Registered:
        watch = self._book.watches.get(request.ticket)
        known = watch.trade if watch is not None else new[request.ticket].trade if request.ticket in new else None
        if known is not None:
            return _repeated(request, known)
        position = positions.get(request.ticket)
        if position is None:
            details: dict[str, Json] = {"ticket": request.ticket}
            raise Refused(RefusalCode.POSITION_NOT_FOUND, f"The broker has no position {request.ticket}.", details)
        self._refuse_family(position)
        _refuse_contradiction(request, position.symbol, position.side.direction)
        symbol = await self._feeds.symbol(position.symbol)
        if symbol is None:
            raise Refused(
                RefusalCode.INVALID, f"The broker does not know {position.symbol}.", {"symbol": position.symbol}
            )
        _refuse_senseless(request, position, symbol)
        trade = await self._trade(request, position, symbol, stored.get(request.ticket))
        new[trade.ticket] = New(trade, symbol, request.correlation_id)
        return Registered(trade=trade, already_registered=False, adjusted=_adjusted(request, trade))

    def _refuse_family(self, position: Position) -> None:
        """A position that dtms opened belongs to the trade that it protects."""
        of = self._book.family_of(position.ticket)
        ours = self._desk.broker.intent_of(position.magic) is not None
        if of is not None or ours:
            whose = f"trade {of}" if of is not None else "a trade that dtms manages"
            message = f"Position {position.ticket} was opened by dtms for {whose}; it is no trade of its own."
            raise Refused(RefusalCode.CONFLICT, message, {"ticket": position.ticket, "trade": of})

    async def _trade(
        self, request: Registration, position: Position, symbol: SymbolWatch, before: Trade | None
    ) -> Trade:
        """Make the trade's row; one that was disabled by hand comes back HEALTHY with the R it had."""
        login, server = self._desk.account
        if before is not None and before.disabled and before.identifier == position.identifier:
            risk, nominal, initial_stop = before.risk, before.nominal_risk, before.initial_stop
            initial_volume = before.initial_volume
        else:
            risk, nominal = await self._risk(position, symbol)
            initial_stop, initial_volume = position.stop, position.volume
        return Trade(
            ticket=position.ticket,
            identifier=position.identifier,
            login=login,
            server=server,
            symbol=position.symbol,
            side=position.side,
            entry=position.entry,
            initial_volume=initial_volume,
            initial_stop=initial_stop,
            risk=risk,
            nominal_risk=nominal,
            registered_ms=self._desk.clock.market_ms(),
            opened_ms=position.opened_ms,
            volume=position.volume,
            stop=position.stop,
            target=position.target,
            closed_by_dtms=before.closed_by_dtms if before is not None and before.disabled else Decimal(0),
            machine=Machine(entered_ms=self._desk.clock.market_ms()),
            owner=Owner.DTMS,
            mode=request.mode,
            strategy_type=request.strategy_type,
            alongside=request.alongside,
            version=before.version + 1 if before is not None else 0,
        )

    async def _risk(self, position: Position, symbol: SymbolWatch) -> tuple[float, bool]:
        """R: from entry to stop, or a nominal 1.5 ATR(14, M15) for a trade that came without one."""
        if position.stop is not None and position.stop != position.entry:
            return abs(position.entry - position.stop), False
        if symbol.view is None:
            await self._feeds.bars([symbol], self._desk.settings)
        if symbol.view is None:
            return position.entry * FALLBACK_RISK_SHARE, True
        return self._desk.settings.protection.nominal_risk_atr * symbol.view.atr_m15, True

    async def _keep(self, new: Mapping[int, New]) -> dict[int, Refused]:
        """Commit new trades together; where one of them is in the way, each by itself, and tell which was refused."""
        if not new:
            return {}
        try:
            await self._commit(list(new.values()))
        except AlreadyStored as error:
            if len(new) == 1:
                (ticket,) = new
                return {ticket: _taken(ticket, error)}
            parts = [await self._keep({ticket: one}) for ticket, one in new.items()]
            return {ticket: refusal for part in parts for ticket, refusal in part.items()}
        fast_ms = int(self._desk.settings.cadence.fast_s * 1000)
        for one in new.values():  # each was just looked at
            self._book.add(one.trade, one.symbol).next_fast_ms = one.trade.registered_ms + fast_ms
        return {}

    async def _commit(self, new: Sequence[New]) -> None:
        await self._desk.store.commit(Unit(create=[one.trade for one in new], facts=[self._fact(one) for one in new]))

    def _fact(self, new: New) -> Fact:
        trade = new.trade
        alert: Json = "WARNING" if trade.nominal_risk else None
        by = "the watcher" if trade.by_watcher else "request"
        summary = f"{trade.symbol} {trade.side.direction} {trade.volume} lots is protected, R {trade.risk:.6g}"
        if trade.nominal_risk:
            summary += " (nominal: the position has no stop, so nothing at the broker protects it)"
        return self._desk.journal.fact(
            FactKind.REGISTERED,
            summary,
            trade=trade,
            details={"by": by, "alert": alert},
            correlation_id=new.correlation_id,
        )

    async def adopt(self, positions: Sequence[Position]) -> list[Trade]:
        """Register positions that nobody owns."""
        new: dict[int, New] = {}
        for position in positions:
            symbol = await self._feeds.symbol(position.symbol)
            if symbol is None or position.ticket in self._book.watches:
                continue
            trade = await self._trade(Registration(ticket=position.ticket), position, symbol, None)
            new[position.ticket] = New(replace(trade, by_watcher=True), symbol)
        refused = await self._keep(new)
        return [one.trade for ticket, one in new.items() if ticket not in refused]


def _refuse(waiting: Waiting, refusal: Refused) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(refusal)


def _taken(ticket: int, error: AlreadyStored) -> Refused:
    known = ", ".join(map(str, error.tickets))
    message = f"The position of ticket {ticket} is protected already, as ticket {known}."
    return Refused(RefusalCode.CONFLICT, message, {"ticket": ticket, "known_as": list(error.tickets)})


def _repeated(request: Registration, trade: Trade) -> Registered:
    _refuse_contradiction(request, trade.symbol, trade.side.direction)
    return Registered(trade=trade, already_registered=True, adjusted=_adjusted(request, trade))


def _refuse_contradiction(request: Registration, symbol: str, direction: str) -> None:
    for name, sent, has in (
        ("symbol", request.symbol, symbol),
        ("direction", request.side.direction if request.side else None, direction),
    ):
        if sent is not None and sent != has:
            message = f"Position {request.ticket} is {has}, not {sent}."
            raise Refused(
                RefusalCode.CONFLICT, message, {"ticket": request.ticket, name: {"sent": sent, "broker": has}}
            )


def _refuse_senseless(request: Registration, position: Position, symbol: SymbolWatch) -> None:
    """Refuse prices far from the market and volumes that the symbol cannot have: the sender means something else."""
    far = PRICE_SHARE_MAX * position.price_now
    for name, price in (("entry", request.entry), ("stop_loss", request.stop), ("take_profit", request.target)):
        if price is not None and abs(price - position.price_now) > far:
            message = (
                f"{name} {price:.10g} is more than {PRICE_SHARE_MAX:.0%} from the market at {position.price_now:.10g}."
            )
            raise Refused(RefusalCode.INVALID, message, {name: {"sent": price, "market": position.price_now}})
    if request.volume is not None and request.volume > symbol.instrument.volume_max:
        most = symbol.instrument.volume_max
        message = f"volume {request.volume} is above the {most} lots that {position.symbol} allows."
        raise Refused(RefusalCode.INVALID, message, {"volume": {"sent": float(request.volume), "most": float(most)}})


def _adjusted(request: Registration, trade: Trade) -> dict[str, Json]:
    """List what was sent and not used."""
    pairs: tuple[tuple[str, float | Decimal | None, float | Decimal | None], ...] = (
        ("entry", request.entry, trade.entry),
        ("volume", request.volume, trade.volume),
        ("stop_loss", request.stop, trade.stop),
        ("take_profit", request.target, trade.target),
    )
    return {
        name: {"sent": float(sent), "used": None if used is None else float(used)}
        for name, sent, used in pairs
        if sent is not None and (used is None or float(sent) != float(used))
    }
