"""Every code through the real path: trades that want each kind of action at once, and one answer that is forced.

One engine on one market, whose thresholds make every trade step down to WARNING_L2 in its first check, and be hedged or
closed from there. For each code a position is opened and registered, and the first request of one kind gets the forced
answer; what the engine makes of it is read from its journal and its store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import Any

from tests.adapters_mt5.faulty import Answering
from tests.execute.unsteady import Lost, Request, Send, Unsteady, letter_of, set_up
from tests.replay.windows import BTC, SHORT, Window, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.capabilities import NOTHING_LEARNED
from dtms.domain.actions import Intent, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.execute.service import Registration
from dtms.replay import Stage
from dtms.settings import Settings
from dtms.terminal.protocol import Refusal

KINDS = {"hedge": "H", "part": "P", "stop": "S", "everything": "C"}
"""What adds, what reduces once, what moves a stop, what closes: the letter of the comment for each."""
STEP_MIN, TRADES_MAX = 0.5, 12
SETTLED_MS, AT_ONCE_MS = 100_000, 3_000
"""Market time after which nothing more comes of a code; and within which a new request belongs to the same check."""
WINDOW = Window(recording=BTC, at="2017-11-29T11:04:18.201Z", side=SHORT, stop=11265.14, hours=1.0, rules=())


class Came(StrEnum):
    """What the engine made of a forced answer."""

    DONE = "done"
    AT_ONCE = "failed, and sent anew in the same check as another intent"
    COUNTED = "failed, counted, and sent anew after a back-off"
    WAITED = "waits, not counted, and sent anew after a back-off"
    NOT_POSSIBLE = "not possible: the substitute or the next state, and never again in this visit"
    STOOD_STILL = "waits, with everything else on the account, and a person is called"
    UNKNOWN = "unknown, then certainly not executed, and only then sent anew"


Code = int | Refusal


@dataclass(slots=True)
class Forcing:
    """Answers the first request of each kind, for the trade that is to show it, with the code in hand."""

    engine: Any = None
    code: Code | None = None
    wanted: dict[int, str] = field(default_factory=dict)
    """Ticket → letter."""
    forced: dict[int, int] = field(default_factory=dict)
    """Ticket → magic number of the request that was answered so."""

    def claims(self, request: Request) -> bool:
        """Answer whether this request gets the forced answer, and remember it."""
        ticket = next((t for t, w in self.engine.book.watches.items() if self._is_sending(w, request)), None)
        if ticket is None or self.wanted.get(ticket) != letter_of(request) or ticket in self.forced:
            return False
        self.forced[ticket] = request["magic"]
        return True

    def _is_sending(self, watch: Any, request: Request) -> bool:
        return any(number == request["magic"] & (2**40 - 1) for number in watch.open_intents)

    def spoil(self, request: Request, send: Send) -> Any:
        if self.code is None or isinstance(self.code, Refusal) or not self.claims(request):
            return send(request)
        if self.code < 0:
            return Lost(self.code)
        if self.code in (10009, 10010) or (self.code == 10025 and letter_of(request) == "S"):
            did = send(request)
            return Answering(self.code, volume=did.volume, price=did.price, order=did.order, deal=did.deal)
        return Answering(self.code)

    def over(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wrap the gateway's way in, for what the gateway itself refuses."""

        def refusing(message: dict[str, Any]) -> Any:
            refuses = isinstance(self.code, Refusal) and message.get("call") == "send"
            if refuses and self.claims(message["request"]):
                assert isinstance(self.code, Refusal)
                return {"refused": self.code.value, "message": "made to refuse", "instance": 1}
            return handle(message)

        return refusing


def eager(kind: str) -> Settings:
    """Settings by which every trade goes down to HEDGED in one check; unhedged, and closed minutes later, to close."""
    settings = settings_of(WINDOW)
    protection = replace(
        settings.protection,
        hedge="close" if kind == "everything" else "hedge",
        warn_l1=90.0,
        warn_l1_exit=100.0,
        warn_l2=80.0,
        warn_l2_exit=95.0,
        hedge_at=70.0,
        armed_min=0.0,
        flat_min=1.0,
        failure_backoff_s=5.0,
    )
    rails = replace(settings.rails, daily_loss_percent=90.0, hourly_loss_percent=90.0, stop_outs_max=10_000)
    return replace(settings, protection=protection, rails=replace(rails, requests_per_day=1_000_000))


def open_position(terminal: Unsteady, symbol: str) -> int:
    """Open a position as a person does, with a stop far away."""
    tick = terminal.symbol_info_tick(symbol)
    request = {
        "action": 1,
        "symbol": symbol,
        "volume": 0.4,
        "type": 1,
        "price": tick.bid,
        "sl": round(tick.ask * 1.05, 2),
        "deviation": 1_000,
        "type_filling": 1,
    }
    answer = terminal._pass(request)
    assert answer.retcode == 10009
    return int(answer.order)


