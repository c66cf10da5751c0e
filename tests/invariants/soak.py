"""Seeded lives of a trade among faults, crashes and failing disks, judged by every invariant after every few minutes.

    python -m tests.invariants.soak 0 200

A seed draws a recorded window, faults of the terminal, people who interfere, moments at which the process ends and
commits that fail; then everything is calm for a while, and store and broker must have converged. A seed replays to the
byte. The terminal's own books are the judge, not what the engine was told.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog
from tests.execute.restarting import Lives
from tests.execute.unsteady import Request, Send
from tests.invariants.worlds import world_of
from tests.replay.windows import SHIPPED, Window, config_of, registered, settings_of

from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.audit.invariants import judge
from dtms.audit.spans import Span
from dtms.audit.violations import Violation
from dtms.audit.world import Look, Unsound
from dtms.domain.actions import IntentState
from dtms.domain.errors import DtmsError, StoreFailed
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode
from dtms.execute.engine import Engine, EngineOptions
from dtms.execute.service import Refused, Registration
from dtms.ports.store import Unit
from dtms.replay import MAGIC_PREFIX, Stage
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_names import LOST_CODES, REQUOTE_RETCODES, UNCLEAR_RETCODES
from dtms.terminal.simulated.records import Reason

STEP_S = 30.0
JUDGED_EVERY = 8
"""Steps between two judgements."""
CALM_MIN = 9.0
"""Long enough for what nobody can know to become a person's affair."""
CONVERGED_MIN = 1.5
MINUTE_MS = 60_000
K = FaultKind

Kinds = tuple[FaultKind, ...]
REPLIES: Kinds = (
    *(K.LOST_EXECUTED, K.LOST_UNEXECUTED, K.LOST_LATE, K.UNCLEAR_EXECUTED, K.UNCLEAR_UNEXECUTED, K.UNCLEAR_LATE),
    *(K.PLACED_LATE, K.PLACED_NEVER, K.RETCODE, K.UNKNOWN_RETCODE, K.REQUOTE, K.TOO_MANY_REQUESTS, K.LOCKED),
    *(K.FROZEN, K.MARKET_CLOSED, K.BAD_ARGUMENT),
)
LISTS: Kinds = (K.NONE, K.LAG, K.STALE_LIST, K.PARTIAL_LIST, K.EMPTY_LIST)
LINES: Kinds = (K.OFFLINE, K.EMPTY_OFFLINE, K.RESTART, K.WRONG_ACCOUNT, K.CLOCK_JUMP)
QUOTES: Kinds = (
    *(K.FROZEN_CLOCK, K.FROZEN_QUOTE, K.NAN_PRICE, K.ZERO_PRICE, K.NEGATIVE_PRICE, K.CROSSED_PRICE, K.WIDE_SPREAD),
    *(K.SPIKE, K.GAP, K.WRONG_DIGITS, K.REPEATED_TICK, K.OLDER_TICK),
)
BARS: Kinds = (K.NAN_BAR, K.ZERO_BAR, K.SPIKE_BAR, K.REPEATED_BAR, K.DISORDERED_BARS, K.MISSING_BAR)
PEOPLE: Kinds = (K.OUTSIDE_STOP, K.OUTSIDE_TARGET, K.OUTSIDE_CLOSE, K.OUTSIDE_OPEN)
SORTS: Sequence[Kinds] = (REPLIES, REPLIES, REPLIES, LISTS, LINES, QUOTES, BARS, PEOPLE)
"""Sorts of faults, as often as they are drawn; calls that take real seconds cannot be played in virtual time."""
UNSOUND = frozenset({K.NAN_PRICE, K.ZERO_PRICE, K.NEGATIVE_PRICE, K.CROSSED_PRICE})
RETCODES = (
    *(10006, 10007, 10013, 10014, 10015, 10016, 10017, 10019, 10022, 10025, 10027, 10030, 10033, 10034, 10035),
    *(10036, 10038, 10039, 10040, 10041, 10042, 10044, 10046),
)


