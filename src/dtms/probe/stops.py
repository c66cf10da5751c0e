"""Experiments with stops and targets: a level that is not named, one that is set already, one that is too near."""

from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.prices import Toward, on_grid
from dtms.probe import requests
from dtms.probe.hand import Hand
from dtms.probe.line import Inconclusive, Row
from dtms.probe.requests import Code
from dtms.probe.sweep import sweep
from dtms.probe.words import Found

FAR_SPREADS, FAR_LEVELS, FAR_SHARE = 40, 4, 0.01
"""Far enough for every broker: in spreads, in declared stops levels, as a share of the price."""
TRIES = 40


def far_points(hand: Hand, tick: Row) -> int:
    """Return a distance that is too near for nobody."""
    one = hand.instrument
    spread = (tick["ask"] - tick["bid"]) / one.point
    share = tick["bid"] * FAR_SHARE / one.point
    declared = max(one.stops_level_points, one.freeze_level_points)
    return int(max(FAR_SPREADS * spread, FAR_LEVELS * declared, share))


def below(hand: Hand, tick: Row, points: int) -> float:
    """Return the stop of a long position so many points from where it would be closed."""
    return on_grid(tick["bid"] - points * hand.instrument.point, hand.instrument, Toward.NEAREST)


async def omitted(hand: Hand) -> Found:
    """Find out what becomes of the level that a change of levels does not name."""
    tick = await hand.line.tick()
    far, one = far_points(hand, tick), hand.instrument
    stop, target = below(hand, tick, far), on_grid(tick["ask"] + far * one.point, one)
    row = (await hand.opened(Side.LONG, sl=stop, tp=target)).position
    moved = below(hand, tick, far + _step(hand))
    reply = await hand.move(row, sl=moved)
    now = await hand.when(row["identifier"], lambda row: _is(hand, row["sl"], moved))
    if now is None or not reply.is_accepted:
        raise Inconclusive(f"a stop alone could not be set: {reply.told}")
    found = {"omitted.target": _kept(hand, now["tp"], target, f"sl {moved} alone: {reply.told}")}
    higher = on_grid(target + _step(hand) * one.point, one)
    reply = await hand.move(row, tp=higher)
    now = await hand.when(row["identifier"], lambda row: _is(hand, row["tp"], higher))
    if now is None or not reply.is_accepted:
        raise Inconclusive(f"a target alone could not be set: {reply.told}")
    found["omitted.stop"] = _kept(hand, now["sl"], moved, f"tp {higher} alone: {reply.told}")
    await hand.must_close(now)
    return found


def _kept(hand: Hand, level: float, before: float, told: str) -> tuple[Json, str]:
    what = "kept" if _is(hand, level, before) else "changed" if level else "removed"
    return what, f"{told}; the other level was {before} and is {level}"


def _is(hand: Hand, a: float, b: float) -> bool:
    return abs(a - b) < hand.instrument.tick_size / 2


def _step(hand: Hand) -> int:
    """Return the tick size in points."""
    return max(1, int(hand.instrument.tick_size / hand.instrument.point + 0.5))


async def unchanged(hand: Hand) -> Found:
    """Find out what is answered when the levels are set to what they are."""
    tick = await hand.line.tick()
    stop = below(hand, tick, far_points(hand, tick))
    row = (await hand.opened(Side.LONG, sl=stop)).position
    reply = await hand.move(row, sl=stop, tp=0.0)
    await hand.must_close(row)
    return {"unchanged.code": (reply.code, reply.told)}


async def nearest(hand: Hand) -> Found:
    """Find the smallest distance at which a stop is accepted, by halving; where it freezes, that is told too."""
    one, step = hand.instrument, _step(hand)
    tick = await hand.line.tick()
    accepted = far_points(hand, tick) // step * step
    refused = max(0, one.freeze_level_points // step * step)
    row = (await hand.opened(Side.LONG, sl=below(hand, tick, accepted))).position
    frozen: int | None = None
    for _ in range(TRIES):
        if accepted - refused <= step:
            break
        points = (accepted + refused) // 2 // step * step
        code = await _try(hand, row, points)
        if code == Code.FROZEN:
            frozen = accepted
            break
        if code in requests.ACCEPTED or code == Code.NO_CHANGES:
            accepted = points
        elif code == Code.INVALID_STOPS:
            refused = points
        elif code == Code.POSITION_CLOSED or await hand.current(row["identifier"]) is None:
            row = await _again(hand)
        else:
            raise Inconclusive(f"a stop {points} points away: {code}")
    await sweep(hand)
    return _distances(hand, accepted, refused, frozen, await hand.line.tick())


async def _try(hand: Hand, row: Row, points: int) -> int:
    """Set the stop so many points from the market, as it is when the request is built."""
    magic = hand.magic()
    reply = await hand.send(
        lambda tick: {
            **requests.levels(hand.symbol, row["ticket"], sl=below(hand, tick, points), tp=0.0),
            "magic": magic,
        }
    )
    return reply.code


async def _again(hand: Hand) -> Row:
    """Open another position after the market took the last one by its stop."""
    await sweep(hand)
    tick = await hand.line.tick()
    return (await hand.opened(Side.LONG, sl=below(hand, tick, far_points(hand, tick)))).position


def _distances(hand: Hand, accepted: int, refused: int, frozen: int | None, tick: Row) -> Found:
    one = hand.instrument
    spread = int((tick["ask"] - tick["bid"]) / one.point + 0.5)
    declared = one.stops_level_points
    told = (
        f"{accepted} points accepted, {refused} {'refused' if refused else 'not tried'}; declared {declared}, "
        f"freeze level {one.freeze_level_points}, spread {spread} points"
    )
    least = max(declared, one.freeze_level_points, 0) + _step(hand)
    hidden = accepted if accepted > least else 0
    return {
        "stops.points_accepted": (accepted, told),
        "stops.points_refused": (refused, told),
        "stops.spread_points": (spread, told),
        "stops.hidden_points": (hidden, told),
        "stops.frozen_points": (frozen, told if frozen is None else f"{told}; frozen with the stop {frozen} away"),
    }
