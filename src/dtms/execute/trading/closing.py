"""Positions closed, whole or in part, as a person or a program asks."""

from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.actions import ActionKind, ClosePosition, Ending, Intent, Outcome
from dtms.domain.market import Instrument, Tick
from dtms.domain.prices import ZERO
from dtms.execute.service import Receipt
from dtms.execute.trading.asking import Asking
from dtms.execute.trading.changing import Change, Changing
from dtms.execute.trading.judging import closing_price, closing_volume, require_unfrozen
from dtms.execute.trading.requests import Closed, Closing
from dtms.execute.trading.whose import Known

TRIES = 3
"""How often a close is decided anew on the next quote while the price alone stands in its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aim:
    """What is to be closed, on whose authority, and under which number."""

    at: Known
    by: Asking
    volume: Decimal
    number: int


class Ender:
    """Closes positions."""

    def __init__(self, changing: Changing) -> None:
        self._changing = changing

    async def close(self, request: Closing, receipt: Receipt[Closed] | None = None) -> Closed:
        """Close a position, or lots of it.

        Raises:
            TradingRefused: when it is impossible, not allowed, or the broker refused it.
            BrokerUnavailable: when the broker does not answer, and nothing was sent.
        """
        for attempt in range(TRIES):
            at, by = await self._changing.judged(request.ticket, request.lease_token, override=request.override)
            position, instrument = at.position, await self._changing.desk.instrument(at.position.symbol)
            volume = closing_volume(request.volume, position, instrument)
            tick = await self._changing.desk.tick(position.symbol)
            require_unfrozen(position, closing_price(position.side, tick, instrument))
            number = await self._changing.desk.carrier.next_number()
            aim = _Aim(at=at, by=by, volume=volume, number=number)
            change = _close(request, aim, tick, instrument, receipt)
            outcome = await self._changing.carry(change, is_last=attempt == TRIES - 1)
            if outcome.ending in (Ending.DONE, Ending.UNKNOWN):
                break
        return _closed(aim, outcome, change.intent)


def _close(request: Closing, aim: _Aim, tick: Tick, instrument: Instrument, receipt: Receipt[Closed] | None) -> Change:
    position, volume = aim.at.position, aim.volume
    is_whole = volume == position.volume
    action = ClosePosition(
        kind=ActionKind.CLOSE if is_whole else ActionKind.TAKE_PARTIAL,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        volume=volume,
        expected_volume=position.volume,
    )
    return Change(
        at=aim.at,
        by=aim.by,
        action=action,
        tick=tick,
        instrument=instrument,
        reduces=True,
        correlation_id=request.correlation_id,
        figures={"override": request.override, "why": request.reason},
        number=aim.number,
        kept=lambda outcome, intent: receipt(_closed(aim, outcome, intent)) if receipt is not None else None,
    )


def _closed(aim: _Aim, outcome: Outcome, intent: Intent | None) -> Closed:
    position, asked, is_done = aim.at.position, aim.volume, outcome.ending is Ending.DONE
    volume = ZERO if not is_done else asked if outcome.volume is None else min(outcome.volume, asked)
    return Closed(
        ok=is_done,
        unknown=not is_done,
        ticket=position.ticket,
        symbol=position.symbol,
        side=position.side,
        volume=volume,
        left=position.volume - volume,
        old_volume=position.volume,
        price=outcome.price,
        asked_as=aim.by.asker.value,
        order=intent.order if intent is not None else None,
        deal=intent.deal if intent is not None else None,
        intent=aim.number,
        retcode=outcome.retcode,
        comment=outcome.reason,
    )
