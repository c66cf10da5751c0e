"""The DTMS server killed under Intelligent Exit, and the main program killed beside DTMS, in a market that runs fast.

``python -m tests.arbitration.servers_away --outages 10 40 600``

Without the DTMS server executions go on, and what Intelligent Exit may do on DTMS's positions shrinks with the age of
what it last heard: after 30 s it trails no stop there, leaves those alone that were last known defensive, and reduces
risk on the others. Without the main program DTMS goes on, also on the ticket whose lease the dead one had. Whatever
comes back finds everything as it was.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
from tests.arbitration.books import broken
from tests.arbitration.day import MAIN, SERVER, Day, samples
from tests.arbitration.kept import (
    DEFENSIVE,
    DTMS,
    EXITS,
    UNIVERSAL,
    Managed,
    Told,
    facts,
    intents,
    managed,
    owners,
    states,
)
from tests.arbitration.test_deaths import armed
from tests.program.past import ledger_of
from tests.program.running import BTCUSD, EURUSD, wait_until

RATE: Final = 300.0
OPENED_EVERY_S: Final = 60.0
SERVES_MS: Final = 30_000
CARRIED_MS: Final = 1_500
"""What was allowed a moment before may still be on its way."""
EXECUTED_WITHIN_S: Final = 1.0
PLANS: Final = "SELECT id, status, body FROM plans ORDER BY 1"
GIVEN_UP: Final = ("cancelled", "expired")
NEVER_CHANGES: Final = ("entry", "initial_stop", "initial_volume", "risk", "nominal_risk", "rules", "opened_ms")
FLAGS: Final = ("breakeven_done", "partial_done", "trailing_active")


@dataclass(slots=True, kw_only=True)
class Away:
    """What was seen while a program was away, and after it was back."""

    what: str
    outage_s: float
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        return f"{self.what} away for {self.outage_s:.0f} s: {self.figures}"


# --- the DTMS server -------------------------------------------------------------------------------------------------


def without_dtms(day: Day, outage_s: float) -> Away:
    """Kill the DTMS server for so long, and judge what was done meanwhile and afterwards."""
    away, site = Away(what=SERVER, outage_s=outage_s), day.site
    killed_ms = day.kill(SERVER)
    was = {ticket: state for ticket, state in states(site).items() if state != "CLOSED"}
    executed = _execute_while_away(day, outage_s, away)
    back_ms = int(time.time() * 1000)  # noqa: TID251 - facts carry the machine's wall clock
    day.start_again(SERVER)
    _judge_recovered(day, was, away)
    _judge_registered(day, executed, away)
    journal = facts(site)
    meanwhile = [f for f in journal if killed_ms <= f.machine_ms <= back_ms]
    judge_exits(meanwhile, killed_ms, was, owners(site), away)
    silent = [f for f in meanwhile if "has not answered for" in f.summary]
    away.figures["alerts of silence"] = len(silent)
    if len(silent) != (1 if outage_s > SERVES_MS / 1000 + 5 else 0):
        away.wrong.append(f"{len(silent)} alerts that DTMS is silent")
    _judge_blind(day, meanwhile, killed_ms, was, away)
    back_id = max(f.id for f in facts(site))
    _wait_for(
        lambda: any(f.id > back_id and f.manager == EXITS and f.is_done and f.ticket in was for f in facts(site)),
        "Intelligent Exit goes on with DTMS's positions",
        away,
    )
    return away


def _judge_blind(day: Day, meanwhile: Sequence[Told], killed_ms: int, was: dict[int, str], away: Away) -> None:
    """See that whatever was done blind was put into the log, with ticket and action."""
    entries = day.programs[MAIN].events("decided_blind")
    logged = {(e["ticket"], str(e["action"])) for e in entries if _at_ms(e) >= killed_ms}
    away.figures["positions decided on blind"] = dict(Counter(action for ticket, action in logged if ticket in was))
    for fact in meanwhile:
        is_blind = fact.machine_ms > killed_ms + SERVES_MS + CARRIED_MS and fact.manager == EXITS and fact.is_done
        if is_blind and fact.ticket in was and (fact.ticket, str(fact.details["action"])) not in logged:
            away.wrong.append(f"done blind, and not in the log: {fact.summary}")


def _at_ms(entry: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(str(entry["time"])).timestamp() * 1000)


def _wait_for(holds: Callable[[], bool], what: str, away: Away) -> None:
    try:
        wait_until(holds, what, within_s=30, every_s=0.3)
    except AssertionError as error:
        away.wrong.append(str(error))


def _execute_while_away(day: Day, outage_s: float, away: Away) -> list[int]:
    """Let a person execute without a strategy now and then, so that DTMS is to have it; return the tickets."""
    until, tickets, slowest_s = time.monotonic() + outage_s, list[int](), 0.0
    while time.monotonic() < until:
        begun = time.monotonic()
        answer = _executed(day, EURUSD if len(tickets) % 2 else BTCUSD, "buy" if len(tickets) % 4 < 2 else "sell")
        if answer.status_code == 200:
            body = answer.json()
            took_s = body.get("took_s") or time.monotonic() - begun
            slowest_s = max(slowest_s, took_s)
            tickets.append(int(body["order_id"]))
            if not body["ok"] or body["protection"]["manager"] != DTMS or took_s > EXECUTED_WITHIN_S:
                away.wrong.append(f"an execution took {took_s:.2f} s and said {body['protection']}")
        time.sleep(max(0.0, min(2.0, until - time.monotonic())))
    away.figures |= {"executed": len(tickets), "slowest execution s": round(slowest_s, 3)}
    if not tickets:
        away.wrong.append("nothing was executed")
    return tickets


def _executed(day: Day, symbol: str, side: str) -> httpx.Response:
    return day.execute(symbol, side, None, risk_r=6.0, reward_r=12.0)


def _judge_recovered(day: Day, was: dict[int, str], away: Away) -> None:
    """See that every trade is watched again, or closed with its position."""
    now, held = states(day.site), {p.ticket for p in ledger_of(day.site.journal).positions.values()}
    away.figures["trades recovered"] = len(was)
    away.wrong += [f"trade {t} was lost" for t in was if t not in now]
    away.wrong += [f"trade {t} is closed, and its position open" for t in was if now.get(t) == "CLOSED" and t in held]


def _judge_registered(day: Day, tickets: Sequence[int], away: Away) -> None:
    """Wait until DTMS has what was executed meanwhile, each once; what was closed before needs nobody any more."""

    def missing() -> list[int]:
        held = {p.ticket for p in ledger_of(day.site.journal).positions.values()}
        return [ticket for ticket in tickets if ticket in held and ticket not in states(day.site)]

    begun = time.monotonic()
    _wait_for(lambda: not missing(), "all that was executed is registered", away)
    registered = Counter(f.ticket for f in facts(day.site, "registered") if f.ticket in tickets)
    away.figures |= {"registered": len(registered), "within s": round(time.monotonic() - begun, 1)}
    away.wrong += [f"{ticket} was registered {n} times" for ticket, n in registered.items() if n > 1]


def judge_exits(
    meanwhile: Sequence[Told], killed_ms: int, was: dict[int, str], registry: dict[int, str], away: Away
) -> None:
    """Judge what Intelligent Exit did on DTMS's positions, which only DTMS's own rows make its."""
    mine = [f for f in meanwhile if f.manager == EXITS and f.is_done and f.ticket in was and f.ticket not in registry]
    blind_ms = killed_ms + SERVES_MS + CARRIED_MS
    blind = [f for f in mine if f.machine_ms > blind_ms]
    away.figures["exits' acts, first 30 s"] = dict(Counter(str(f.details["rule"]) for f in mine if f not in blind))
    away.figures["exits' acts, blind"] = dict(Counter(str(f.details["rule"]) for f in blind))
    away.wrong += [f"a stop was trailed blind: {f.summary}" for f in blind if f.details["rule"] == "trail"]
    for fact in mine:
        if fact.ticket is not None and was[fact.ticket] in DEFENSIVE:
            away.wrong.append(f"{fact.ticket} was {was[fact.ticket]}: {fact.summary}")


# --- the main program ------------------------------------------------------------------------------------------------


def without_main(day: Day, outage_s: float) -> Away:
    """Kill the main program in the middle of a request, and judge what DTMS does and what is there afterwards."""
    away, site = Away(what=MAIN, outage_s=outage_s), day.site
    _plan(day, away)
    day.programs[MAIN].interrupt(30)
    day.start_again(MAIN, armed("sent:12:before"), wait=False)
    wait_until(lambda: day.programs[MAIN].process.poll() is not None, "it was killed", within_s=60)
    (cut_off,) = [one for one in intents(site) if one.state == "SENDING" and one.asker != DTMS]
    before, plans = managed(site), site.rows(PLANS)
    last_id = max(f.id for f in facts(site))
    _judge_mode(day, cut_off.ticket, away)
    time.sleep(outage_s)
    acts = [f for f in facts(site) if f.id > last_id and f.manager == DTMS and f.kind in ("action", "transition")]
    away.figures["DTMS's acts and transitions meanwhile"] = len(acts)
    if not acts:
        away.wrong.append("DTMS did nothing meanwhile")
    if managed(site) != before:
        away.wrong.append("somebody else wrote what the main program has in hand")
    site.done("/dtms/halt", {"reason": "to compare"})
    day.start_again(MAIN)
    judge_kept(before, managed(site), away)
    _judge_plans(plans, site.rows(PLANS), away)
    known_id = max(f.id for f in facts(site))
    site.done("/dtms/resume", {})
    _wait_for(
        lambda: any(f.id > known_id and f.is_done and f.manager in (EXITS, UNIVERSAL) for f in facts(site, "action")),
        "the managers go on",
        away,
    )
    away.figures["rows in hand"] = sum(row.closed_ms is None for row in before)
    return away


def _plan(day: Day, away: Away) -> None:
    """Make a plan that waits for a price which never comes, so that there is one to be found again."""
    with day.site.trader() as trader:
        ask = trader.quote(BTCUSD)["ask"]
    body = {
        "symbol": BTCUSD,
        "direction": "BUY",
        "entry": round(ask, 2),
        "stop_loss": round(ask * 0.97, 2),
        "take_profit": round(ask * 1.06, 2),
        "volume": 0.1,
        "conditions": [{"name": "price_below", "price": 1.0}],
    }
    answer = day.site.main.post("/auto-execution/plans", json=body)
    away.figures["plans"] = len(day.site.rows("SELECT id FROM plans WHERE status = 'pending'"))
    if answer.status_code != 200:
        away.wrong.append(f"no plan was made: {answer.text}")


def _judge_plans(before: Sequence[tuple[Any, ...]], after: Sequence[tuple[Any, ...]], away: Away) -> None:
    """See that every plan is there as it was, unless the market gave a reason to give it up."""
    now = {row[0]: row for row in after}
    for row in before:
        same = now.get(row[0])
        if same is None or (same != row and same[1] not in GIVEN_UP):
            away.wrong.append(f"plan {row[0]} was {row[1]}, and is {same and same[1]}")


def _judge_mode(day: Day, ticket: int, away: Away) -> None:
    """Let DTMS change at once what it may change under the lease alone that the dead program had."""
    if states(day.site).get(ticket, "CLOSED") == "CLOSED":
        away.figures["DTMS takes the dead one's lease"] = f"not tried, {ticket} is not DTMS's"
        return
    begun = time.monotonic()
    answer = day.site.post("/dtms/mode", {"ticket": ticket, "mode": "auto"})
    took_s = time.monotonic() - begun
    away.figures["DTMS takes the dead one's lease in s"] = round(took_s, 2)
    if answer.status_code not in (200, 404, 409) or took_s > 3:
        away.wrong.append(f"{ticket}: {took_s:.1f} s, {answer.text}")


def judge_kept(before: Sequence[Managed], after: Sequence[Managed], away: Away) -> None:
    """See that rules never changed, that what was done stays done, and that who is in hand stays in hand."""
    now = {(row.manager, row.ticket): row for row in after}
    for row in before:
        same = now.get((row.manager, row.ticket))
        if same is None:
            away.wrong.append(f"{row.manager} forgot {row.ticket}")
            continue
        away.wrong += [f"{row.ticket}: {n} changed" for n in NEVER_CHANGES if row.body[n] != same.body[n]]
        away.wrong += [f"{row.ticket}: {n} undone" for n in FLAGS if row.body[n] and not same.body[n]]
        if row.closed_ms is not None and row != same:
            away.wrong.append(f"{row.ticket} had ended, and changed")


# --- both ------------------------------------------------------------------------------------------------------------


def make_day(folder: Path, seconds: float, rate: float = RATE) -> Day:
    actors = samples(int((seconds + 60) * rate / OPENED_EVERY_S), OPENED_EVERY_S, target_atr=6.0)
    return Day(folder, rate=rate, actors=actors)


WITHOUT = {SERVER: without_dtms, MAIN: without_main}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outages", type=float, nargs="+", default=[10.0, 40.0])
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--only", choices=WITHOUT)
    given = parser.parse_args(arguments)
    seen: list[Away] = []
    lasts_s = 2 * sum(given.outages) + 60 * len(given.outages)
    with tempfile.TemporaryDirectory() as folder, make_day(Path(folder), lasts_s, given.rate) as day:
        for outage_s in given.outages:
            for without in [WITHOUT[given.only]] if given.only else WITHOUT.values():
                day.trade_for(8.0, 0.5)
                seen.append(without(day, outage_s))
                print(seen[-1].line(), flush=True)
        day.settle()
        day.calm()
        wrong = [told for one in seen for told in one.wrong] + broken(day.site)
    for told in wrong:
        print(f"WRONG: {told}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