PEOPLES = (Reason.CLIENT, Reason.MOBILE, Reason.WEB)
MANNERS: Sequence[tuple[str, Any]] = (
    ("comment_mode", "strip"),
    ("comment_mode", "replace"),
    ("comment_mode", "truncate_16"),
    ("comment_mode", "refuse"),
    ("comment_on_close", False),
    ("magic_kept", False),
    ("closing_deal_magic", "position"),
    ("omitted_level", "keeps"),
    ("fill_lots_max", 0.05),
    ("partial_rest", "refills"),
    ("fok_is_whole", False),
    ("step_fills", 2),
    ("step_fills", 3),
    ("execution_delay_ms", 1_500),
    ("execution_delay_ms", 9_000),
    ("hidden_stops_points", 60),
    ("margin_check", "after"),
    ("requests_per_minute", 2),
)
"""How the broker may differ from an ordinary one."""


class Ending(StrEnum):
    """How a process ends."""

    STOPPED = "stopped"
    DROPPED = "dropped"
    BEFORE_SEND = "dropped before a request reached the terminal"
    AFTER_SEND = "dropped after a request was carried out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One end of a process, so many minutes after the registration, and for how long nobody runs."""

    at_min: float
    ending: Ending
    away_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFault:
    """One commit that fails: the first after a moment, or the first that has an intent or an outcome in it.

    ``written`` though it says that it is not.
    """

    at_min: float
    written: bool
    of: str = "any"

    def takes(self, unit: Unit) -> bool:
        """Answer whether this is the commit."""
        states = {intent.state for intent in unit.intents}
        is_intent = IntentState.SENDING in states
        return {"any": True, "intent": is_intent, "outcome": bool(states) and not is_intent}[self.of]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed draws; times are minutes after the registration."""

    seed: int
    window: Window
    faults: Sequence[Mapping[str, Any]]
    crashes: Sequence[Crash]
    disk: Sequence[DiskFault]
    manners: Mapping[str, Any]
    acts: Sequence[dict[str, Any]] = ()
    """Further positions that the trader opens, and registers until somebody says that it is done."""

    def told(self) -> str:
        """Tell what will happen, so that a failing seed can be read."""
        lines = [f"seed {self.seed}: {self.window.title}"]
        lines += [f"  {fault}" for fault in self.faults]
        lines += [f"  {crash}" for crash in self.crashes]
        lines += [f"  {act}" for act in self.acts]
        lines += [f"  manners: {dict(self.manners)}"] if self.manners else []
        return "\n".join([*lines, *(f"  {fault}" for fault in self.disk)])


def plan_of(seed: int) -> Plan:
    """Draw a life."""
    dice = random.Random(seed)
    window = dice.choice(SHIPPED)
    length = window.hours * 60
    start_ms = config_of(window).start_ms + int(30.5 * MINUTE_MS)
    faults = [_fault(dice, start_ms, length) for _ in range(dice.randint(2, 7))]
    for storm, chance in ((REPLIES, 0.5), (LISTS, 0.25)):
        faults += _storm(dice, storm, start_ms) if dice.random() < chance else []
    crashes = sorted((_crash(dice, length) for _ in range(dice.choice((0, 0, 1, 1, 2, 3)))), key=lambda c: c.at_min)
    disk = [
        DiskFault(
            at_min=dice.uniform(0, length * 0.5),
            written=dice.random() < 0.5,
            of=dice.choice(("any", "intent", "outcome", "outcome")),
        )
        for _ in range(dice.choice((0, 0, 1, 1, 2)))
    ]
    manners = dict(dice.sample(MANNERS, dice.choice((0, 0, 1, 2))))
    acts = [_opening(dice, window, start_ms, name) for name in "bcd"[: dice.choice((0, 0, 1, 3))]]
    return Plan(seed=seed, window=window, faults=faults, crashes=crashes, disk=disk, manners=manners, acts=acts)


def _opening(dice: random.Random, window: Window, start_ms: int, name: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(start_ms / 1000 + dice.uniform(1, 0.7 * window.hours * 60) * 60, UTC)
    return {
        "at": at.isoformat(),
        "kind": "open",
        "name": name,
        "symbol": window.symbol,
        "side": dice.choice(("BUY", "SELL", window.side.direction)),
        "lots": dice.choice((0.01, 0.03, 0.4, 1.0)),
        "sl": {"atr": dice.choice((1.5, 3, 5))},
        "tp": {"atr": 6},
    }


def _storm(dice: random.Random, sort: Kinds, start_ms: int) -> list[dict[str, Any]]:
    """Let several kinds of a sort happen now and then, all the time."""
    chance = 0.12 if sort is REPLIES else 0.02
    kinds = dice.sample(sort, dice.randint(2, min(6, len(sort))))
    common = {"times": 0, "probability": chance, "from": start_ms, "until": start_ms + 10 * 86_400_000}
    return [
        {
            "kind": kind.value,
            **common,
            "seed": dice.randrange(1_000_000),
            **(_reply(dice, kind) if sort is REPLIES else {}),
        }
        for kind in kinds
    ]


def _crash(dice: random.Random, length: float) -> Crash:
    return Crash(
        at_min=dice.uniform(1, length),
        ending=dice.choice(list(Ending)),
        away_min=dice.choice((0.0, 0.2, 1.0, dice.uniform(1, 12))),
    )


def _fault(dice: random.Random, start_ms: int, length: float) -> dict[str, Any]:
    sort = dice.choice(SORTS)
    kind = dice.choice(sort)
    from_ms = start_ms + int(dice.uniform(0, length) * MINUTE_MS)
    until_ms = from_ms + int(dice.choice((10, 45, 120, 300, 900)) * 1000)
    seed = dice.randrange(1_000_000)
    if sort is REPLIES:
        times, of = dice.randint(1, 4), dice.choice(("any", "any", "opening", "closing", "levels"))
        nth = dice.choice((1, 1, 2, 3))
        return {"kind": kind.value, "nth": nth, "times": times, "of": of, "seed": seed, **_reply(dice, kind)}
    during = {"kind": kind.value, "from": from_ms, "until": until_ms, "times": 0, "seed": seed}
    if sort is PEOPLE:
        return {**during, "times": 1, "until": until_ms + 900_000, "calls": ["positions_get"], **_person(dice, kind)}
    if kind is K.CLOCK_JUMP:
        return {**during, "times": 1, "until": until_ms + 900_000, "minutes": dice.choice((-60, -30, 30, 60))}
    if kind is K.NONE:
        calls = dice.choice(("asking", "books", "history", "quotes", "bars", "identity"))
        return {**during, "calls": [calls], "probability": dice.choice((0.2, 1.0))}
    if kind is K.RESTART:
        return {**during, "times": 1, "until": until_ms + 900_000}
    more: Mapping[FaultKind, dict[str, Any]] = {
        K.STALE_LIST: {"age_s": dice.choice((2.0, 20.0, 60.0))},
        K.PARTIAL_LIST: {"missing": dice.choice((1, 1, 2)), "probability": dice.choice((0.3, 1.0))},
        K.EMPTY_LIST: {"probability": dice.choice((0.3, 1.0))},
    }
    return {**during, **more.get(kind, {})}


def _reply(dice: random.Random, kind: FaultKind) -> dict[str, Any]:
    if kind in (K.LOST_EXECUTED, K.LOST_UNEXECUTED, K.LOST_LATE):
        return {"code": dice.choice(LOST_CODES)}
    if kind in (K.UNCLEAR_EXECUTED, K.UNCLEAR_UNEXECUTED, K.UNCLEAR_LATE):
        return {"retcode": dice.choice(UNCLEAR_RETCODES)}
    if kind is K.REQUOTE:
        return {"retcode": dice.choice(REQUOTE_RETCODES), "move_points": dice.choice((0, 5, 50))}
    if kind is K.UNKNOWN_RETCODE:
        return {"executed": dice.random() < 0.5}
    return {"retcode": dice.choice(RETCODES)} if kind is K.RETCODE else {}


def _person(dice: random.Random, kind: FaultKind) -> dict[str, Any]:
    return {"lots": dice.choice((0.0, 0.05, 0.1))} if kind is K.OUTSIDE_CLOSE else {}


@dataclass(slots=True, kw_only=True)
class Result:
    """What a life showed."""

    plan: Plan
    violations: dict[str, Violation] = field(default_factory=dict)
    troubles: Counter[str] = field(default_factory=Counter)
    """What went wrong in the program itself: cycles and loops that failed, starts that did not succeed."""
    fired: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    retcodes: Counter[int] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    journal: tuple[tuple[object, ...], ...] = ()
    """Kind, time and words of every fact, for comparing two runs."""

    @property
    def is_sound(self) -> bool:
        return not self.violations and not self.troubles

    def told(self) -> str:
        found = [f"  VIOLATION {v}" for v in self.violations.values()]
        return "\n".join([self.plan.told(), *found, *(f"  TROUBLE {n} × {t}" for t, n in self.troubles.items())])


class BadDisk:
    """Let single commits of a store fail, written or not."""

    def __init__(self) -> None:
        self.next: DiskFault | None = None
        self.fired = 0

    def spoil(self, store: SqlStore) -> None:
        """Stand between a store and its callers."""
        plain = store.commit

        async def commit(unit: Unit) -> Sequence[int]:
            fault = self.next
            if fault is None or not fault.takes(unit):
                return await plain(unit)
            self.next = None
            self.fired += 1
            if fault.written:
                await plain(unit)
            raise StoreFailed("a commit was made to fail")

        setattr(store, "commit", commit)  # noqa: B010 - the instance's own, whatever the class has


class Life:
    """One seed being played."""

    def __init__(self, plan: Plan, lives: Lives) -> None:
        self.plan = plan
        self.lives = lives
        self.result = Result(plan=plan)
        self.disk = BadDisk()
        self.acknowledged = {lives.ticket}
        self.outages: list[Span] = []
        self.grants_ms = 0
        self.calm_ms: int | None = None
        self._was_ready = True
        self._cut = False
        self._steps = 0

    @property
    def now_ms(self) -> int:
        return self.lives.on.clock.market_ms()

    async def play(self) -> Result:
        """Play to the end of the calm."""
        start_ms = self.now_ms
        simulation: Any = self.lives.terminal.simulation
        self.disk.spoil(self.lives.on.store)
        for fault in self.plan.faults:
            simulation.faults.add(fault)
        for name, value in self.plan.manners.items():
            simulation.control({"do": "set", "name": f"manners.{name}", "value": value})
            self.result.fired[f"{name}={value}"] += 1
        for crash in [*self.plan.crashes, None]:
            end_min = self.plan.window.hours * 60 if crash is None else crash.at_min
            await self._until(start_ms + int(end_min * MINUTE_MS), start_ms)
            if crash is not None:
                await self._end(crash)
        simulation.faults.clear()
        self.lives.terminal.spoil, self.disk.next = None, None
        if self._cut:
            await self._next_process(0.0)
        await self._calm()
        return await self._collected(simulation)

    async def _until(self, until_ms: int, start_ms: int) -> None:
        while self.now_ms < until_ms:
            self._arm_disk((self.now_ms - start_ms) / MINUTE_MS)
            await self._step()
            if self._cut:
                await self._next_process(0.5)

    def _arm_disk(self, at_min: float) -> None:
        due = [f for f in self.plan.disk if at_min - STEP_S / 60 < f.at_min <= at_min]
        if due:
            self.disk.next = due[0]

    async def _step(self) -> None:
        before = self.now_ms
        await self.lives.on.clock.sleep_market(STEP_S)
        await self._keep_alive()
        is_ready = self.lives.on.engine.health().ready
        if is_ready and not self._cut:
            await self._register()
        if not (is_ready and self._was_ready):
            self._away(before)
        self._was_ready = is_ready
        self._steps += 1
        if self._steps % JUDGED_EVERY == 0 and is_ready and not self._cut:
            await self.judge()

    async def _register(self) -> None:
        """Register what the trader opened and nobody has confirmed, as he sees it on his own screen."""
        simulation: Any = self.lives.terminal.simulation
        opened = [p.ticket for p in simulation.ledger.positions.values() if p.reason in PEOPLES]
        for ticket in opened if self.plan.acts else ():
            if ticket in self.acknowledged:
                continue
            try:
                await self.lives.on.engine.register(Registration(ticket=ticket))
                self.acknowledged.add(ticket)
            except (Refused, DtmsError) as error:
                self.result.fired[f"registration failed: {type(error).__name__}"] += 1

    async def _keep_alive(self) -> None:
        """Start the process again that gave up, as whoever supervises it does."""
        if not self._cut and not self.lives.on.engine.monitoring().alive:
            self.result.troubles[f"monitoring ended: {self.lives.on.engine.monitoring().last_outcome}"] += 1
            await self._next_process(0.5)

    def _away(self, from_ms: int) -> None:
        self.outages.append(Span(from_ms, self.now_ms))

    async def _end(self, crash: Crash) -> None:
        self.result.endings[crash.ending.name] += 1
        if crash.ending in (Ending.BEFORE_SEND, Ending.AFTER_SEND):
            self.lives.terminal.spoil = self._cutting(crash.ending)
            return
        if crash.ending is Ending.STOPPED:
            await self.lives.on.engine.stop()
        await self._next_process(crash.away_min)

    def _cutting(self, ending: Ending) -> Any:
        def cut(request: Request, send: Send) -> Any:
            if self._cut:
                return send(request)
            self._cut = True
            if ending is Ending.AFTER_SEND:
                send(request)
            raise asyncio.CancelledError

        return cut

    async def _next_process(self, away_min: float) -> None:
        """Drop what runs, and start processes until one is there."""
        from_ms = self.now_ms
        self.lives.terminal.spoil, self._cut = None, False
        await self.lives.die()
        await self.lives.on.clock.sleep_market(away_min * 60)
        for _ in range(200):
            self._renew()
            self.disk.spoil(self.lives.on.store)
            try:
                await self.lives.on.engine.start()
                break
            except DtmsError as error:
                self.result.fired[f"start failed: {type(error).__name__}"] += 1
                await self.lives.die()
                await self.lives.on.clock.sleep_market(10)
        else:
            self.result.troubles["no start succeeded"] += 1
        self._away(from_ms)
        self._was_ready = True

    def _renew(self) -> None:
        """Make what another process makes: a gateway, a store, an engine and a holder; the machine's clock goes on."""
        lives = self.lives
        lives.count += 1
        clock, terminal = lives.on.clock, lives.on.terminal
        gateway = Gateway(terminal, instance=lives.count, now=clock.machine_s, requests_per_day=1_000_000)
        broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
        store = SqlStore(lives.url, clock, inline=True)
        options = EngineOptions(holder=f"replay:{lives.count}:0", mode=Mode.AUTO)
        settings = settings_of(self.plan.window)
        engine = Engine(broker=broker, store=store, clock=clock, settings=settings, options=options)
        lives.on = Stage(terminal=terminal, gateway=gateway, broker=broker, store=store, clock=clock, engine=engine)

    async def _calm(self) -> None:
        self.calm_ms = self.now_ms
        while self.now_ms < self.calm_ms + CALM_MIN * MINUTE_MS:
            await self._step()
            if self.now_ms - self.calm_ms >= CONVERGED_MIN * MINUTE_MS:
                await self.judge()
        if not self.lives.on.engine.health().ready:
            self.result.troubles[f"not ready after the calm: {self.lives.on.engine.health().reasons}"] += 1

    async def judge(self) -> None:
        """Judge what is so now."""
        lives = self.lives
        config, settings = config_of(self.plan.window), settings_of(self.plan.window)
        looks = {
            live.trade.ticket: Look(at_ms=live.last_fast_ms, interval_s=settings.cadence.fast_flat_s)
            for live in lives.on.engine.live_trades()
        }
        world = await world_of(
            lives.on,
            config,
            settings,
            acknowledged=frozenset(self.acknowledged),
            looks=looks,
            outages=tuple(self.outages),
            unsound=self._unsound(),
            calm_since_ms=self.calm_ms if self._is_quiet() else None,
        )
        for violation in judge(world).violations:
            self.result.violations.setdefault(violation.key, violation)

    def _is_quiet(self) -> bool:
        """Answer whether nothing was away since the calm began, so that a minute of it was a minute."""
        return self.calm_ms is not None and not any(s.to_ms > self.calm_ms for s in self.outages)

    def _unsound(self) -> tuple[Unsound, ...]:
        return tuple(
            Unsound(
                symbol=self.plan.window.symbol,
                during=Span(f["from"] + 1, f["until"] - 1),
                why=f["kind"],
                knowable=f["kind"] in UNSOUND,
            )
            for f in self.plan.faults
            if f["kind"] in QUOTES
        )

    async def _collected(self, simulation: Any) -> Result:
        facts = await self.lives.on.store.facts(limit=1_000_000)
        result = self.result
        result.troubles.update(f"{f.kind}: {f.summary}" for f in facts if _is_trouble(f))
        result.fired.update({str(kind): count for kind, count in simulation.faults.fired.items()})
        result.fired["commit"] += self.disk.fired
        result.retcodes.update(n.retcode for n in simulation.ledger.requests)
        result.rules.update(str(f.details["rule"]) for f in facts if f.kind is FactKind.TRANSITION)
        result.journal = tuple((f.kind.value, f.market_ms, f.summary) for f in facts)
        await self.lives.on.engine.stop()
        return result


