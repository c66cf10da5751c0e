"""One call on its way through the faults, and one fault with what it remembers of the calls that it met."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults import Fault, Of
from dtms.terminal.simulated.faults_books import Shown
from dtms.terminal.simulated.faults_kinds import FaultKind

YES_OR_NO = frozenset({"initialize", "login", "symbol_select", "market_book_add", "market_book_release"})
LATE_MS_MIN, LATE_MS_MAX = 500, 20_000
ACTIONS_OF: Mapping[int, Of] = {
    MT5.TRADE_ACTION_SLTP: Of.LEVELS,
    MT5.TRADE_ACTION_PENDING: Of.PENDING,
    MT5.TRADE_ACTION_MODIFY: Of.PENDING,
    MT5.TRADE_ACTION_REMOVE: Of.PENDING,
    MT5.TRADE_ACTION_CLOSE_BY: Of.CLOSING,
}


@dataclass(slots=True, kw_only=True)
class Call:
    """A call of the vendor's, and what the faults that met it make of it.

    `plain` carries it out; `instead` answers in its place; `after` changes an answer that is not None; `books` are
    shown in place of the trade server's own; while `is_offline` the terminal has no connection to its trade server;
    `delay_s` are real seconds that it takes.
    """

    name: str
    arguments: Sequence[Any]
    named: Mapping[str, Any]
    plain: Callable[[], Any]
    now_ms: int
    instead: Callable[[], Any] | None = None
    after: list[Callable[[Any], Any]] = field(default_factory=list)
    books: Shown | None = None
    is_offline: bool = False
    delay_s: float = 0.0

    @property
    def request(self) -> Mapping[str, Any]:
        """The trade request, empty when the call has none."""
        given = self.arguments[0] if self.name in ("order_send", "order_check") and self.arguments else None
        return given if isinstance(given, dict) else {}

    @property
    def symbol(self) -> str:
        """The symbol that the call names, empty when it names none."""
        given = self.arguments[0] if self.arguments else ""
        found = self.request.get("symbol") or self.named.get("symbol") or given
        return found if isinstance(found, str) else ""

    @property
    def of(self) -> Of:
        """The sort of the trade request; ANY for what is none."""
        action = self.request.get("action")
        if action == MT5.TRADE_ACTION_DEAL:
            return Of.CLOSING if self.request.get("position") else Of.OPENING
        return ACTIONS_OF.get(action, Of.ANY) if isinstance(action, int) else Of.ANY

    def answer_instead(self, answer: Callable[[], Any]) -> None:
        """Answer in the call's place; the first fault that does so is heard."""
        self.instead = self.instead or answer


def nothing(call: Call) -> bool | None:
    """Give what the call answers when it fails."""
    return False if call.name in YES_OR_NO else None


@dataclass(slots=True, kw_only=True)
class Armed:
    """A fault that is in place: how many calls matched, how often it happened, since when it lasts (UTC ms)."""

    fault: Fault
    matched: int = 0
    fired: int = 0
    since_ms: int | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    @property
    def lasts_ms(self) -> int:
        """How long it goes on once it happened."""
        usual_s = 0.0
        if self.fault.kind == FaultKind.RESTART:
            usual_s = sum(self.fault.number(name) for name in ("none_s", "empty_s", "partial_s"))
        return round(max(self.fault.when.for_s, usual_s) * 1000)

    def is_going_on(self, now_ms: int) -> bool:
        """Tell whether it happened and has not ended yet."""
        return self.since_ms is not None and 0 <= now_ms - self.since_ms < self.lasts_ms

    def is_spent(self, now_ms: int) -> bool:
        """Tell whether it can never happen again."""
        when = self.fault.when
        is_over = when.until_ms is not None and now_ms >= when.until_ms
        return not self.is_going_on(now_ms) and (is_over or 0 < self.fault.times <= self.fired)

    def takes(self, call: Call) -> bool:
        """Tell whether it happens to a call, counting it."""
        if not self._matches(call):
            return False
        if self.is_going_on(call.now_ms):
            return True
        when = self.fault.when
        if not (when.from_ms or 0) <= call.now_ms or self.is_spent(call.now_ms):
            return False
        self.matched += 1
        if self.matched < when.nth or not self._drawn():
            return False
        self.fired += 1
        self.since_ms = call.now_ms
        return True

    def dice(self, *of: object) -> random.Random:
        """Give dice that fall the same for the same seed and matter."""
        return random.Random(":".join(map(str, (self.fault.when.seed, self.fault.kind, *of))))

    def late_ms(self) -> int:
        """Give how long a request waits: as told, or drawn."""
        told_ms = round(self.fault.number("late_s") * 1000)
        return told_ms or self.dice("late", self.fired).randint(LATE_MS_MIN, LATE_MS_MAX)

    def _drawn(self) -> bool:
        probability = self.fault.when.probability
        return probability >= 1 or self.dice("happens", self.matched).random() < probability

    def _matches(self, call: Call) -> bool:
        fault, when = self.fault, self.fault.when
        if call.name not in fault.calls or (when.of != Of.ANY and call.of != when.of):
            return False
        if fault.row.is_for_deals and call.request.get("action") != MT5.TRADE_ACTION_DEAL:
            return False
        return not (when.symbol and call.symbol and call.symbol != when.symbol)
