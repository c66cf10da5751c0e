"""Reload the configuration while running: on request, and when its file changes."""

import asyncio
from typing import Final

import structlog

from dtms import logs
from dtms.config import DEFAULT_PATH, Config, Reload, reload
from dtms.domain.errors import Misconfigured
from dtms.ports.clock import Clock
from dtms.server.behind import Behind

WATCH_S: Final = 2.0

_log = structlog.get_logger("dtms.config")


class Reloader:
    """Holds the configuration in force; one reload at a time."""

    def __init__(self, config: Config, program: Behind) -> None:
        self.config = config
        self._program = program
        self._lock = asyncio.Lock()

    async def reload(self, correlation_id: str | None) -> Reload:
        """Check the sources as a whole, and use what changed from the next cycle on.

        Raises:
            Misconfigured: when any part is wrong; nothing changes then.
        """
        async with self._lock:
            result = await asyncio.to_thread(reload, self.config)
            if result.changes:
                await self._program.apply_settings(result.config.settings, result.changes, correlation_id)
                logs.set_level(result.config.log.level)
            self.config = result.config
        _log.info("configuration_reloaded", changes=result.changes, needs_restart=list(result.needs_restart))
        return result

    async def watch(self, clock: Clock) -> None:
        """Reload whenever the file changes, for ever; a wrong file is reported and changes nothing."""
        seen = await asyncio.to_thread(self._stamp)
        while True:
            await clock.sleep_machine(WATCH_S)
            now = await asyncio.to_thread(self._stamp)
            if now == seen:
                continue
            seen = now
            try:
                await self.reload(None)
            except Misconfigured as error:
                _log.error("configuration_refused", reason=str(error))

    def _stamp(self) -> tuple[int, int] | None:
        path = (self.config.given.path if self.config.given else None) or DEFAULT_PATH
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