async def seen(on: Stage, terminal: Unsteady, forcing: Forcing, code: Code, kind: str) -> Came:
    """Force one code upon one kind of action, and say what came of it."""
    engine: Any = on.engine
    engine._desk.learned = NOTHING_LEARNED  # what an earlier code taught is none of this one's business
    for _ in range(TRADES_MAX):
        ticket = open_position(terminal, WINDOW.symbol)
        forcing.code, forcing.wanted, forcing.forced = code, {ticket: KINDS[kind]}, {}
        await on.play(0.1)
        await on.engine.register(Registration(ticket=ticket))
        came = await _watched(on, forcing, ticket)
        await _clear(on, terminal, forcing)
        if came is not None:
            return came
    raise AssertionError("it was never sent")


async def _watched(on: Stage, forcing: Forcing, ticket: int) -> Came | None:
    """Let time pass until something came of the forced answer; None for a trade that its stop ended before."""
    (last,) = await on.store.facts(limit=1, newest=True)
    while ticket in forcing.forced or on.engine.live(ticket) is not None:
        await on.play(STEP_MIN)
        if ticket in forcing.forced and (came := await _came(on, ticket, forcing.forced[ticket], last.id)) is not None:
            return came
    return None


async def _came(on: Stage, ticket: int, magic: int, after: int) -> Came | None:
    """Judge an intent that is resolved, and sent anew or old enough; None before that."""
    intents = await on.store.intents(ticket=ticket)
    intent = next(i for i in intents if i.number == magic & (2**40 - 1))
    again = [i for i in intents if i.number > intent.number and _is_same(i, intent)]
    age_ms = on.clock.market_ms() - (intent.resolved_ms or on.clock.market_ms())
    if intent.state.is_open or (not again and age_ms < SETTLED_MS):
        return None
    facts = await on.store.facts(after=after, limit=100_000)
    return came_of(intent, again, [f for f in facts if f.ticket in (ticket, None)])


async def _clear(on: Stage, terminal: Unsteady, forcing: Forcing) -> None:
    """Leave nothing for the next code: no position, no trade, no refusal that is remembered."""
    forcing.code = None
    for position in terminal.positions_get():
        close(terminal, position.ticket)
    await on.play(2.0)


def close(terminal: Unsteady, ticket: int) -> None:
    (position,) = terminal.positions_get(ticket=ticket)
    tick = terminal.symbol_info_tick(position.symbol)
    request = {
        "action": 1,
        "symbol": position.symbol,
        "position": ticket,
        "volume": position.volume,
        "type": 1 - position.type,
        "price": tick.bid if position.type == 0 else tick.ask,
        "deviation": 1_000,
        "type_filling": 1,
    }
    assert terminal._pass(request).retcode == 10009


def came_of(intent: Intent, again: list[Intent], facts: list[Fact]) -> Came:
    """Say what the engine made of the answer to one intent, by its own records."""
    action = next(f for f in facts if f.kind is FactKind.ACTION and f.details.get("intent") == intent.number)
    ending = action.details["ending"]
    assert all(i.created_ms >= (intent.resolved_ms or 0) for i in again), "sent again before it was resolved"
    if ending == "done":
        assert intent.state is IntentState.CONFIRMED
        return Came.DONE
    if ending == "unknown":
        assert intent.state is IntentState.NOT_EXECUTED, intent
        wait_ms = 60_000 if intent.action.kind.changes_exposure else 20_000
        assert all(i.created_ms - intent.created_ms >= wait_ms for i in again)
        return Came.UNKNOWN
    assert intent.state is IntentState.REFUSED
    if any(f.kind is FactKind.NEEDS_ATTENTION and f.ticket is None for f in facts):
        return Came.STOOD_STILL
    if ending == "not_possible" and not _is_endless(intent):
        assert not again
        return Came.NOT_POSSIBLE
    if again and again[0].created_ms - intent.created_ms < AT_ONCE_MS:
        return Came.AT_ONCE
    held = [f for f in facts if f.kind is FactKind.HELD and f.id > action.id]
    if not held:
        assert not again
        return Came.NOT_POSSIBLE
    return Came.WAITED if " waits: " in held[0].summary else Came.COUNTED


def _is_same(one: Intent, other: Intent) -> bool:
    """Answer whether two intents do the same for the same row."""
    return one.action.kind is other.action.kind and one.serves == other.serves


def _is_endless(intent: Intent) -> bool:
    """Closing everything is decided anew, whatever refuses it."""
    return intent.action.kind.value in ("close_all", "close_hedge")


@cache
def all_seen(codes: tuple[Code, ...], kind: str) -> Mapping[Code, Came | str]:
    """Force each code in turn upon one kind of action, on one market; what went wrong is told in words."""

    async def main() -> Mapping[Code, Came | str]:
        on, terminal = set_up(WINDOW, eager(kind), changes={"filling_mask": 3})
        forcing = Forcing(on.engine)
        terminal.spoil = forcing.spoil
        gateway: Any = on.gateway
        gateway.handle = forcing.over(on.gateway.handle)
        await on.engine.start()
        await on.play(3.0)
        found: dict[Code, Came | str] = {}
        for code in codes:
            try:
                found[code] = await seen(on, terminal, forcing, code, kind)
            except AssertionError as wrong:
                found[code] = str(wrong)
                await _clear(on, terminal, forcing)
        await on.engine.stop()
        return found

    return run_virtual(main())
