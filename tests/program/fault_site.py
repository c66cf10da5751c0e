"""An installation that is watched: a fault put in place, everything visible noted until all is calm."""

import asyncio
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from tests.invariants.books import told
from tests.invariants.worlds import books_of
from tests.program.fault_cases import Case, Occasion
from tests.program.fault_seen import NUMBER, ROUTINE, Seen, noted, spam
from tests.program.past import demo_day, ledger_of
from tests.program.running import Program, Site
from tests.program.test_restarts import judge, settle

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.audit.invariants import judge as judge_invariants
from dtms.audit.world import World
from dtms.settings import Settings
from dtms.terminal.simulated.config import load_config

LOOK_S = 0.2
BITES_S = 45.0
CALM_S = 60.0
READY_AFTER_S = 10.0
"""How long after a fault's end the server may be unready."""
BUSY_SHARE = 0.9
SKEW_MS = 10_000
"""How far two programs' clocks may differ: what a call takes on a busy machine, at thirty times real time."""
GONE = (httpx.TransportError, OSError, EOFError, AssertionError)


class Watched:
    """Two programs, and a trader who looks."""

    def __init__(self, site: Site, acts_ms: int) -> None:
        self.site = site
        self.acts_ms = acts_ms
        """Shortly before the played past has to act."""
        self.known = {row[0] for row in site.rows("SELECT ticket FROM trades")}
        self.terminal: Program
        self.server: Program
        self.usual: set[str] = set()
        """What the status warns of without any fault."""

    def start(self) -> None:
        self.terminal, self.server = self.site.start()
        self.usual = set(self.site.get("/dtms/status")["dtms_status"]["warnings"])

    def simulate(self, **message: Any) -> Any:
        """Ask the simulated terminal, whoever has to be waited for."""
        until = time.monotonic() + CALM_S
        while True:
            try:
                with self.site.trader() as trader:
                    return trader.ask("simulation", **message)["value"]
            except GONE:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK_S)

    # --- watching ---------------------------------------------------------------------------------------------------

    def watch(self, case: Case) -> Seen:
        """Put a fault in place, note what is visible until all is calm, and say what was not as it should be."""
        seen = Seen(name=case.name, command=case.command)
        before = self._troubled()
        lines = {program: len(program.entries) for program in (self.terminal, self.server)}
        last_fact = self._last_fact()
        started, process = time.monotonic(), psutil.Process(self.server.process.pid)
        used_s = _cpu_s(process)
        fired = self._fired(case)
        for name, value in case.before:
            self.simulate(do="set", name=name, value=value)
        if case.message:
            self.simulate(**case.message)
        if case.occasion is Occasion.ACTION:
            self._come_to_act()
        self._wait_for_bite(case, fired, seen)
        self._hold(case, seen)
        ended = self._end(case, seen)
        self._until_calm(case, seen, before, ended)
        seen.fired = self._fired(case) - fired
        entries = [entry for program, first in lines.items() for entry in program.entries[first:]]
        during_s = time.monotonic() - started
        seen.logged, seen.facts = noted(entries), self._facts(last_fact)
        seen.cpu_share = (_cpu_s(process) - used_s) / during_s
        seen.wrong += spam(entries, during_s)
        if seen.cpu_share > BUSY_SHARE:
            seen.wrong.append(f"the server was busy for {seen.cpu_share:.0%} of the time")
        if not seen.fired and not case.before:
            seen.wrong.append("it never happened")
        return seen

    def _come_to_act(self) -> None:
        now_ms = self.simulate(do="ledger", last=0)["utc_ms"]
        if now_ms < self.acts_ms:
            self.simulate(do="advance", seconds=(self.acts_ms - now_ms) / 1000)

    def _wait_for_bite(self, case: Case, fired: int, seen: Seen) -> None:
        until = time.monotonic() + (BITES_S if case.message else case.after_s + 5)
        while time.monotonic() < until:
            self._look(seen)
            if case.message and self._fired(case) > fired:
                return

    def _hold(self, case: Case, seen: Seen) -> None:
        until = time.monotonic() + case.lasts_s
        while time.monotonic() < until:
            self._look(seen)

    def _end(self, case: Case, seen: Seen) -> float:
        """Let the fault end by itself, or end it; return when it was over."""
        until = time.monotonic() + CALM_S
        while case.lasts_s == 0 and self._is_in_place(case) and time.monotonic() < until:
            self._look(seen)
        if case.message:
            self.simulate(do="clear", kind=case.message["fault"]["kind"])
        return time.monotonic()

    def _is_in_place(self, case: Case) -> bool:
        kind = case.message.get("fault", {}).get("kind")
        shown = self.simulate(do="faults")
        times = {one["kind"]: one.get("times") for one in shown["active"]}
        return kind in times or bool(shown["waiting"])

    def _until_calm(self, case: Case, seen: Seen, before: set[tuple[int, str]], ended: float) -> None:
        until, calm_since = ended + CALM_S, None
        unready_until = ended
        while time.monotonic() < until:
            trouble = self._look(seen)
            now = time.monotonic()
            self.register()
            if trouble is None:
                unready_until = now
            calm = trouble is not None and not trouble - before
            calm_since = (calm_since or now) if calm else None
            if calm_since is not None and now - calm_since >= case.after_s:
                seen.calm_s = calm_since - ended
                break
        else:
            seen.calm_s = CALM_S
            left = "unready" if trouble is None else sorted(trouble - before)
            seen.wrong.append(f"not calm {CALM_S:.0f} s after its end: {left}")
        if unready_until - ended > READY_AFTER_S:
            seen.wrong.append(f"unready for {unready_until - ended:.0f} s after its end")

    def _look(self, seen: Seen) -> set[tuple[int, str]] | None:
        """Note what the API shows; return what trades are in trouble with, None while not ready."""
        began = time.monotonic()
        time.sleep(LOOK_S)
        try:
            health = self.site.http.get("/dtms/health").json()
            status = self.site.http.get("/dtms/status").json()["dtms_status"]
            found = self._troubled()
        except (httpx.TransportError, KeyError, ValueError) as error:
            seen.reasons[f"no answer: {type(error).__name__}"] += 1
            return None
        if not health["ready"]:
            seen.unready_s += time.monotonic() - began
            seen.reasons.update(_plain(reason) for reason in health["reasons"])
        seen.warnings.update(_plain(text) for text in status["warnings"] if text not in self.usual)
        seen.warnings.update({_plain(what) for _, what in found})
        for intent in status["unknown_intents"]:
            seen.unknown[_plain(f"{intent['action']} {intent['state']}: {intent['reason']}")] += 1
        if not health["ready"]:
            return None
        return found | {(0, f"{status['intents_unknown']} unknown")} if status["intents_unknown"] else found

    def _troubled(self) -> set[tuple[int, str]]:
        answer = self.site.http.get("/dtms/trades", params={"limit": 500})
        trades = answer.json().get("trades", ())
        return {(t["ticket"], words) for t in trades for words in t["trade_info"]["warnings"] if not _is_plain(words)}

    def register(self) -> None:
        """Register whatever a person opened, as a trader's program does."""
        for position in self.simulate(do="ledger", last=0)["positions"]:
            if position["magic"] == 0 and position["ticket"] not in self.known:
                try:
                    answer = self.site.post("/dtms/trade/enable", {"ticket": position["ticket"]})
                except httpx.TransportError:
                    return
                if answer.status_code in (200, 409):
                    self.known.add(position["ticket"])

    def _fired(self, case: Case) -> int:
        kind = case.message.get("fault", {}).get("kind")
        return int(self.simulate(do="faults")["fired"].get(kind, 0)) if kind else 0

    # --- the journal ------------------------------------------------------------------------------------------------

    def _last_fact(self) -> int:
        return int(self.site.rows("SELECT coalesce(max(id), 0) FROM facts")[0][0])

    def _facts(self, after: int) -> list[tuple[str, str | None, str]]:
        rows = self.site.rows("SELECT kind, details, summary FROM facts WHERE id > ? ORDER BY id", after)
        return [
            (kind, json.loads(details).get("alert"), _plain(summary))
            for kind, details, summary in rows
            if kind not in ROUTINE and not summary.endswith(": done")
        ]

    # --- judging ----------------------------------------------------------------------------------------------------

    def judge(self, *, is_ordinary: bool) -> list[str]:
        """Stop everything and match store and terminal's books; return what does not hold.

        ``is_ordinary`` is whether the broker keeps magic numbers and fills orders whole, as `judge` takes for granted.
        """
        elsewhere = self.simulate(do="faults")["elsewhere"]
        found = [f"sent to another account: {elsewhere}"] if elsewhere else []
        audit = self.site.get("/dtms/status")["dtms_status"]["audit"] or {}
        found += [f"the running audit: {one['words']}" for one in audit.get("violations", ())]
        try:
            settle(self.site)
            assert self.server.interrupt() == 0, "the server's exit code"
            assert self.terminal.interrupt() == 0, "the gateway's exit code"
            if is_ordinary:
                judge(self.site, set())
        except AssertionError as error:
            found.append(str(error))
        return found + asyncio.run(self._invariants())

    async def _invariants(self) -> list[str]:
        """Judge by every invariant, on a copy of what the programs left behind."""
        config = load_config(demo_day())
        ledger = ledger_of(self.site.journal)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for file in self.site.data.glob("dtms_trades.db*"):
                shutil.copy(file, folder)
            store = SqlStore(f"sqlite:///{(Path(folder) / 'dtms_trades.db').as_posix()}", SystemClock())
            await store.open()
            books = await books_of(store)
            await store.close()
        until_ms = max(fact.market_ms for fact in books.facts) + 1000
        books_told = told(ledger, [symbol.spec for symbol in config.symbols], config.account, until_ms)
        requests = [replace(one, at_ms=one.at_ms + SKEW_MS) for one in books_told.requests or ()]
        books_told = replace(books_told, requests=requests)
        world = World(ledger=books_told, books=books, settings=Settings())
        return [str(one) for one in judge_invariants(world).violations]


def _plain(text: str) -> str:
    return NUMBER.sub("#", text)


def _is_plain(words: str) -> bool:
    """Tell a remark that is there without any fault."""
    return words.startswith(("The stop goes to breakeven", "The trade came without a stop", "Monitoring was stopped"))


def _cpu_s(process: "psutil.Process") -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
