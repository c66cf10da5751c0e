"""Experiments with time and with what is shown: how late lists are, what the server's clock says, how none looks."""

from collections.abc import Sequence

from dtms.domain.facts import Json
from dtms.probe.hand import Hand
from dtms.probe.line import Inconclusive
from dtms.probe.words import Found

SAMPLES = 20
HALF_HOUR_MS = 1_800_000
FRESH_MS = 60_000
TICKS = 5
TICK_WAIT_S = 60.0
SURE_MS = 10_000
"""A fresh quote is no more than this older than the server's clock."""


def percentile(values: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


async def lags(hand: Hand) -> Found:
    """Measure how long what was done takes to be listed, over everything opened and closed in this run."""
    while len(hand.opening_lags) + len(hand.placed_ms) < SAMPLES:
        await hand.must_close((await hand.opened()).position)
    found: dict[str, tuple[Json, str]] = {}
    if hand.placed_ms:
        told = f"{len(hand.placed_ms)} openings were answered PLACED"
        found["execution.placed_ms_p99"] = (percentile(hand.placed_ms, 99), told)
    every = [*hand.opening_lags, *hand.closing_lags]
    if not every:
        return found | {"lag.ms_p99": (percentile(hand.placed_ms, 99), "no answer told that it was done")}
    parts: dict[str, Sequence[int]] = {
        "position": [lag.position_ms for lag in every],
        "order": [lag.order_ms for lag in every],
        "deal": [lag.deal_ms for lag in every],
    }
    told = f"{len(hand.opening_lags)} openings and {len(hand.closing_lags)} closes"
    for name, values in parts.items():
        found[f"lag.{name}_ms_p50"] = (percentile(values, 50), told)
        found[f"lag.{name}_ms_p99"] = (percentile(values, 99), told)
    return found | {"lag.ms_p99": (percentile([lag.all_ms for lag in every], 99), told)}


async def clock(hand: Hand) -> Found:
    """Measure the server's clock by fresh quotes, and whether they agree on one offset in half hours."""
    offsets: list[int] = []
    last = (await hand.line.tick())["server_ms"]
    until_ms = hand.clock.market_ms() + TICK_WAIT_S * 1000
    while len(offsets) < TICKS and hand.clock.market_ms() < until_ms:
        await hand.clock.sleep_machine(0.1)
        now = (await hand.line.tick())["server_ms"]
        if now > last:
            offsets.append(now - hand.clock.market_ms())
        last = max(last, now)
    if not offsets:
        raise Inconclusive(f"no fresh quote came within {TICK_WAIT_S:.0f} s")
    halves = [(offset + HALF_HOUR_MS // 2) // HALF_HOUR_MS for offset in offsets]
    newest = max(offsets)
    residual_ms = newest - halves[-1] * HALF_HOUR_MS
    told = f"{len(offsets)} fresh quotes, {min(offsets)} to {newest} ms from UTC"
    agrees = len(set(halves)) == 1 and abs(residual_ms) <= SURE_MS
    return {
        "clock.offset_min": (halves[-1] * 30, told),
        "clock.residual_ms": (residual_ms, told),
        "clock.agrees": (agrees, told),
    }


async def nothing(hand: Hand) -> Found:
    """Find out how a list without entries looks: empty, or None as after an error."""
    answers = {
        "symbol": await hand.line.raw("positions_get", symbol=hand.symbol),
        "ticket": await hand.line.raw("positions_get", ticket=1),
        "orders": await hand.line.raw("orders_get", symbol=hand.symbol),
    }
    shown = {name: "none" if answer.get("value") is None else "empty" for name, answer in answers.items()}
    told = "; ".join(f"{name}: {answer.get('value')}, {answer.get('last_error')}" for name, answer in answers.items())
    return {"none.shown_as": (shown["symbol"], told), "none.of_ticket": (shown["ticket"], told)}


async def identity(hand: Hand) -> Found:
    """Read what the terminal and the account say of themselves."""
    terminal, account = await hand.line.terminal()
    version = (await hand.line.raw("version")).get("value")
    spec = await hand.line.spec()
    declared: dict[str, Json] = {
        "margin_mode": account["margin_mode"],
        "fifo_close": account["fifo_close"],
        "trade_mode": account["trade_mode"],
        "stops_level": spec["trade_stops_level"],
        "freeze_level": spec["trade_freeze_level"],
        "filling_mode": spec["filling_mode"],
        "execution": spec["trade_exemode"],
    }
    return {
        "build": (terminal["build"], f"version {version}, {terminal['company']}"),
        "account.declared": (declared, f"{account['company']}, {account['server']}"),
    }
