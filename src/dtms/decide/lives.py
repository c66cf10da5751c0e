"""The deals of one position, told as its lives: from its first lot until none is left, or the side is reversed.

On a hedging account a position has one life, unless the rest of a part-filled order refills it after its close. On a
netting account each reversal ends a life and begins another, under the same identifier. A swap that is taken by closing
and re-opening ends nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason
from dtms.domain.prices import ZERO
from dtms.domain.trade import Trade

REGISTRATION_LAG_MS = 5_000
"""A trade may be registered this much before the server's clock stamps what it was registered for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life: its deals, and the lots that came in and went out of it."""

    side: Side
    began_ms: int
    deals: tuple[Deal, ...]
    entered: Decimal = ZERO
    left: Decimal = ZERO
    is_reversed: bool = False
    """Whether an opposite deal ended it and began another."""

    @property
    def open(self) -> Decimal:
        """Lots that are still in the market by these deals."""
        return ZERO if self.is_reversed else max(ZERO, self.entered - self.left)

    @property
    def is_over(self) -> bool:
        return self.is_reversed or self.left >= self.entered > ZERO

    def has_ended(self, volume: Decimal) -> bool:
        """Answer whether the deals close ``volume`` lots at least, however many openings the history left out."""
        return self.is_reversed or self.left >= max(self.entered, volume)


def in_order(deals: Sequence[Deal]) -> list[Deal]:
    return sorted(deals, key=lambda d: (d.time_ms, d.ticket))


def lives(deals: Sequence[Deal]) -> list[Life]:
    """Tell a position's deals as its lives, oldest first; openings may be missing from a partial history."""
    found: list[Life] = []
    for deal in in_order(deals):
        now = found[-1] if found and not found[-1].is_over else None
        if deal.reason is DealReason.ROLLOVER:
            found[-1:] = [replace(life, deals=(*life.deals, deal)) for life in found[-1:]]
            continue
        match deal.entry:
            case DealEntry.IN:
                now = _begin(found, deal, deal.side) if now is None else now
                found[-1] = replace(now, entered=now.entered + deal.volume, deals=(*now.deals, deal))
            case DealEntry.OUT | DealEntry.OUT_BY:
                if now is None:  # what it closes was opened before the history begins, or it came late
                    now = found[-1] if found else _begin(found, deal, deal.side.opposite)
                found[-1] = replace(now, left=now.left + deal.volume, deals=(*now.deals, deal))
            case DealEntry.INOUT:
                now = _begin(found, deal, deal.side.opposite) if now is None else now
                rest = max(ZERO, deal.volume - now.open)
                found[-1] = replace(now, left=now.left + now.open, is_reversed=True, deals=(*now.deals, deal))
                found.append(Life(side=deal.side, began_ms=deal.time_ms, deals=(deal,), entered=rest))
    return found


def _begin(found: list[Life], deal: Deal, side: Side) -> Life:
    found.append(Life(side=side, began_ms=deal.time_ms, deals=()))
    return found[-1]


def life_of(trade: Trade, deals: Sequence[Deal]) -> Life | None:
    """Return the life that a trade stands for: in which it was registered, and what followed without a reversal.

    An order that refills the position after its close goes on with the same trade, while that is not closed.
    """
    told = lives(deals)
    of_side = [n for n, life in enumerate(told) if life.side is trade.side]
    known = [n for n in of_side if told[n].began_ms <= trade.registered_ms + REGISTRATION_LAG_MS]
    if not of_side:
        return None
    life, *later = told[known[-1] if known else of_side[0] :]
    for following in later:
        if life.is_reversed:
            break
        life = replace(
            following,
            began_ms=life.began_ms,
            deals=(*life.deals, *following.deals),
            entered=life.entered + following.entered,
            left=life.left + following.left,
        )
    return life


def open_volume(deals: Sequence[Deal]) -> Decimal:
    """Return the lots that a position holds by its deals."""
    told = lives(deals)
    return told[-1].open if told else ZERO
