"""Opening, changing and closing small positions, and waiting until the books show what was done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dtms.domain.market import Filling, Instrument, Side
from dtms.domain.prices import on_grid
from dtms.ports.clock import Clock
from dtms.probe import requests
from dtms.probe.line import Books, Inconclusive, Line, Row, Stopped
from dtms.probe.note import Note, Opening
from dtms.probe.requests import Code, Reply

POLL_S = 0.02
SHOWN_S_MAX = 30.0
"""Market seconds for which a result is waited for in the lists."""
LATE_S = 25.0
"""Market seconds after which a request without an answer will not be carried out any more."""
TRIES = 8
WAITS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How long after the answer something was listed, in milliseconds of market time."""

    position_ms: int
    order_ms: int
    deal_ms: int

    @property
    def all_ms(self) -> int:
        return max(self.position_ms, self.order_ms, self.deal_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an accepted deal made, as the books show it."""

    reply: Reply
    magic: int
    positions: tuple[Row, ...]
    """Of a close: empty, or what is left."""
    order: Row
    deals: tuple[Row, ...]

    @property
    def position(self) -> Row:
        return self.positions[0]


@dataclass(slots=True)
class Hand:
    """The probe's hand at the terminal; ``volume`` is the smallest that may be traded."""

    line: Line
    clock: Clock
    note: Note
    instrument: Instrument
    next_magic: int
    filling: Filling = Filling.FOK
    opening_lags: list[Lag] = field(default_factory=list)
    closing_lags: list[Lag] = field(default_factory=list)
    placed_ms: list[int] = field(default_factory=list)
    """How long after PLACED a deal came."""
    unclear: int = 0
    """Requests whose answer said nothing."""
    sends: int = 0
    is_open_ended: bool = False
    """Whether an opening was sent of which the books have not shown what it made."""

    @property
    def volume(self) -> float:
        return float(self.instrument.volume_min)

    @property
    def symbol(self) -> str:
        return self.line.symbol

    @property
    def lag_ms(self) -> int:
        """The longest delay seen so far, of lists or of executions."""
        return max((*(lag.all_ms for lag in (*self.opening_lags, *self.closing_lags)), *self.placed_ms), default=0)

    def magic(self) -> int:
        """Give a magic number that was never used."""
        self.next_magic += 1
        return self.next_magic

    async def settle(self, reply: Reply | None = None) -> None:
        """Wait until what was done is surely listed: the deals of an answer, and whatever else came of it."""
        if reply is not None and reply.is_accepted:
            server_ms, until_ms = (await self.line.tick())["server_ms"], self.clock.market_ms() + SHOWN_S_MAX * 1000
            while not _deals_of(await self.line.books(server_ms), reply) and self.clock.market_ms() < until_ms:
                await self.clock.sleep_machine(POLL_S)
            self.is_open_ended = self.clock.market_ms() >= until_ms
        await self.clock.sleep_market(max(1.0, 2.0 * self.lag_ms / 1000))

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, build: Callable[[Row], dict[str, Any]]) -> Reply:
        """Send what ``build`` makes of a fresh quote; again for a new price, or after a while when it must wait.

        Raises:
            Stopped: where nothing more can be found out.
        """
        for attempt in range(TRIES):
            reply = await self.line.send(build(await self.line.tick()))
            self.sends += 1
            if reply.code in requests.HOPELESS:
                raise Stopped(f"{requests.HOPELESS[reply.code]} ({reply.told})")
            if reply.code in requests.WAIT:
                await self.clock.sleep_market(WAITS_S[min(attempt, len(WAITS_S) - 1)])
            elif reply.code not in requests.NEW_PRICE:
                return reply
        raise Inconclusive(f"after {TRIES} tries still {reply.told}")

    async def deal(self, side: Side, *, volume: float | None = None, magic: int | None = None, **more: Any) -> Reply:
        """Send a market deal that may open a position; an unclear answer is cleared up by what the books show."""
        number = self.magic() if magic is None else magic
        lots = self.volume if volume is None else volume
        await self.note.before(
            Opening(kind=requests.ORDER_TYPES[side], volume=lots, server_ms=(await self.line.tick())["server_ms"])
        )
        filling = requests.FILLINGS[self.filling]

        def build(tick: Row) -> dict[str, Any]:
            price = tick["ask"] if side is Side.LONG else tick["bid"]
            named = {"magic": number, "type_filling": filling, **more}
            return requests.opening(self.symbol, side, lots, on_grid(price, self.instrument), **named)

        known = {row["ticket"] for row in await self.line.positions()}
        self.is_open_ended = True
        reply = await self.send(build)
        if reply.code in requests.UNCLEAR:
            reply = await self._cleared_up(reply, number, known)
        if reply.is_accepted:
            self.note.opened(reply.order)
        else:
            self.note.refused()
            self.is_open_ended = False
        return reply

    async def _cleared_up(self, reply: Reply, magic: int, known: set[int]) -> Reply:
        """Look for what an unclear request did, for as long as it can be carried out late."""
        self.unclear += 1
        until_ms = self.clock.market_ms() + LATE_S * 1000
        while self.clock.market_ms() < until_ms:
            books = await self.line.books((await self.line.tick())["server_ms"])
            for deal in books.deals:
                if deal["magic"] == magic or requests.comment_of(magic) in deal["comment"]:
                    return Reply(code=Code.DONE, text="found", order=deal["order"], deal=deal["ticket"])
            for row in books.positions:
                if row["ticket"] not in known and self.note.is_own(row):
                    return Reply(code=Code.DONE, text="found", order=row["identifier"])
            await self.clock.sleep_market(0.5)
        return reply

    # --- positions ---------------------------------------------------------------------------------------------------

    async def open(self, side: Side = Side.LONG, **more: Any) -> Made | Reply:
        """Open a position and wait until it is listed; gives the answer when it was refused."""
        number = more.pop("magic", None) or self.magic()
        reply = await self.deal(side, magic=number, **more)
        return await self._shown(reply, number) if reply.is_accepted else reply

    async def opened(self, side: Side = Side.LONG, **more: Any) -> Made:
        """Open a position that must come about.

        Raises:
            Inconclusive: when it was refused.
        """
        made = await self.open(side, **more)
        if isinstance(made, Reply):
            raise Inconclusive(f"an ordinary position could not be opened: {made.told}")
        return made

    async def close(self, row: Row, **more: Any) -> Reply:
        """Close a position or a part of it, named by its ticket; gives the answer."""
        side = Side.SHORT if row["type"] == 0 else Side.LONG
        lots = more.pop("volume", row["volume"])
        filling = requests.FILLINGS[self.filling]

        def build(tick: Row) -> dict[str, Any]:
            price = tick["ask"] if side is Side.LONG else tick["bid"]
            named = {"position": row["ticket"], "type_filling": filling, **more}
            return requests.opening(self.symbol, side, lots, on_grid(price, self.instrument), **named)

        return await self.send(build)

    async def closed(self, row: Row, **more: Any) -> Made | Reply:
        """Close a position or a part of it, and wait until that is listed."""
        number = more.pop("magic", None) or self.magic()
        reply = await self.close(row, magic=number, **more)
        return await self._shown(reply, number, closing=row) if reply.is_accepted else reply

    async def must_close(self, row: Row, **more: Any) -> Made:
        """Close a position or a part of it, which must come about.

        Raises:
            Inconclusive: when it was refused.
        """
        made = await self.closed(row, **more)
        if isinstance(made, Reply):
            raise Inconclusive(f"position {row['ticket']} could not be closed: {made.told}")
        return made

    async def move(self, row: Row, **named: float) -> Reply:
        """Change the levels that are named of a position."""
        magic = self.magic()
        return await self.send(lambda _: {**requests.levels(self.symbol, row["ticket"], **named), "magic": magic})

    async def current(self, identifier: int) -> Row | None:
        """Read a position as it is now, None when it is not listed."""
        return next((row for row in await self.line.positions() if row["identifier"] == identifier), None)

    async def when(self, identifier: int, holds: Callable[[Row], bool]) -> Row | None:
        """Wait until a position is listed so; gives how it is listed last."""
        until_ms = self.clock.market_ms() + max(3_000, 3 * self.lag_ms)
        row = await self.current(identifier)
        while (row is None or not holds(row)) and self.clock.market_ms() < until_ms:
            await self.clock.sleep_machine(POLL_S)
            row = await self.current(identifier)
        return row

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def _shown(self, reply: Reply, magic: int, closing: Row | None = None) -> Made:
        """Wait until order, deals and positions show what was answered, and note how long each took.

        Raises:
            Inconclusive: when they do not within half a minute.
        """
        since_ms, server_ms = self.clock.market_ms(), (await self.line.tick())["server_ms"]
        seen: dict[str, int] = {}
        while self.clock.market_ms() < since_ms + SHOWN_S_MAX * 1000:
            books = await self.line.books(server_ms)
            found = _found(books, reply, closing)
            for name in found:
                seen.setdefault(name, self.clock.market_ms() - since_ms)
            if len(found) == 3:
                made = _made(books, reply, magic, closing)
                self.is_open_ended = self.is_open_ended and closing is not None
                self._count(reply, Lag(**{f"{name}_ms": at for name, at in seen.items()}), closing)
                self.note.positions |= {row["identifier"] for row in made.positions if closing is None}
                return made
            await self.clock.sleep_machine(POLL_S)
        missing = {"position", "order", "deal"} - seen.keys()
        raise Inconclusive(f"{reply.told}: not listed within {SHOWN_S_MAX:.0f} s: {', '.join(sorted(missing))}")

    def _count(self, reply: Reply, lag: Lag, closing: Row | None) -> None:
        if reply.code == Code.PLACED:
            self.placed_ms.append(lag.deal_ms)
        else:
            (self.opening_lags if closing is None else self.closing_lags).append(lag)


