"""What a broker's refusals teach of an account and its symbols, where their description is silent or wrong.

That an account closes first in, first out (10045) or prohibits hedging (10046) stays true, and is kept across
restarts: the second can be learned in no other way. That a symbol takes no new positions may end any day, so it is
believed until the next connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dtms.domain.account import Account, MarginMode
from dtms.domain.facts import Json
from dtms.domain.market import Side

FIFO_CLOSE, HEDGE_PROHIBITED = 10045, 10046
NO_FURTHER_POSITIONS: Mapping[int, str] = {
    10033: "the account has reached its limit of orders",
    10040: "the account has reached its limit of positions",
}
SHUT: Mapping[int, str] = {
    10034: "its limit of volume is reached",
    10041: "the broker rejects new positions",
    10042: "only long positions are allowed",
    10043: "only short positions are allowed",
    10044: "only closing is allowed",
}
ONE_SIDED = frozenset({10034, 10042, 10043})
"""What these refuse to one side says nothing of the other."""
EVERY_SYMBOL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What refusals taught; ``shut`` maps a symbol (or every one) and a side to the reason."""

    fifo: bool = False
    no_hedging: bool = False
    shut: Mapping[tuple[str, Side], str] = field(default_factory=dict)

    def closed_to(self, symbol: str, side: Side) -> str | None:
        """Return why no position of a side may be opened, or None."""
        return self.shut.get((EVERY_SYMBOL, side)) or self.shut.get((symbol, side))

    def as_json(self) -> dict[str, Json]:
        """Return what outlives the connection."""
        return {"fifo": self.fifo, "no_hedging": self.no_hedging}

    @classmethod
    def from_json(cls, body: Mapping[str, Json]) -> "Learned":
        return cls(fifo=body.get("fifo") is True, no_hedging=body.get("no_hedging") is True)

    def reconnected(self) -> "Learned":
        """Return what is still believed after a new connection."""
        return replace(self, shut={})


NOTHING_LEARNED = Learned()


def learn(learned: Learned, retcode: int, symbol: str, side: Side) -> Learned:
    """Return what is known after an order of ``side`` was refused with ``retcode``."""
    if retcode == FIFO_CLOSE:
        return replace(learned, fifo=True)
    if retcode == HEDGE_PROHIBITED:
        return replace(learned, no_hedging=True)
    if (told := NO_FURTHER_POSITIONS.get(retcode)) is not None:
        return _shut(learned, EVERY_SYMBOL, tuple(Side), told)
    if (told := SHUT.get(retcode)) is not None:
        return _shut(learned, symbol, (side,) if retcode in ONE_SIDED else tuple(Side), f"{symbol}: {told}")
    return learned


def _shut(learned: Learned, symbol: str, sides: tuple[Side, ...], told: str) -> Learned:
    return replace(learned, shut={**learned.shut, **{(symbol, side): told for side in sides}})


def told_of(learned: Learned, symbol: str, side: Side) -> str:
    """Tell in words what is known of an account and of one side of a symbol."""
    told = (
        "the account closes first in, first out" if learned.fifo else None,
        "the account prohibits hedging" if learned.no_hedging else None,
        learned.closed_to(symbol, side),
    )
    return "; ".join(one for one in told if one)


def closes_in_order(account: Account, learned: Learned) -> bool:
    """Answer whether only the oldest position of a symbol can be closed."""
    return account.fifo_close or learned.fifo


def hedging_refused(account: Account, learned: Learned) -> str | None:
    """Return why no hedge can stand on this account at all, or None."""
    if account.margin_mode is not MarginMode.HEDGING:
        return f"a {account.margin_mode} account"
    if closes_in_order(account, learned):
        return "the account closes first in, first out"
    return "the account prohibits hedging" if learned.no_hedging else None
