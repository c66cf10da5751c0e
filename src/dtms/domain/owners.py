"""Who a position belongs to, who asks to change it, and what is true of it in one transaction."""

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.account import MarginMode
from dtms.domain.market import Side
from dtms.domain.trade import Mode, Owner, State, Trade


class Asker(StrEnum):
    """Who wants to change a position, or to open one; managers bear the word by which they own."""

    DTMS = "dtms_manager"
    UNIVERSAL = "universal_sl_tp_manager"
    EXITS = "intelligent_exit_manager"
    PERSON = "person"
    """Somebody who overrides, explicitly."""
    EXECUTION = "execution"
    """Opens what a person, a program or a plan asked for; changes nothing that is open."""

    @property
    def manager(self) -> Owner | None:
        """The manager that asks; None when none does."""
        return _MANAGERS.get(self)


_MANAGERS = {Asker.DTMS: Owner.DTMS, Asker.UNIVERSAL: Owner.UNIVERSAL, Asker.EXITS: Owner.EXITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The registry's entry of one position. A position without one belongs to DTMS while it is registered there.

    Times are market milliseconds (UTC). ``version`` rises with every change, and a change names the one it follows.
    """

    ticket: int
    identifier: int
    login: int
    server: str
    symbol: str
    side: Side
    owner: str
    """A word of ``Owner``; one that this version does not know is another's, not nobody's."""
    strategy_type: str | None = None
    breakeven: bool = False
    """The stop stood at breakeven or beyond, on the protective side."""
    mode: Mode | None = None
    """None follows the account's mode."""
    by_watcher: bool = False
    since_ms: int = 0
    closed_ms: int | None = None
    version: int = 0

    @property
    def manager(self) -> Owner | None:
        """The owner; None for one that is unknown to us."""
        return Owner(self.owner) if self.owner in _OWNERS else None

    @property
    def is_anothers(self) -> bool:
        """Whether the position belongs to another manager than DTMS, one that is unknown to us included."""
        return self.closed_ms is None and self.manager not in (Owner.DTMS, Owner.NOBODY)


_OWNERS = frozenset(owner.value for owner in Owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that permission is judged on for one ticket, read together."""

    ticket: int
    ownership: Ownership | None = None
    trade: Trade | None = None
    """DTMS's row of the position, registered or ended."""
    halted: bool = False
    account_mode: Mode | None = None
    """What a person set; None follows the configuration."""

    @property
    def defended(self) -> Trade | None:
        """The trade, while DTMS watches it."""
        return self.trade if self.trade is not None and self.trade.is_active else None

    @property
    def owner(self) -> Owner | None:
        """The owner; None for one that is unknown to us. DTMS owns only what it watches."""
        if self.ownership is None or self.ownership.closed_ms is not None:
            return self.defended.owner if self.defended is not None else Owner.NOBODY
        owner = self.ownership.manager
        return Owner.NOBODY if owner is Owner.DTMS and self.defended is None else owner

    @property
    def state(self) -> State | None:
        """DTMS's state of the trade; None while DTMS does not watch it."""
        return self.defended.state if self.defended is not None else None

    @property
    def breakeven(self) -> bool:
        return self.ownership is not None and self.ownership.breakeven

    @property
    def is_under_dtms(self) -> bool:
        """Whether DTMS may act on the trade at all: as its owner, or beside one, as it was registered."""
        trade = self.defended
        return trade is not None and (trade.alongside or self.owner in (Owner.DTMS, Owner.NOBODY))

    def mode(self, configured: Mode) -> Mode:
        """Return the mode that holds for the ticket: its own, the account's, or the configured one."""
        own = self.ownership.mode if self.ownership is not None else None
        of_trade = self.trade.mode if self.trade is not None else None
        return of_trade or own or self.account_mode or configured


def lease_key(ticket: int, symbol: str, margin_mode: MarginMode) -> str:
    """Return the key of the lease under which a position is changed: its trade's ticket, for the whole family.

    On a netting account all of a symbol is one position.
    """
    return str(ticket) if margin_mode is MarginMode.HEDGING else f"symbol:{symbol}"


def opening_key(number: int) -> str:
    """Return the key of the lease under which the intent of this number opens a position."""
    return f"intent:{number}"
