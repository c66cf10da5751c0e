"""Asking the simulation by messages: what a trader or a test may do to the simulated terminal while it runs.

{"do": "add", "fault": {"kind": "lost_executed"}}        {"do": "clear"}        {"do": "faults"}
{"do": "set", "name": "symbol.EURUSD.m.stops_level_points", "value": 200}       {"do": "conditions"}
{"do": "act", "act": "close", "ticket": 100001, "lots": 0.05, "reason": "mobile"}
{"do": "advance", "seconds": 60}                         {"do": "ledger", "last": 20}
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from dtms.terminal.simulated import conditions, views
from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.clock import SimClock
from dtms.terminal.simulated.faults import described
from dtms.terminal.simulated.faults_clock import move_on
from dtms.terminal.simulated.faults_kinds import ROWS, FaultKind
from dtms.terminal.simulated.faults_layer import FaultLayer
from dtms.terminal.simulated.faults_people import Person
from dtms.terminal.simulated.grid import to_lots, to_money, to_price
from dtms.terminal.simulated.records import Reason, RequestNote
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World

Message = Mapping[str, Any]
ROWS_MAX = 1_000
SECONDS_MAX = 366 * 86_400.0


class Control:
    """Answer messages about a simulation; ValueError says what is wrong with one."""

    def __init__(
        self,
        world: World,
        server: TradeServer,
        faults: FaultLayer,
        clock: SimClock,
        catch_up: Callable[[], None],
    ) -> None:
        self._world = world
        self._server = server
        self._faults = faults
        self._clock = clock
        self._catch_up = catch_up
        self._deeds: Mapping[str, Callable[[Message], Any]] = {
            "kinds": lambda _: kinds(),
            "faults": lambda _: self._listed(),
            "add": self._add,
            "clear": self._clear,
            "conditions": lambda _: conditions.present(self._world),
            "set": self._set,
            "act": self._act,
            "advance": self._advance,
            "ledger": self._ledger,
        }

    def answer(self, message: Message) -> Any:
        """Do what a message says and give plain values.

        Raises:
            ValueError: for an unknown deed, or one that cannot be done as it says.
        """
        deed = self._deeds.get(str(message.get("do")))
        if deed is None:
            raise ValueError(f"do: one of {', '.join(self._deeds)}")
        self._catch_up()
        try:
            return deed(message)
        except (TypeError, KeyError, AttributeError, OverflowError) as wrong:
            raise ValueError(f"{message.get('do')}: {type(wrong).__name__}: {wrong}") from wrong

    def _listed(self) -> dict[str, Any]:
        faults = self._faults
        return {
            "active": [{**described(a.fault), "matched": a.matched, "fired": a.fired} for a in faults.active],
            "fired": {str(kind): count for kind, count in sorted(faults.fired.items())},
            "waiting": [{"due_ms": late.due_ms, "request": dict(late.request)} for late in faults.waiting],
            "elsewhere": [dict(request) for request in faults.elsewhere],
        }

    def _add(self, message: Message) -> Any:
        return described(self._faults.add(dict(message["fault"])))

    def _clear(self, message: Message) -> int:
        named = message.get("kind")
        return self._faults.clear(None if named is None else FaultKind(named))

    def _set(self, message: Message) -> dict[str, Any]:
        """Set a condition by its name; the last part of it will do where no other name ends so."""
        given = str(message["name"])
        known = conditions.present(self._world)
        meant = [name for name in known if name == given] or [name for name in known if name.endswith(f".{given}")]
        if len(meant) != 1:
            raise ValueError(f"{given}: {'there is no such name' if not meant else 'could be ' + ', '.join(meant)}")
        self._world.set(meant[0], message["value"])
        self._world.ledger.changes += 1  # what was to happen next may be so no longer
        self._catch_up()
        return {meant[0]: conditions.present(self._world)[meant[0]]}

    def _act(self, message: Message) -> dict[str, Any]:
        given = {name: value for name, value in message.items() if name not in ("call", "do", "act", "reason")}
        person = Person(self._world, self._server, Reason[str(message.get("reason", "client")).upper()])
        deeds: Mapping[str, Callable[..., Outcome]] = {
            "open": person.open,
            "modify": person.set_levels,
            "close": person.close,
        }
        if message.get("act") not in deeds:
            raise ValueError(f"act: one of {', '.join(deeds)}")
        outcome = deeds[message["act"]](**given)
        self._catch_up()
        return {"retcode": outcome.retcode, "order": outcome.order, "deal": outcome.deal}

    def _advance(self, message: Message) -> int:
        seconds = float(message["seconds"])
        if not 0 <= seconds <= SECONDS_MAX:
            raise ValueError(f"seconds: between 0 and {SECONDS_MAX:.0f}")
        move_on(self._clock, round(seconds * 1000))
        self._catch_up()
        return self._world.now_ms

    def _ledger(self, message: Message) -> dict[str, Any]:
        """Tell what really happened: the trade server's own books, whatever a caller was shown."""
        last = min(int(message.get("last", ROWS_MAX)), ROWS_MAX)
        world, books = self._world, self._world.ledger
        return {
            "utc_ms": world.now_ms,
            "balance": to_money(books.balance_cents),
            "equity": to_money(world.equity_cents()),
            "positions": [views.position(world, one)._asdict() for one in books.positions.values()],
            "orders": [views.order(world, one)._asdict() for one in books.orders.values()],
            "deals": [views.deal(world, one)._asdict() for one in books.deals[-last:]] if last else [],
            "requests": [self._noted(note) for note in books.requests[-last:]] if last else [],
        }

    def _noted(self, note: RequestNote) -> dict[str, Any]:
        spec = self._world.specs.get(str(note.request.get("symbol", "")))
        price = to_price(note.price_points, spec.scale) if spec else 0.0
        shown = {key: value for key, value in asdict(note).items() if not key.endswith(("_points", "_cents"))}
        return {**shown, "lots": to_lots(note.units), "price": price, "reason": Reason(note.reason).name.lower()}


def kinds() -> list[dict[str, Any]]:
    """Tell of each kind of fault its meaning, its arguments with their defaults, and the calls it concerns."""
    return [
        {
            "kind": str(kind),
            "meaning": row.meaning,
            "arguments": dict(row.arguments),
            "calls": sorted(row.calls),
            "times": row.times,
        }
        for kind, row in ROWS.items()
    ]
