"""What dtms asks of a broker. One adapter fulfils it: the MetaTrader 5 interface, real or simulated behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from dtms.domain.account import Account
from dtms.domain.actions import Action
from dtms.domain.market import Bars, FlowBars, Instrument, Side, Tick, Timeframe
from dtms.domain.position import Deal, Order, Position
from dtms.domain.snapshot import Evidence, Snapshot


class Answer(StrEnum):
    """The classes of answers to a send (the retcode table of the adapter)."""

    OK = "ok"
    NOOP = "noop"
    PRICE = "price"
    WAIT = "wait"
    FIX = "fix"
    STATE = "state"
    POLICY = "policy"
    AMBIG = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """A broker's answer to one request, translated once; ``retcode`` is kept for the record.

    ``sent`` is False when the request certainly never left. ``volume`` and ``price`` are what the broker reports.
    """

    answer: Answer
    retcode: int
    name: str
    message: str
    sent: bool = True
    order: int | None = None
    deal: int | None = None
    volume: Decimal | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A code in words: what it means, and what can be done about it."""

    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Under which lease a send is made: refused by the gateway when ``token`` is not the newest of ``key``."""

    key: str
    token: int
    instance: int
    """The gateway's instance number, as answered when the token was announced."""
    program: tuple[str, int] | None = None
    """Key and token of the lease that the sending program holds for its whole life, which must be the newest too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRequest:
    """Closed bars of a symbol, the newest ``count``."""

    symbol: str
    timeframe: Timeframe
    count: int


class Broker(Protocol):
    """The broker. Every method raises ``BrokerUnavailable`` when no sound answer was had, ``WrongAccount`` from another
    account; an empty result is an answer."""

    async def connect(self) -> Account:
        """Connect (idempotent), learn the server's clock offset, and return the account."""
        ...

    async def account(self) -> Account: ...

    async def snapshot(self, symbols: Iterable[str]) -> Snapshot:
        """Read account, positions, orders and the quotes of ``symbols`` in one gateway call."""
        ...

    async def positions(self, tickets: Sequence[int]) -> Mapping[int, Position]:
        """Look up single positions by ticket in one gateway call; one that the broker has not is missing."""
        ...

    async def quotes(self, symbols: Iterable[str]) -> Mapping[str, Tick]:
        """Read the newest quote of each symbol in one gateway call."""
        ...

    async def bars(self, requests: Sequence[BarRequest]) -> Sequence[Bars]:
        """Read closed bars (never the forming one), one answer per request, in one gateway call."""
        ...

    async def flow(self, symbol: str, from_ms: int, to_ms: int) -> FlowBars:
        """Sum tick-rule signed ticks per M5 bar over ``[from_ms, to_ms)``; empty when the terminal has no ticks."""
        ...

    async def instrument(self, symbol: str) -> Instrument | None:
        """Return the symbol's specification and see to it that it is quoted; None for a symbol the broker has not."""
        ...

    def forget(self, symbol: str) -> None:
        """Read the symbol's specification anew the next time it is asked for."""
        ...

    async def deals(
        self, *, position: int | None = None, from_ms: int | None = None, to_ms: int | None = None
    ) -> Sequence[Deal]:
        """Search the deal history by position identifier or by time."""
        ...

    async def find_by_magic(
        self, magic: int, since_ms: int
    ) -> tuple[Sequence[Position], Sequence[Order], Sequence[Deal]]:
        """Search positions, orders and deals for a magic number."""
        ...

    async def evidence(self, number: int, symbol: str, since_ms: int, *, order: int | None = None) -> Evidence:
        """Read in one gateway call a symbol's books since a moment, and all that carries an intent's number.

        ``order`` is a pending order whose end is looked for, too, however old it is.
        """
        ...

    async def announce(self, key: str, token: int) -> Fence:
        """Announce a lease's fencing token to the gateway; the answer goes into every send under it."""
        ...

    async def send(self, action: Action, *, number: int, fence: Fence, tick: Tick) -> SendResult:
        """Send one committed intent. Never raises for a trade failure: what is not known is ``Answer.AMBIG``."""
        ...

    async def check(self, action: Action, *, number: int, tick: Tick) -> SendResult:
        """Ask whether the broker would take an action as things are, and send nothing.

        Never raises: a broker that does not answer is ``Answer.WAIT``. ``Answer.OK`` is no promise.
        """
        ...

    def explain(self, retcode: int) -> Advice:
        """Explain the code of a ``SendResult``, or of the outcome made of it."""
        ...

    async def margin(self, symbol: str, side: Side, lots: Decimal, price: float) -> float:
        """Return the margin that a market order needs, in account currency, whatever the symbol is quoted in."""
        ...

    async def profit(self, symbol: str, side: Side, lots: Decimal, open_price: float, close_price: float) -> float:
        """Return what lots bring between two prices, in account currency, costs aside; negative for a loss."""
        ...

    def server_offset_ms(self, at_ms: int) -> int:
        """Return the trade server's clock minus UTC at a moment; its midnight is the broker's day change."""
        ...

    def magic_of(self, number: int) -> int:
        """Return the magic number that carries an intent's number."""
        ...

    def intent_of(self, magic: int) -> int | None:
        """Return the intent number that a magic number carries, None when it is not ours."""
        ...

    def number_in(self, magic: int, comment: str) -> int | None:
        """Return the intent number that a magic number carries, or failing that the comment; None when neither does."""
        ...
