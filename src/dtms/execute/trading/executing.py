"""Executions: one order, sent once, under its own number; what it opened belongs to somebody in the same commit.

With a strategy the Universal manager's entry in the registry is committed together with the outcome, so that nobody can
take the position in between. Without one its registration with DTMS is: delivered later, it neither delays nor fails
the execution. What nobody knows the outcome of is answered so, and looked for by its number; it is not sent again.
"""

from dataclasses import dataclass, field, replace

from dtms.decide.proof import named_positions
from dtms.domain.account import MarginMode
from dtms.domain.actions import Ending, Intent, Outcome, PlaceOrder
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Asker, Ownership
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Owner
from dtms.execute.carrying import VOLUME_CHANGED, Done, Task, Unsent
from dtms.execute.service import Receipt
from dtms.execute.shown import is_visible
from dtms.execute.trading import endings
from dtms.execute.trading.carried import carried
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.opening import Opening, Ticketed, filled
from dtms.execute.trading.requests import Executed, Execution, Protection
from dtms.execute.trading.service import Begin, Code, Conclude, TradingRefused, nothing_begins, nothing_follows
from dtms.execute.trading.whose import known
from dtms.ports.store import Kept, Unit

TRIES = 3
"""How often an order is decided anew on the next quote while the price alone stands in its way."""
RAILS = frozenset({"margin", "spread_spike", "unsound_quote"})
"""What stops an order that made sense: recorded with its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What binds an execution beside its request, and what is committed with it."""

    guarded: bool = False
    """All rails are asked, as for a plan."""
    begin: Begin = nothing_begins
    conclude: Conclude = nothing_follows
    mode: Mode | None = None
    """The configured one, where a mode binds who asks."""
    receipt: Receipt[Executed] | None = None