def _is_trouble(fact: Fact) -> bool:
    return fact.kind in (FactKind.CYCLE_FAILED, FactKind.LOOP_RESTARTED)


def soak(plan: Plan) -> Result:
    """Play a plan to its end."""

    async def main(folder: Path) -> Result:
        lives = await Lives.begin(plan.window, folder, register=False, acts=list(plan.acts))
        lives.ticket = await registered(lives.on)
        return await Life(plan, lives).play()

    with tempfile.TemporaryDirectory() as folder:
        try:
            return run_virtual(main(Path(folder)))
        except Exception:  # noqa: BLE001 - whatever escapes is what the search is for
            result = Result(plan=plan)
            result.troubles[traceback.format_exc(limit=-6)] += 1
            return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Play seeds, print what broke, and end with 1 when something did."""
    parser = argparse.ArgumentParser(prog="python -m tests.invariants.soak", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    fired: Counter[str] = Counter()
    failed = 0
    for done, seed in enumerate(range(given.first, given.first + given.count), 1):
        result = soak(plan_of(seed))
        print(f"\r{done} of {given.count} played", end="", file=sys.stderr, flush=True)
        fired += result.fired + result.endings
        if not result.is_sound:
            failed += 1
            print(result.told(), flush=True)
    print(f"\n{given.count} seeds, {failed} with findings")
    print("reached: " + ", ".join(f"{name} {count}" for name, count in sorted(fired.items())))
    unreached = {k.value for sort in SORTS for k in sort} - fired.keys()
    print("never reached: " + (", ".join(sorted(unreached)) or "none"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
