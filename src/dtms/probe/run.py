"""One run: refuse what must not be touched, clean up what was left, experiment, clean up, keep what was found."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from dtms.decide.capabilities import Learned
from dtms.domain.broker_ways import UNPROVEN
from dtms.domain.errors import BrokerUnavailable, DtmsError, Misconfigured
from dtms.execute.authority import EngineLease
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Kept, KeptKind, Store, Unit
from dtms.probe import deals, delays, requests, stops, words
from dtms.probe.findings import Finding, Report, kept_of, key_of, recall
from dtms.probe.hand import Hand
from dtms.probe.line import Inconclusive, Line, Link, Row, Stopped
from dtms.probe.note import Note
from dtms.probe.sweep import sweep
from dtms.probe.words import Found

Experiment = Callable[[Hand], Awaitable[Found]]
EXPERIMENTS: Mapping[str, Experiment] = {
    "terminal": delays.identity,
    "none": delays.nothing,
    "fillings": deals.fillings,
    "magic numbers": words.magics,
    "comments": words.comments,
    "server clock": delays.clock,
    "levels not named": stops.omitted,
    "levels unchanged": stops.unchanged,
    "parts": deals.parts,
    "opposite deals": deals.sides,
    "double requests": deals.duplicates,
    "nearest stop": stops.nearest,
    "delays": delays.lags,
}
"""In this order: a filling first, then what tells the probe's own positions from others."""
TRIES = 2
_MAGIC_STEP = 1 << 12
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What a person asked for."""

    symbol: str
    real: bool = False
    only: tuple[str, ...] = ()
    """Experiments by name; none for all."""


@dataclass(slots=True, kw_only=True)
class Probe:
    """One account, one symbol; the caller holds ``lease``."""

    link: Link
    broker: Broker
    store: Store
    clock: Clock
    lease: EngineLease
    tell: Tell
    failures: list[str] = field(default_factory=list)

    async def run(self, ordered: Ordered) -> Report:
        """Experiment, clean up and keep what was found.

        Raises:
            Misconfigured: when the account or the symbol must not be touched.
            BrokerUnavailable: when the terminal does not answer.
        """
        account = await self.broker.connect()
        symbol = ordered.symbol
        line = Line(self.link, self.clock, login=account.login, server=account.server, symbol=symbol, lease=self.lease)
        terminal, row = await line.terminal()
        _refuse_real(row, ordered)
        hand = await self._hand(line, Note(self.store, self.clock, account.server, account.login, symbol))
        await self._clean_up_before(hand)
        findings: list[Finding] = []
        try:
            await self._experiment(hand, ordered, findings)
        finally:  # whatever ends it, an interruption too
            is_clean, left = await self._clean_up_after(hand)
        report = Report(
            server=account.server,
            login=account.login,
            symbol=symbol,
            build=terminal["build"],
            at_ms=self.clock.wall_ms(),
            findings=tuple(findings),
            failures=tuple(self.failures),
            left=left,
            is_clean=is_clean,
        )
        await self._keep(report)
        return report

    async def _hand(self, line: Line, note: Note) -> Hand:
        instrument = await self.broker.instrument(line.symbol)
        if instrument is None:
            raise Misconfigured(f"the broker has no symbol {line.symbol}")
        start = (requests.PREFIX << 40) + self.clock.wall_ms() // 1000 % (1 << 28) * _MAGIC_STEP
        return Hand(line=line, clock=self.clock, note=note, instrument=instrument, next_magic=start)

    async def _clean_up_before(self, hand: Hand) -> None:
        """Close what a run that was cut off left behind; refuse a symbol on which others have something.

        Raises:
            Misconfigured: when they do.
        """
        earlier = await hand.note.recall()
        if earlier not in (None, hand.symbol):
            raise Misconfigured(f"a probe of {earlier} was cut off: run `dtms probe {earlier}` first")
        others = [row["ticket"] for row in await hand.line.positions() if not hand.note.is_own(row)]
        others += [row["ticket"] for row in await hand.line.orders() if not _is_own_order(hand, row)]
        if others:
            named = ", ".join(map(str, others))
            raise Misconfigured(f"{hand.symbol} has positions or orders of others ({named}): choose another symbol")
        if earlier is not None:
            self.tell("a probe before this one was cut off: cleaning up")
            hand.unclear = 1  # its last request may still come through
        if left := await sweep(hand, finally_=True):
            raise Misconfigured(f"positions of an earlier probe cannot be closed: {[row['ticket'] for row in left]}")
        hand.note.openings, hand.note.positions, hand.note.orders = [], set(), set()
        await hand.note.begin()

    async def _experiment(self, hand: Hand, ordered: Ordered, findings: list[Finding]) -> None:
        """Make each experiment, with nothing left of it before the next."""
        for name, experiment in EXPERIMENTS.items():
            if ordered.only and name not in ordered.only:
                continue
            try:
                found = await self._tried(hand, name, experiment)
            except (Stopped, BrokerUnavailable) as stopped:
                self.failures.append(f"{name}: {stopped}; the rest was not tried")
                break
            at_ms = self.clock.wall_ms()
            for key, (value, told) in found.items():
                findings.append(Finding(name=key, value=value, evidence=told, proven_ms=at_ms))
                self.tell(f"{key} = {value}")

    async def _tried(self, hand: Hand, name: str, experiment: Experiment) -> Found:
        """Make one experiment, once more when it told nothing."""
        told = ""
        for _ in range(TRIES):
            try:
                found = await experiment(hand)
                await sweep(hand)
                return found
            except Inconclusive as failed:
                told = str(failed)
                await sweep(hand)
        self.failures.append(f"{name}: {told}")
        self.tell(f"{name}: {told}")
        return {}

    async def _clean_up_after(self, hand: Hand) -> tuple[bool, tuple[int, ...]]:
        """Close everything, look twice, and forget the note only when nothing is left."""
        try:
            rows = await sweep(hand, finally_=True)
        except DtmsError as failed:
            self.failures.append(f"cleaning up: {failed}")
            return False, await _listed(hand)
        if not rows:
            await hand.note.end()
        return not rows, tuple(row["ticket"] for row in rows)

    async def _keep(self, report: Report) -> None:
        """Keep what was found beside what was known before; a run that found nothing keeps nothing."""
        if not report.findings:
            return
        before = await recall(self.store, report.server, report.login)
        keep = [kept_of(report, before.ways if before else UNPROVEN)]
        if report.value("account.fifo") or report.value("account.hedging_prohibited"):
            keep.append(await self._learned(report))
        await self.store.commit(Unit(keep=keep))

    async def _learned(self, report: Report) -> Kept:
        """Make what the engine would learn from refusals, beside what it learned already."""
        key = f"{key_of(report.server, report.login)}:learned"
        kept = await self.store.kept(KeptKind.PROBE, key)
        known = Learned.from_json(kept[-1].body) if kept else Learned()
        learned = Learned(
            fifo=known.fifo or report.value("account.fifo") is True,
            no_hedging=known.no_hedging or report.value("account.hedging_prohibited") is True,
        )
        return Kept(kind=KeptKind.PROBE, key=key, body=learned.as_json(), at_ms=report.at_ms)


def _refuse_real(account: Row, ordered: Ordered) -> None:
    if account["trade_mode"] == requests.REAL_ACCOUNT and not ordered.real:
        raise Misconfigured(
            f"{account['server']}:{account['login']} is a real account: probe a demo account of the same broker first, "
            "then say --real to open and close the smallest volume for real money"
        )


def _is_own_order(hand: Hand, row: Row) -> bool:
    return requests.is_marked(row) or row["ticket"] in hand.note.orders


async def _listed(hand: Hand) -> tuple[int, ...]:
    """Name what is still listed of the probe's own, as far as that can be told."""
    try:
        return tuple(row["ticket"] for row in await hand.line.positions() if hand.note.is_own(row))
    except DtmsError:
        return ()
