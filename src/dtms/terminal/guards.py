"""What the gateway asks of a send before the terminal sees it: a fencing token, and a place in the day's budget."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from dtms.terminal.protocol import Refusal

DAY_S = 86_400.0
_REDUCING_ACTIONS = frozenset({6, 8, 10})  # SLTP, REMOVE, CLOSE_BY
_DEAL = 1


class Refused(Exception):
    """A request that is not passed on."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def is_reducing(request: Mapping[str, Any]) -> bool:
    """Judge whether a trade request only reduces risk: a stop change, a removal, or a deal against a named position."""
    action = request.get("action")
    return action in _REDUCING_ACTIONS or (action == _DEAL and bool(request.get("position")))


class Fences:
    """The newest token announced for each lease key; forgotten at every start, which the instance number tells."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}

    def announce(self, key: str, token: int) -> bool:
        """Raise the fence of ``key`` to ``token``; False when a higher one stands."""
        if token < self._tokens.get(key, token):
            return False
        self._tokens[key] = token
        return True

    def admits(self, key: str, token: int) -> bool:
        """Tell whether ``token`` is the one announced last for ``key``."""
        return self._tokens.get(key) == token


class Budget:
    """Requests allowed in any 24 hours; the last ``reserve`` of them are kept for what reduces risk.

    A budget never stops what reduces: such requests are counted and pass when it is spent. ``now`` is a monotonic
    clock in seconds.
    """

    def __init__(self, per_day: int, reserve: int, now: Callable[[], float]) -> None:
        self._per_day = per_day
        self._reserve = reserve
        self._now = now
        self._sent: deque[float] = deque()

    def take(self, *, reducing: bool) -> bool:
        """Take one request from the budget; False when none is left for one that adds."""
        if not reducing and self.left() <= self._reserve:
            return False
        self._sent.append(self._now())
        return True

    def left(self) -> int:
        """Count the requests left, the reserve included; below 0 when reducing ones went beyond it."""
        while self._sent and self._now() - self._sent[0] >= DAY_S:
            self._sent.popleft()
        return self._per_day - len(self._sent)
