"""The managers of the main program, as one table: what each proposes, when it looks, and what it needs to see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dtms.decide import exits, exits_words, universal, universal_words
from dtms.decide.proposals import Proposed, Sighting
from dtms.domain.managed import Managed, UniversalRules
from dtms.domain.market import Timeframe
from dtms.domain.trade import Owner
from dtms.execute.managing.waking import exits_wait_at, universal_waits_at
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """One manager."""

    owner: Owner
    propose: Callable[[Sighting, Settings], Proposed]
    explain: Callable[[Sighting, Settings], Sequence[str]]
    check_s: Callable[[Settings], float]
    """Market seconds between two looks."""
    bar: Callable[[Managed], Timeframe]
    """On whose close it looks as well, and of which it needs levels."""
    levels: frozenset[Timeframe]
    """Of which it needs levels besides."""
    waits_at: Callable[[Managed, Settings], float | None]
    """The nearest closing price at which something is to be done; None when nothing waits for one."""


def _bar_of_rules(managed: Managed) -> Timeframe:
    return managed.rules.timeframe if isinstance(managed.rules, UniversalRules) else Timeframe.M15


MANAGERS: Mapping[Owner, Manager] = {
    Owner.UNIVERSAL: Manager(
        owner=Owner.UNIVERSAL,
        propose=universal.propose,
        explain=universal_words.explain,
        check_s=lambda settings: settings.universal.check_s,
        bar=_bar_of_rules,
        levels=frozenset(),
        waits_at=universal_waits_at,
    ),
    Owner.EXITS: Manager(
        owner=Owner.EXITS,
        propose=exits.propose,
        explain=exits_words.explain,
        check_s=lambda settings: settings.exits.check_s,
        bar=_bar_of_rules,
        levels=frozenset({Timeframe.M15}),
        waits_at=exits_wait_at,
    ),
}


def timeframes(managed: Managed) -> frozenset[Timeframe]:
    """Return the timeframes of which a position's manager needs levels."""
    manager = MANAGERS[managed.manager]
    return manager.levels | {manager.bar(managed)}
