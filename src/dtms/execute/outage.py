"""A broker that is away: told once for each reason, called a person for when it lasts, told when it is over.

A cycle finds the broker away four times a second; what it says is told by news, not by cycles.
"""

import structlog

from dtms.domain.account import Account
from dtms.domain.errors import BrokerUnavailable, WrongAccount
from dtms.domain.facts import Fact, FactKind
from dtms.execute.journal import Journal
from dtms.ports.clock import Clock

log = structlog.get_logger(__name__)

ALERT_AFTER_S = 60.0


class Outage:
    """Knows since when the broker is away, and what was told of it."""

    def __init__(self, clock: Clock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._since_s: float | None = None
        self._told: set[str] = set()
        self._alerted = False

    def note(self, error: BrokerUnavailable) -> tuple[str, Fact | None]:
        """Take an unanswered call in; return why nothing is known, and the alert when a person must hear of it."""
        now_s = self._clock.machine_s()
        if self._since_s is None:
            self._since_s = now_s
        is_wrong, reason = isinstance(error, WrongAccount), str(error)
        told = f"wrong account: {reason}" if is_wrong else f"broker unavailable: {reason}"
        news = "wrong account" if is_wrong else told  # adapter and gateway find it out in different words
        if news not in self._told:
            self._told.add(news)
            tell = log.critical if is_wrong else log.error
            tell("wrong_account" if is_wrong else "broker_unavailable", told=reason)
        return told, self._alert(told, now_s - self._since_s, is_wrong=is_wrong)

    def _alert(self, told: str, away_s: float, *, is_wrong: bool) -> Fact | None:
        if self._alerted or not (is_wrong or away_s >= ALERT_AFTER_S):
            return None
        self._alerted = True
        words = f"{told}: nothing is read or sent until it is back; stops at the broker stay"
        return self._journal.fact(FactKind.NEEDS_ATTENTION, words, details={"alert": "CRITICAL"})

    def over(self, account: Account) -> None:
        """Tell that the broker is back, and matched with what is known."""
        away_s = 0.0 if self._since_s is None else self._clock.machine_s() - self._since_s
        log.info("broker_connected", account=account.key, balance=account.balance, away_s=round(away_s, 1))
        self._since_s, self._alerted = None, False
        self._told.clear()
