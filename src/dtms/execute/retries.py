"""Failures of rows: counted, backed off, given up with a call for a person; waiting is not failing."""

from collections.abc import Callable
from dataclasses import replace

from dtms.decide.settle import ROW_BY_RULE
from dtms.decide.trade_state import TABLE, Due, Move, Row
from dtms.domain.actions import Ending, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Retry, Trade
from dtms.execute.book import Watch
from dtms.execute.desk import Desk, Told
from dtms.settings import ProtectionSettings

BACKOFF_MAX_S = 60.0
JITTER = 0.25
SOON_MS = 1_000
"""After what somebody else did meanwhile, or is doing."""
_SPREAD = 2_654_435_761
"""A large odd number: multiples of it by ticket and step scatter over 32 bits, the same in every run."""


def next_try_ms(trade: Trade, steps: int, now_ms: int, settings: ProtectionSettings) -> int:
    """Return when a trade's move may be tried anew after ``steps`` failures or waits in a row.

    The wait doubles with each step, and is longer by up to a quarter, so that trades refused together do not come
    back together.
    """
    wait_s = min(BACKOFF_MAX_S, settings.failure_backoff_s * 2 ** max(0, min(steps, 16) - 1))
    scattered = (trade.ticket + steps) * _SPREAD % 2**32 / 2**32
    return now_ms + int(wait_s * (1 + JITTER * scattered) * 1000)


class Retries:
    """Remembers which rows failed, and when they are decided anew."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def blocked(self, watch: Watch) -> frozenset[str]:
        """Rules that are not taken now: backing off, given up, or with a request whose outcome is not known."""
        waiting = [i for i in watch.open_intents.values() if i.state is not IntentState.NEEDS_HUMAN]
        unresolved = {i.serves.rule for i in waiting if i.serves is not None}
        retry = watch.trade.retry
        if retry is not None and self._waits(retry):
            unresolved.add(retry.move)
        return frozenset(unresolved)

    def _waits(self, retry: Retry) -> bool:
        row = ROW_BY_RULE[retry.move]
        endless = Move.CLOSE_ALL in row.moves or Move.CLOSE_REST in row.moves
        given_up = retry.failures >= self._desk.settings.protection.failures_max and not endless
        return given_up or self._desk.clock.market_ms() < retry.not_before_ms

    async def count(self, watch: Watch, row: Row, told: Told) -> None:
        """Count a failure of a row and say when it is decided anew; waiting and the unknown are not counted."""
        before = watch.trade.retry
        if before is None or before.move != row.rule:
            before = Retry(move=row.rule, failures=0, not_before_ms=0)
        retry = self._next(watch.trade, before, told)
        trade, facts = replace(watch.trade, retry=retry), list[Fact]()
        given_up = retry.failures >= self._desk.settings.protection.failures_max
        if retry.failures > before.failures and given_up and trade.needs_attention is None:
            trade = replace(trade, needs_attention=f"{row.rule} failed {retry.failures} times: {told.reason}")
            facts.append(self._desk.journal.fact(FactKind.NEEDS_ATTENTION, trade.needs_attention or "", trade=trade))
        if watch.noted.get("retry") != told.reason:
            watch.noted["retry"] = told.reason
            facts.append(self._held_fact(trade, row, told))
        await self._desk.commit(watch, trade, facts)

    def _next(self, trade: Trade, before: Retry, told: Told) -> Retry:
        now, settings = self._desk.clock.market_ms(), self._desk.settings.protection
        if told.ending is Ending.FAILED and not told.wait:
            failures = before.failures + 1
            until = next_try_ms(trade, failures, now, settings)
            return replace(before, failures=failures, waits=0, not_before_ms=until)
        waits = before.waits + 1
        if told.soon:
            self._desk.hurry()
            return replace(before, waits=waits, not_before_ms=now + SOON_MS)
        return replace(before, waits=waits, not_before_ms=next_try_ms(trade, waits, now, settings))

    def _held_fact(self, trade: Trade, row: Row, told: Told) -> Fact:
        waiting = "waits" if told.wait else told.ending.value
        summary = f"{row.rule} {waiting}: {told.reason}"
        return self._desk.journal.fact(
            FactKind.HELD,
            summary,
            trade=trade,
            details={"rule": row.rule, "reason": told.reason, "ending": told.ending.value},
        )

    async def forget(self, watch: Watch, due: Callable[[frozenset[str]], Due | None]) -> None:
        """Start counting anew once the row that failed is no longer called for."""
        retry = watch.trade.retry
        if retry is None:
            return
        others = frozenset(row.rule for row in TABLE if row.rule != retry.move)
        if due(others) is not None:
            return
        watch.noted.pop("retry", None)
        given_up = retry.failures >= self._desk.settings.protection.failures_max
        attention = None if given_up else watch.trade.needs_attention
        trade = replace(watch.trade, retry=None, needs_attention=attention, close_reason=None)
        await self._desk.commit(watch, trade, [])
