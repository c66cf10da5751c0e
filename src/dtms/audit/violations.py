"""What is found when an invariant does not hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dtms.audit.world import World
from dtms.domain.facts import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One breach of one invariant: of which trade, about what of it, in words and in figures."""

    number: int
    """Of the invariant."""
    ticket: int | None
    about: str
    """What breaks it, by kind and number, so that the same breach is recognised again."""
    words: str
    figures: Mapping[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same breach, whenever it is looked at."""
        return f"{self.number}:{self.ticket}:{self.about}"

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        return f"invariant {self.number}, trade {self.ticket}, {self.about}: {self.words}" + (
            f" ({figures})" if figures else ""
        )


Check = Callable[[World], Iterable[Violation]]
