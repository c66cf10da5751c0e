"""Under which ticket a position is known, and whose family it belongs to."""

from dataclasses import dataclass

from dtms.domain.owners import Standing, lease_key
from dtms.domain.position import Position
from dtms.domain.trade import Trade
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.service import Code, TradingRefused

TRADES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A position, and what is true of the trade that it is or belongs to."""

    position: Position
    ticket: int
    """Under which registry and lease know it: its trade's, for a family position."""
    standing: Standing
    key: str
    """Of the lease."""
    family_of: int | None = None
    """The trade whose hedge or re-added position it is."""
    is_orphan: bool = False
    """It carries a number of ours, and no request is known by it."""

    def require_own(self) -> None:
        """See that the position is nobody's family.

        Raises:
            TradingRefused: naming the trade.
        """
        at = self.position.ticket
        if self.family_of is not None:
            told = f"Position {at} was opened by dtms for trade {self.family_of}, and is managed with it."
            raise TradingRefused(Code.CONFLICT, told, {"ticket": at, "trade": self.family_of, "rule": "family"})
        if self.is_orphan:
            told = f"Position {at} was opened by dtms, and its request is not known: DTMS's recovery sees to it."
            raise TradingRefused(Code.CONFLICT, told, {"ticket": at, "rule": "orphan"})


async def known(desk: TradingDesk, position: Position) -> Known:
    """Find out under which ticket a position is known: a broker can replace its ticket, the identifier stays."""
    margin_mode = (await desk.broker.account()).margin_mode
    family, is_orphan = await _family(desk, position)
    standing = await _standing(desk, position) if family is None else await desk.store.standing(family)
    return Known(
        position=position,
        ticket=standing.ticket,
        standing=standing,
        key=lease_key(standing.ticket, position.symbol, margin_mode),
        family_of=family,
        is_orphan=is_orphan and not _is_somebodys(standing),
    )


async def _standing(desk: TradingDesk, position: Position) -> Standing:
    standing = await desk.store.standing(position.ticket)
    if position.identifier == position.ticket or _is_somebodys(standing):
        return standing
    first = await desk.store.standing(position.identifier)
    return first if _is_somebodys(first) else standing


def _is_somebodys(standing: Standing) -> bool:
    return standing.ownership is not None or standing.defended is not None


async def _family(desk: TradingDesk, position: Position) -> tuple[int | None, bool]:
    """Return the trade that a position serves, by its number or by that trade's members; and whether it is an orphan.

    A position that is watched as a trade of its own, whatever number it carries, serves none.
    """
    number = desk.broker.number_in(position.magic, position.comment)
    if number is not None:
        intent = await desk.store.intent(number)
        if intent is None:
            return None, True
        if intent.action.kind.opens_trade or intent.ticket in (0, position.ticket, position.identifier):
            return None, False
        row = await desk.store.trade(position.ticket)
        return (None if row is not None and row.is_active else intent.ticket), False
    page = await desk.store.trades(symbol=position.symbol, limit=TRADES_MAX)
    return next((trade.ticket for trade in page.trades if _has(trade, position)), None), False


def _has(trade: Trade, position: Position) -> bool:
    return any(member.identifier == position.identifier for member in trade.members)
