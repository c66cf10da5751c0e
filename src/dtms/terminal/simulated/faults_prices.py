"""What can become of quotes, ticks and bars: no numbers, impossible ones, frozen, repeated, out of order.

The trade server's own prices stay as they are: only what the caller is shown is spoiled.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from dtms.terminal.simulated import views
from dtms.terminal.simulated.faults_call import Armed, Call
from dtms.terminal.simulated.faults_clock import jump_server_clock
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_names import QUOTES
from dtms.terminal.simulated.faults_site import Act, Site
from dtms.terminal.simulated.grid import to_price
from dtms.terminal.simulated.structs import Tick

OHLC = ("open", "high", "low", "close")
Quoted = Callable[[Site, Call, Armed, float, float], tuple[float, float]]
"""Make another bid and ask out of the market's."""


def altered(structure: Any, **changes: Any) -> Any:
    """Copy one of the vendor's structures with some fields changed."""
    return type(structure)({**structure._asdict(), **changes}.values())


def quoting(change: Quoted) -> Act:
    """Make an act that changes bid and ask: of a quote, or of the last tick of several."""

    def act(site: Site, call: Call, armed: Armed) -> None:
        call.after.append(partial(_requoted, site, call, armed, change))

    return act


def _requoted(site: Site, call: Call, armed: Armed, change: Quoted, answer: Any) -> Any:
    if call.name in QUOTES:
        bid, ask = change(site, call, armed, answer.bid, answer.ask)
        return altered(answer, bid=bid, ask=ask)
    if len(answer):
        rows = answer.copy()
        rows["bid"][-1], rows["ask"][-1] = change(site, call, armed, float(rows["bid"][-1]), float(rows["ask"][-1]))
        return rows
    return answer


def _points(site: Site, call: Call, points: float) -> float:
    """Give so many points of the call's symbol as a difference of prices."""
    return points / site.world.specs[call.symbol].scale


def _crossed(site: Site, call: Call, armed: Armed, _: float, ask: float) -> tuple[float, float]:
    return ask + _points(site, call, armed.fault.number("points")), ask


def _gap(site: Site, call: Call, armed: Armed, bid: float, ask: float) -> tuple[float, float]:
    away = _points(site, call, armed.fault.number("points"))
    return bid + away, ask + away


def _wide(_: Site, __: Call, armed: Armed, bid: float, ask: float) -> tuple[float, float]:
    return bid, bid + (ask - bid) * armed.fault.number("factor")


def _spike(_: Site, __: Call, armed: Armed, bid: float, ask: float) -> tuple[float, float]:
    factor = armed.fault.number("factor")
    return bid * factor, ask * factor


def _more_digits(site: Site, call: Call, _: Armed, bid: float, ask: float) -> tuple[float, float]:
    third = _points(site, call, 1 / 3)
    return bid + third, ask + third


def freeze(site: Site, call: Call, armed: Armed) -> None:
    """Show the quote that was the last one when the fault happened first."""
    if call.name in QUOTES:
        call.after.append(partial(_as_at_first, site, call, armed, ("time", "time_msc", "bid", "ask")))


def freeze_clock(site: Site, call: Call, armed: Armed) -> None:
    """Show the present prices under the time at which the fault happened first."""
    if call.name in QUOTES:
        call.after.append(partial(_as_at_first, site, call, armed, ("time", "time_msc")))
    else:
        call.after.append(partial(_stopped, call, armed))


def _as_at_first(site: Site, call: Call, armed: Armed, names: tuple[str, ...], answer: Any) -> Any:
    assert armed.since_ms is not None
    known = armed.memory.get(call.symbol)
    if known is None:
        known = armed.memory[call.symbol] = _tick_at(site, call.symbol, armed.since_ms)
    if known is None or not answer.time:
        return answer
    return altered(answer, **{name: getattr(known, name) for name in names if name in answer.field_names})


def _tick_at(site: Site, symbol: str, ms: int) -> Tick | None:
    quote = site.world.feeds[symbol].quote(ms)
    return None if quote is None else views.tick(site.world, site.world.specs[symbol], quote)


def _stopped(call: Call, armed: Armed, rows: Any) -> Any:
    """Give all ticks since the fault happened the time of the last one before."""
    if not len(rows):
        return rows
    rows = rows.copy()
    since = armed.memory.setdefault(call.symbol, int(rows["time_msc"][-1]))
    rows["time_msc"] = np.minimum(rows["time_msc"], since)
    rows["time"] = rows["time_msc"] // 1000
    return rows


