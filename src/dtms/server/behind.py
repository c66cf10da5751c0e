"""What the HTTP parts ask of the program behind them, whichever of the two it is."""

from collections.abc import Mapping
from typing import Protocol

from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Json
from dtms.execute.service import Health
from dtms.settings import Settings


class Behind(Protocol):
    """An engine behind an HTTP program."""

    def health(self) -> Health: ...

    def note_store_failure(self, error: StoreFailed) -> None:
        """Be unready until the store was reopened and verified."""
        ...

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Use validated settings from the next cycle on; ``changes`` maps each key to its old and new value."""
        ...
