"""Read the configuration again: checked as a whole, the reloadable part used, the rest named as needing a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dtms.config.load import load
from dtms.config.model import Config, Entry
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """The configuration from now on, what changed in it, and what changed in the sources but waits for a restart."""

    config: Config
    changes: Mapping[str, Json]
    """Key to ``{"old": …, "new": …}``, in force at once."""
    needs_restart: Mapping[str, Json]


def reload(running: Config) -> Reload:
    """Read the sources of ``running`` again; what needs a restart is reported and left as it is.

    Raises:
        Misconfigured: when any part is wrong; nothing of it counts then.
    """
    if running.given is None:
        raise Misconfigured("this configuration was not read from anywhere, so it cannot be read again")
    fresh = load(running.given)
    before = {entry.key: entry for entry in running.entries}
    changed = [(before[entry.key], entry) for entry in fresh.entries if entry.value != before[entry.key].value]
    return Reload(
        config=_merged(running, fresh),
        changes=_differences(changed, reloadable=True),
        needs_restart=_differences(changed, reloadable=False),
    )


def _merged(running: Config, fresh: Config) -> Config:
    # What needs a restart keeps its running value, so that it is reported until the restart.
    now = {entry.key: entry for entry in fresh.entries}
    return replace(
        running,
        settings=fresh.settings,
        log=replace(running.log, level=fresh.log.level),
        entries=tuple(now[entry.key] if entry.reloadable else entry for entry in running.entries),
    )


def _differences(changed: list[tuple[Entry, Entry]], *, reloadable: bool) -> dict[str, Json]:
    return {new.key: {"old": old.shown, "new": new.shown} for old, new in changed if new.reloadable is reloadable}