def repeat_tick(site: Site, call: Call, _: Armed) -> None:
    """Show the tick before the last once more, or the last of several twice."""
    call.after.append(partial(_older, site, call, None))


def older_tick(site: Site, call: Call, armed: Armed) -> None:
    """Show an older tick, or the last two of several in the wrong order."""
    call.after.append(partial(_older, site, call, armed.fault.whole("seconds")))


def _older(site: Site, call: Call, seconds: int | None, answer: Any) -> Any:
    """Give the tick so many seconds before, or the very last one before (None)."""
    if call.name not in QUOTES:
        return _doubled(answer, 0) if seconds is None else _swapped(answer, 0)
    world = site.world
    now = world.quote(call.symbol)
    if now is None:
        return answer
    before = world.feeds[call.symbol].quote(now.ms - 1 if seconds is None else now.ms - seconds * 1000)
    if before is None:
        return answer
    scale = world.specs[call.symbol].scale
    ms = views.server_ms(world, before.ms)
    shown = {"time": ms // 1000, "bid": to_price(before.bid, scale), "ask": to_price(before.ask, scale)}
    return altered(answer, **shown, **({"time_msc": ms} if "time_msc" in answer.field_names else {}))


def barring(change: Callable[[Any, int, Armed], Any]) -> Act:
    """Make an act that spoils the bar so many back from the newest, when there are that many."""

    def act(_: Site, call: Call, armed: Armed) -> None:
        back = armed.fault.whole("back")
        call.after.append(lambda rows: change(rows.copy(), back, armed) if len(rows) > back + 1 else rows)

    return act


def _set_all(value: float) -> Callable[[Any, int, Armed], Any]:
    def change(rows: Any, back: int, _: Armed) -> Any:
        for name in OHLC:
            rows[name][-1 - back] = value
        return rows

    return change


def _spiked(rows: Any, back: int, armed: Armed) -> Any:
    rows["high"][-1 - back] *= armed.fault.number("factor")
    return rows


def _doubled(rows: Any, back: int) -> Any:
    at = len(rows) - 1 - back
    return np.concatenate((rows[: at + 1], rows[at:])) if at >= 0 else rows


def _swapped(rows: Any, back: int) -> Any:
    if len(rows) < back + 2:
        return rows
    order = np.arange(len(rows))
    order[[-1 - back, -2 - back]] = order[[-2 - back, -1 - back]]
    return rows[order]


def _missing(rows: Any, back: int, _: Armed) -> Any:
    return np.delete(rows, len(rows) - 1 - back)


def jump_clock(site: Site, call: Call, armed: Armed) -> None:
    """Let the trade server's clock jump, once for each time that the fault happens."""
    if armed.memory.setdefault("jumped", 0) < armed.fired:
        armed.memory["jumped"] = armed.fired
        site.catch_up()
        minutes = armed.fault.whole("minutes")
        site.clock_jumps.append((call.now_ms, minutes))
        jump_server_clock(site.world, call.now_ms, minutes)


K = FaultKind
ACTS: Mapping[FaultKind, Act] = {
    K.CLOCK_JUMP: jump_clock,
    K.FROZEN_CLOCK: freeze_clock,
    K.FROZEN_QUOTE: freeze,
    K.NAN_PRICE: quoting(lambda *_: (math.nan, math.nan)),
    K.ZERO_PRICE: quoting(lambda *_: (0.0, 0.0)),
    K.NEGATIVE_PRICE: quoting(lambda _s, _c, _a, bid, ask: (-bid, -ask)),
    K.CROSSED_PRICE: quoting(_crossed),
    K.WIDE_SPREAD: quoting(_wide),
    K.SPIKE: quoting(_spike),
    K.GAP: quoting(_gap),
    K.WRONG_DIGITS: quoting(_more_digits),
    K.REPEATED_TICK: repeat_tick,
    K.OLDER_TICK: older_tick,
    K.NAN_BAR: barring(_set_all(math.nan)),
    K.ZERO_BAR: barring(_set_all(0.0)),
    K.SPIKE_BAR: barring(_spiked),
    K.REPEATED_BAR: barring(lambda rows, back, _: _doubled(rows, back)),
    K.DISORDERED_BARS: barring(lambda rows, back, _: _swapped(rows, back)),
    K.MISSING_BAR: barring(_missing),
}
