"""Intent numbers, reserved in durable blocks: what a crash leaves unused is skipped, never given again."""

import threading

from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.errors import InvariantBroken

COUNTER = "intents"
BLOCK = 64
NUMBER_END = 1 << 40
"""The magic number has room for 40 bits."""


class Numbers:
    """The part of a reserved block that this process has not given yet."""

    def __init__(self) -> None:
        self._left = range(0)
        self._lock = threading.Lock()

    def take(self, count: int) -> range | None:
        """Give ``count`` consecutive numbers; None when the block has too few."""
        with self._lock:
            if len(self._left) < count:
                return None
            given, self._left = self._left[:count], self._left[count:]
            return given

    def give_from(self, block: range, count: int) -> range:
        """Give the first numbers of a block just reserved, and keep the rest."""
        with self._lock:
            self._left = block[count:]
        return block[:count]


def reserve(tx: Transaction, count: int) -> range:
    """Reserve a block that has at least ``count`` numbers.

    Raises:
        InvariantBroken: when the numbers are used up.
    """
    block = tx.count_up(COUNTER, max(count, BLOCK))
    if block.stop > NUMBER_END:
        raise InvariantBroken(f"intent numbers are used up at {NUMBER_END}")
    return block
