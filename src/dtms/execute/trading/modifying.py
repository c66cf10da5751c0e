"""Levels of a position, set as a person or a program asks.

A level that a request does not name goes along bit-identical. Nobody but a person loosens a stop.
"""

from dataclasses import dataclass

from dtms.domain.actions import ActionKind, Ending, Outcome, SetLevels
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Tick
from dtms.domain.position import Position
from dtms.domain.prices import same_price
from dtms.execute.service import Receipt
from dtms.execute.trading.asking import Asking
from dtms.execute.trading.changing import Change, Changing
from dtms.execute.trading.judging import (
    Levels,
    closing_price,
    is_looser,
    levels_on_grid,
    require_levels,
    require_unfrozen,
)
from dtms.execute.trading.requests import Level, Modification, Modified
from dtms.execute.trading.service import Code, TradingRefused
from dtms.execute.trading.whose import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aim:
    """The levels as they are to be, on whose authority, and under which number; None where nothing is sent."""

    at: Known
    by: Asking
    new: Levels
    number: int | None = None


class Modifying:
    """Sets levels."""

    def __init__(self, changing: Changing) -> None:
        self._changing = changing

    async def modify(self, request: Modification, receipt: Receipt[Modified] | None = None) -> Modified:
        """Set what is named of a position's levels.

        Raises:
            TradingRefused: when it is impossible, not allowed, or the broker refused it.
            BrokerUnavailable: when the broker does not answer, and nothing was sent.
        """
        if Level.UNCHANGED is request.stop is request.target:
            raise TradingRefused(Code.INVALID, "Neither stop_loss nor take_profit is named.", {"rule": "nothing_named"})
        at, by = await self._changing.judged(request.ticket, request.lease_token, override=request.override)
        position, instrument = at.position, await self._changing.desk.instrument(at.position.symbol)
        new = _wanted(request, position, instrument)
        if _stands(new, position, instrument):
            return _modified(_Aim(at=at, by=by, new=new), None)
        tick = await self._changing.desk.tick(position.symbol)
        _require_change(by, new, position, tick, instrument)
        number = await self._changing.desk.carrier.next_number()
        aim = _Aim(at=at, by=by, new=new, number=number)
        change = _level_change(request, aim, tick, instrument, receipt)
        return _modified(aim, await self._changing.carry(change))


def _wanted(request: Modification, position: Position, instrument: Instrument) -> Levels:
    """Return the levels as they are to be; one that is not named, or named as it is, stays bit for bit."""
    stop = None if isinstance(request.stop, Level) else request.stop
    target = None if isinstance(request.target, Level) else request.target
    new = levels_on_grid(stop, target, instrument)
    keeps_stop = request.stop is Level.UNCHANGED or same_price(new.stop, position.stop, instrument)
    keeps_target = request.target is Level.UNCHANGED or same_price(new.target, position.target, instrument)
    return Levels(
        stop=position.stop if keeps_stop else new.stop, target=position.target if keeps_target else new.target
    )


def _stands(new: Levels, position: Position, instrument: Instrument) -> bool:
    """Answer whether the levels stand so already."""
    stop = same_price(new.stop, position.stop, instrument)
    return stop and same_price(new.target, position.target, instrument)


def _require_change(by: Asking, new: Levels, position: Position, tick: Tick, instrument: Instrument) -> None:
    """See that the new levels can stand, and that nobody but a person loosens a stop.

    Raises:
        TradingRefused: with the figures.
    """
    market = closing_price(position.side, tick, instrument)
    require_unfrozen(position, market)
    changed = Levels(
        stop=None if new.stop == position.stop else new.stop,
        target=None if new.target == position.target else new.target,
    )
    require_levels(changed, market)
    if not by.is_person and is_looser(new.stop, position.stop, position.side, instrument):
        to = "nothing" if new.stop is None else f"{new.stop:.10g}"
        told = f"The stop of position {position.ticket} would be loosened from {position.stop:.10g} to {to}."
        details: dict[str, Json] = {"ticket": position.ticket, "stop": position.stop, "sent": new.stop}
        raise TradingRefused(Code.INVALID, told, details | {"rule": "stop_loosened"})


def _level_change(
    request: Modification, aim: _Aim, tick: Tick, instrument: Instrument, receipt: Receipt[Modified] | None
) -> Change:
    position, new = aim.at.position, aim.new
    action = SetLevels(
        kind=ActionKind.SET_LEVELS,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=new.stop,
        target=new.target,
        expected_stop=position.stop,
        expected_target=position.target,
    )
    tightens = not same_price(new.stop, position.stop, instrument) and not is_looser(
        new.stop, position.stop, position.side, instrument
    )
    return Change(
        at=aim.at,
        by=aim.by,
        action=action,
        tick=tick,
        instrument=instrument,
        reduces=tightens and new.target == position.target,
        correlation_id=request.correlation_id,
        figures={"override": request.override},
        number=aim.number or 0,
        kept=lambda outcome, _: receipt(_modified(aim, outcome)) if receipt is not None else None,
    )


def _modified(aim: _Aim, outcome: Outcome | None) -> Modified:
    position, is_known = aim.at.position, outcome is None or outcome.ending is Ending.DONE
    stands = aim.new if is_known else Levels(stop=position.stop, target=position.target)
    return Modified(
        ok=is_known,
        unknown=not is_known,
        changed=outcome is not None and is_known,
        ticket=position.ticket,
        symbol=position.symbol,
        side=position.side,
        old_stop=position.stop,
        old_target=position.target,
        stop=stands.stop,
        target=stands.target,
        asked_as=aim.by.asker.value,
        intent=aim.number,
        retcode=outcome.retcode if outcome is not None else None,
        comment="the levels stand so already" if outcome is None else outcome.reason,
    )
