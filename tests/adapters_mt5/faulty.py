"""A simulated terminal of which some functions fail as a terminal's do: None, and a code in the one slot."""

from collections.abc import Callable, Mapping
from typing import Any

from dtms.terminal.simulated.api import SimulatedTerminal


class Faulty:
    """Pass everything on to a terminal but the functions named in ``faults``: name → (answer, error code).

    ``executes`` sends of a faulty ``order_send`` are passed on before their answer is lost.
    """

    def __init__(self, terminal: SimulatedTerminal, *, executes: bool = False) -> None:
        self._terminal = terminal
        self._error: tuple[int, str] | None = None
        self.executes = executes
        self.faults: dict[str, tuple[Any, int]] = {}
        self.asked: list[str] = []

    def last_error(self) -> tuple[int, str]:
        return self._error or self._terminal.last_error()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._terminal, name)
        return self._spoiled(name, found) if callable(found) else found

    def _spoiled(self, name: str, found: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.asked.append(name)
            self._error = None
            if name not in self.faults:
                return found(*arguments, **named)
            if self.executes and name == "order_send":
                found(*arguments, **named)
            answer, code = self.faults[name]
            if isinstance(answer, Exception):
                raise answer
            self._error = (code, "made to fail")
            return answer

        return call


class Answering:
    """A result of ``order_send`` with a chosen return code, and nothing else of interest."""

    def __init__(self, retcode: int, **fields: Any) -> None:
        blank: Mapping[str, Any] = dict.fromkeys(("deal", "order", "request_id", "retcode_external"), 0)
        zeros: Mapping[str, Any] = dict.fromkeys(("volume", "price", "bid", "ask"), 0.0)
        self.__dict__.update({**blank, **zeros, "comment": "", "retcode": retcode, **fields})


def altered(structure: Any, **changes: Any) -> Any:
    """Copy one of the vendor's structures with some fields changed."""
    return type(structure)({**structure._asdict(), **changes}.values())