@dataclass(slots=True)
class Opened:
    """What an order came to, as its outcome was committed."""

    intent: Intent | None = None
    positions: tuple[Position, ...] = ()
    ownership: tuple[Ownership, ...] = ()
    letters: tuple[Kept, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sending:
    """One order on its way."""

    desk: TradingDesk
    at: Ticketed
    terms: Terms
    opened: Opened = field(default_factory=Opened)

    def task(self) -> Task:
        request = self.at.request
        return Task(
            asker=Asker.EXECUTION,
            ticket=None,
            key=self.at.key,
            action=self.at.action,
            tick=self.at.tick,
            instrument=self.at.instrument,
            is_shown=self._is_shown,
            conclude=self._conclude,
            begin=self._begin(),
            ready=self._require_same,
            mode=self.terms.mode,
            number=self.at.number,
            plan=request.plan,
            strategy_type=request.strategy_type,
            correlation_id=request.correlation_id,
        )

    async def _require_same(self) -> None:
        """See, on an account that nets, that the order still joins what it was decided on, and that this may grow.

        Raises:
            Unsent: when the symbol's position is another one now, or DTMS is defending it.
        """
        if self.at.account.margin_mode is MarginMode.HEDGING:
            return
        symbol, joins = self.at.action.symbol, self.at.joins
        look = await self.desk.broker.snapshot([symbol])
        held = next((p for p in look.positions.values() if p.symbol == symbol), None)
        if _netted(held) != _netted(joins):
            raise Unsent(f"the position of {symbol} changed meanwhile", VOLUME_CHANGED)
        if held is None:
            return
        state = (await known(self.desk, held)).standing.state
        if state is not None and state.is_defensive:
            told = f"it would add to position {held.ticket}, and DTMS is defensive ({state.value})"
            raise Unsent(told, "dtms_defensive")

    def _begin(self) -> Unit:
        """Say what is committed with the intent: from then on nobody may take it for not sent."""
        begun = self.terms.begin(self.at.number)
        kept = self._kept(Outcome(ending=Ending.UNKNOWN, reason="it was sent; what it came to is not known"))
        return replace(begun, keep=(*begun.keep, *kept))

    def _kept(self, outcome: Outcome) -> tuple[Kept, ...]:
        receipt = self.terms.receipt
        kept = None if receipt is None else receipt(_answer(self.at, outcome, self.opened))
        return () if kept is None else (kept,)

    def _is_shown(self, intent: Intent, look: Snapshot) -> bool:
        joins = self.at.joins
        if joins is None:
            return is_visible(intent, look, self.at.instrument, self.desk.broker.number_in)
        held = look.positions.get(joins.ticket)
        return held is not None and held.volume >= joins.volume + filled(intent.filled, self.at.action.volume)

    def _conclude(self, done: Done) -> Unit:
        """Say what is committed with the outcome: what is told of it, and whose the position is."""
        opened = self.opened
        opened.intent, opened.positions = done.intent, self._positions(done)
        if self.at.joins is None:  # what joins a position stays with that position's owner
            opened.ownership = tuple(self._owned(p) for p in opened.positions if done.intent.strategy_type)
            opened.letters = tuple(self._letter(p) for p in opened.positions if not done.intent.strategy_type)
        ticket = opened.positions[0].ticket if opened.positions else None
        opened.facts = (self.desk.action(done.intent, replace(done.outcome, position=ticket), ticket, self._figures()),)
        return self._concluded(Unit(facts=opened.facts, ownership=opened.ownership, keep=opened.letters), done)

    def _concluded(self, unit: Unit, done: Done) -> Unit:
        """Add what the caller commits with the outcome; of what was not done no answer is kept."""
        also = self.terms.conclude(done.intent, done.outcome, self.opened.positions)
        kept = self._kept(done.outcome)
        is_answer = done.outcome.ending in (Ending.DONE, Ending.UNKNOWN)
        return replace(
            unit,
            facts=(*unit.facts, *also.facts),
            ownership=(*unit.ownership, *also.ownership),
            plans=also.plans,
            keep=(*unit.keep, *also.keep, *(kept if is_answer else ())),
            forget=() if is_answer else tuple((one.kind, one.key) for one in kept),
        )

    def _positions(self, done: Done) -> tuple[Position, ...]:
        """Return what the order opened, the largest first."""
        if done.seen is None:
            return ()
        if self.at.joins is not None:
            return (done.seen.positions[self.at.joins.ticket],)
        found = named_positions(done.intent, tuple(done.seen.positions.values()), self.desk.broker.number_in)
        return tuple(sorted(found, key=lambda p: (-p.volume, p.ticket)))

    def _owned(self, position: Position) -> Ownership:
        account, request = self.at.account, self.at.request
        return Ownership(
            ticket=position.ticket,
            identifier=position.identifier,
            login=account.login,
            server=account.server,
            symbol=position.symbol,
            side=position.side,
            owner=Owner.UNIVERSAL.value,
            strategy_type=request.strategy_type,
            since_ms=self.desk.clock.market_ms(),
        )

    def _letter(self, position: Position) -> Kept:
        body: dict[str, Json] = {"symbol": position.symbol, "direction": position.side.direction}
        return self.desk.letters.letter(position.ticket, body)

    def _figures(self) -> dict[str, Json]:
        request = self.at.request
        notes: dict[str, Json] = {name: value for name, value in request.notes.items() if value is not None}
        figures: dict[str, Json] = {"asked": float(self.at.action.volume), "strategy_type": request.strategy_type}
        figures |= {"plan": request.plan, "sizing": self.at.sizing, "notes": notes}
        return figures


def _netted(position: Position | None) -> tuple[object, ...] | None:
    return None if position is None else (position.identifier, position.side, position.volume, position.stop)


class Executing:
    """Opens positions and places orders."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk
        self._opening = Opening(desk)

    async def execute(self, request: Execution, terms: Terms) -> Executed:
        """Carry a request out once.

        Raises:
            TradingRefused: when it is impossible, or the broker refused it.
            BrokerUnavailable: when the broker does not answer, and nothing was sent.
        """
        for _ in range(TRIES):
            at = await self._planned(request, guarded=terms.guarded)
            sending = _Sending(self._desk, at, terms)
            outcome = await carried(self._desk.carrier, sending.task())
            if outcome.ending in (Ending.DONE, Ending.UNKNOWN):
                self._hand_over(sending.opened)
                return _answer(at, outcome, sending.opened)
            if not endings.is_requoted(outcome):
                break
        raise endings.refused(outcome, self._desk.broker, await self._desk.store.standing(0))

    async def _planned(self, request: Execution, *, guarded: bool) -> Ticketed:
        """Plan it; what a rail or the broker stops is recorded, but for plans, which ask again and again."""
        try:
            return await self._opening.planned(request, guarded=guarded)
        except TradingRefused as refused:
            if not guarded and (refused.code is Code.BROKER_REFUSED or refused.details.get("rule") in RAILS):
                await self._record(request, refused)
            raise

    async def _record(self, request: Execution, refused: TradingRefused) -> None:
        told = f"not executed: {request.side.direction} {request.symbol}: {refused.message}"
        details = {**refused.details, "asker": Asker.EXECUTION.value}
        fact = self._desk.fact(FactKind.REFUSAL, told, None, request.symbol, details, request.correlation_id)
        await self._desk.store.commit(Unit(facts=(fact,)))

    def _hand_over(self, opened: Opened) -> None:
        """Let those take the position up whose it is, now that it is committed."""
        self._desk.journal.tell(opened.facts)
        for letter in opened.letters:
            self._desk.letters.take(letter)
        if opened.intent is not None and opened.ownership:
            self._desk.taker.opened(opened.intent, opened.positions)


def _answer(at: Ticketed, outcome: Outcome, opened: Opened) -> Executed:
    intent, request, is_done = opened.intent, at.request, outcome.ending is Ending.DONE
    tickets = tuple(p.ticket for p in opened.positions)
    asked = at.action.volume
    return Executed(
        ok=is_done,
        unknown=not is_done,
        intent=at.number,
        symbol=at.action.symbol,
        side=at.action.side,
        way=request.way,
        order=intent.order if intent is not None else None,
        deal=intent.deal if intent is not None else None,
        ticket=tickets[0] if tickets else None,
        tickets=tickets,
        retcode=outcome.retcode,
        comment=outcome.reason,
        volume=filled(outcome.volume, asked) if is_done else ZERO,
        asked=asked,
        price=at.action.price if isinstance(at.action, PlaceOrder) else outcome.price,
        stop=at.action.stop,
        target=at.action.target,
        protection=_protection(at, opened, is_done=is_done),
        sizing=at.sizing,
        plan=request.plan,
    )


def _protection(at: Ticketed, opened: Opened, *, is_done: bool) -> Protection:
    if at.joins is not None:
        return Protection(manager=at.joined_owner, registered=at.joined_owner is not Owner.NOBODY)
    manager = Owner.UNIVERSAL if at.request.strategy_type is not None else Owner.DTMS
    if not is_done:
        return Protection(manager=manager)
    waits_for_fill = not opened.positions
    is_registered = bool(opened.ownership)
    return Protection(manager=manager, registered=is_registered, queued=bool(opened.letters) or waits_for_fill)
