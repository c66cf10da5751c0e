"""From a request and the broker's position to a trade: what is filled in, what is refused, what R is.

The broker fills what a request leaves out and wins where they differ, but for symbol and direction: contradicting those
is a conflict.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from dtms.domain.actions import Intent
from dtms.domain.errors import AlreadyStored, LeaseHeld
from dtms.domain.facts import Json
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Owner, Trade
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.desk import Desk
from dtms.execute.feeds import Feeds
from dtms.execute.service import RefusalCode, Refused, Registered, Registration

FALLBACK_RISK_SHARE = 0.005
"""Nominal R as a share of the price while not even ATR is known."""
PRICE_SHARE_MAX = 0.5
NOT_YET = -1
"""The version before an entry's first."""


class Enrolment:
    """Makes trades of positions; keeps nothing and commits nothing."""

    def __init__(self, desk: Desk, book: Book, feeds: Feeds) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds

    async def judged(
        self, request: Registration, position: Position, before: Trade | None
    ) -> tuple[Trade, SymbolWatch, dict[str, Json]]:
        """Return the trade that a request comes to, its symbol, and what was sent and not used.

        Raises:
            Refused: when the request contradicts the position, makes no sense, or the position is one of ours.
        """
        await self._refuse_family(position)
        refuse_contradiction(request, position.symbol, position.side.direction)
        symbol = await self._feeds.symbol(position.symbol)
        if symbol is None:
            raise Refused(
                RefusalCode.INVALID, f"The broker does not know {position.symbol}.", {"symbol": position.symbol}
            )
        _refuse_senseless(request, position, symbol)
        trade = await self.trade(request, position, symbol, before)
        return trade, symbol, adjusted(request, trade)

    async def _refuse_family(self, position: Position) -> None:
        """A position that dtms opened for a trade belongs to that one; what it opened by request stands for itself."""
        of, ours = self._book.family_of(position.ticket), self._desk.broker.intent_of(position.magic) is not None
        if of is None and not ours:
            return
        intent = await self._opener(position) if of is None else None
        if intent is not None and intent.action.kind.opens_trade:
            return
        of = of or (intent.ticket if intent is not None else None)
        whose = f"trade {of}" if of is not None else "a trade that dtms manages"
        message = f"Position {position.ticket} was opened by dtms for {whose}; it is no trade of its own."
        raise Refused(RefusalCode.CONFLICT, message, {"ticket": position.ticket, "trade": of})

    async def _opener(self, position: Position) -> Intent | None:
        """Return the request that opened a position; None when it was none of ours, or is not known."""
        number = self._desk.broker.intent_of(position.magic)
        return None if number is None else await self._desk.store.intent(number)

    async def promised(self, position: Position) -> Ownership | None:
        """Return what the registry is about to say of a position that was opened for a strategy."""
        intent = await self._opener(position)
        if intent is None or not intent.action.kind.opens_trade or intent.strategy_type is None:
            return None
        login, server = self._desk.account
        return Ownership(
            ticket=position.ticket,
            identifier=position.identifier,
            login=login,
            server=server,
            symbol=position.symbol,
            side=position.side,
            owner=Owner.UNIVERSAL.value,
            strategy_type=intent.strategy_type,
            version=NOT_YET,
        )

    async def trade(
        self, request: Registration, position: Position, symbol: SymbolWatch, before: Trade | None
    ) -> Trade:
        """Make the trade's row; one that was disabled by hand comes back HEALTHY with the R and the family it had."""
        if before is not None and before.disabled and before.identifier == position.identifier:
            return _enabled_again(before, request, position, self._desk.clock.market_ms())
        risk, nominal = await self._risk(position, symbol)
        login, server = self._desk.account
        now_ms = self._desk.clock.market_ms()
        return Trade(
            ticket=position.ticket,
            identifier=position.identifier,
            login=login,
            server=server,
            symbol=position.symbol,
            side=position.side,
            entry=position.entry,
            initial_volume=position.volume,
            initial_stop=position.stop,
            risk=risk,
            nominal_risk=nominal,
            registered_ms=now_ms,
            opened_ms=position.opened_ms,
            volume=position.volume,
            stop=position.stop,
            target=position.target,
            machine=Machine(entered_ms=now_ms),
            mode=request.mode,
            strategy_type=request.strategy_type,
            by_watcher=request.by_watcher,
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


def _enabled_again(before: Trade, request: Registration, position: Position, now_ms: int) -> Trade:
    """Take a trade up again: what it is, was and holds beside itself stays; where the machine stood does not."""
    machine = Machine(entered_ms=now_ms, hedges=before.machine.hedges, readds=before.machine.readds)
    return replace(
        before,
        moved_to=position.ticket if position.ticket != before.ticket else None,
        volume=position.volume,
        stop=position.stop,
        target=position.target,
        machine=machine,
        shadow=None,
        mode=request.mode or before.mode,
        strategy_type=request.strategy_type or before.strategy_type,
        by_watcher=request.by_watcher,
        disabled=False,
        unconfirmed=False,
        needs_attention=None,
        retry=None,
        part_left=None,  # a part that was begun belonged to the visit that ended
        version=before.version + 1,
    )


def repeated(request: Registration, trade: Trade) -> Registered:
    """Answer a registration of what is protected already; it changes nothing."""
    refuse_contradiction(request, trade.symbol, trade.side.direction)
    return Registered(trade=trade, already_registered=True, adjusted=adjusted(request, trade))


def no_advise() -> Refused:
    return Refused(RefusalCode.INVALID, "Mode advise needs approvals, which this version does not offer yet.")


def not_listed(request: Registration) -> Refused:
    message = f"The broker has no position {request.ticket}."
    return Refused(RefusalCode.POSITION_NOT_FOUND, message, {"ticket": request.ticket})


def taken(ticket: int, error: AlreadyStored) -> Refused:
    """Refuse a position that is under defence in the store, though memory does not have it."""
    known = ", ".join(map(str, error.tickets))
    message = f"The position of ticket {ticket} is protected already, as ticket {known}."
    return Refused(RefusalCode.CONFLICT, message, {"ticket": ticket, "known_as": list(error.tickets)})


def held_elsewhere(ticket: int, error: LeaseHeld) -> Refused:
    """Refuse what cannot be changed while another holds the ticket's lease."""
    details: dict[str, Json] = {"ticket": ticket, "key": error.key, "holder": error.holder}
    return Refused(RefusalCode.LEASE_HELD, f"Position {ticket} is being changed by {error.holder}; ask again.", details)


def changing_hands(ticket: int) -> Refused:
    """Refuse what another manager claims at the same moment, again and again."""
    return Refused(RefusalCode.CONFLICT, f"Position {ticket} changes hands just now; ask again.", {"ticket": ticket})


def refuse_contradiction(request: Registration, symbol: str, direction: str) -> None:
    """Refuse a request that means another position than the one under its ticket.

    Raises:
        Refused: with both words.
    """
    for name, sent, has in (
        ("symbol", request.symbol, symbol),
        ("direction", request.side.direction if request.side else None, direction),
    ):
        if sent is not None and sent != has:
            message = f"Position {request.ticket} is {has}, not {sent}."
            details: Mapping[str, Json] = {"ticket": request.ticket, name: {"sent": sent, "broker": has}}
            raise Refused(RefusalCode.CONFLICT, message, details)


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


def adjusted(request: Registration, trade: Trade) -> dict[str, Json]:
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