def _deals_of(books: Books, reply: Reply) -> list[Row]:
    return [deal for deal in books.deals if deal["order"] == reply.order or deal["ticket"] == reply.deal != 0]


def _positions_of(books: Books, reply: Reply, closing: Row | None) -> list[Row]:
    if closing is not None:
        return [row for row in books.positions if row["identifier"] == closing["identifier"]]
    named = {deal["position_id"] for deal in _deals_of(books, reply)} | {reply.order}
    return [row for row in books.positions if row["identifier"] in named]


def _found(books: Books, reply: Reply, closing: Row | None) -> set[str]:
    """Name what the books show already of an answer."""
    positions, deals = _positions_of(books, reply, closing), _deals_of(books, reply)
    found = {"order"} if any(row["ticket"] == reply.order for row in books.past_orders) else set()
    if deals and (reply.code == Code.PLACED or sum(one["volume"] for one in deals) >= reply.volume - 1e-9):
        found.add("deal")
    is_changed = bool(positions)
    if closing is not None:
        is_changed = not positions or positions[0]["volume"] < closing["volume"] - 1e-9
    if is_changed:
        found.add("position")
    return found


def _made(books: Books, reply: Reply, magic: int, closing: Row | None) -> Made:
    return Made(
        reply=reply,
        magic=magic,
        positions=tuple(_positions_of(books, reply, closing)),
        order=next(row for row in books.past_orders if row["ticket"] == reply.order),
        deals=tuple(_deals_of(books, reply)),
    )
