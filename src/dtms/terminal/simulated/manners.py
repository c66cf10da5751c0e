"""How brokers differ where nothing in the interface tells; what is not proven of real brokers is a choice here."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dtms.terminal.simulated.condition_fields import at_least, checked


class CommentMode(StrEnum):
    """What a broker does with the comment of a request."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    TRUNCATE_16 = "truncate_16"
    TRUNCATE_27 = "truncate_27"
    TRUNCATE_31 = "truncate_31"
    REPLACE = "replace"
    STRIP = "strip"


class DealMagic(StrEnum):
    """Whose magic number a closing deal carries."""

    REQUEST = "request"
    POSITION = "position"


class OmittedLevel(StrEnum):
    """What a change of levels does to the level that it does not name."""

    REMOVES = "removes"
    KEEPS = "keeps"


class MergedLevels(StrEnum):
    """What becomes of a netting position's levels when another entry merges into it."""

    REPLACE = "replace"
    KEEP_IF_NONE = "keep_if_none"


class PartialRest(StrEnum):
    """What becomes of the rest of a part-filled order; by its filling, only RETURN leaves a rest."""

    BY_FILLING = "by_filling"
    CANCELLED = "cancelled"
    REFILLS = "refills"


class MovedPrice(StrEnum):
    """How a price that moved beyond the deviation is refused where execution is by request or instant."""

    REQUOTE = "requote"
    PRICE_CHANGED = "price_changed"


class MarginCheck(StrEnum):
    """What must be covered by free margin: the entry as if it stood alone, or what the account then holds."""

    ENTRY = "entry"
    AFTER = "after"


@dataclass(slots=True, kw_only=True)
class Manners:
    """How brokers differ where the interface does not tell; may be changed while the terminal runs.

    The defaults are an ordinary broker's. Assigning a value checks it: TypeError for a wrong kind, ValueError for a
    value out of bounds; a text stands for the member of a closed choice.
    """

    comment_mode: CommentMode = CommentMode.ACCEPT
    # A comment with one of these characters is refused; so is any comment on a close, where closes take none.
    comment_refused_chars: str = ""
    comment_on_close: bool = True
    comment_replacement: str = "broker"
    # Whether what a stop, a target or a stop-out closes says so in its comment, as `[sl 1.23450]`.
    level_comments: bool = True
    # Whether orders, positions and deals keep the magic number of their request; 0 otherwise.
    magic_kept: bool = True
    closing_deal_magic: DealMagic = DealMagic.REQUEST
    omitted_level: OmittedLevel = OmittedLevel.REMOVES
    merged_levels: MergedLevels = MergedLevels.REPLACE
    # The distance that stops must keep though the symbol declares a stops level of 0; in points, in present spreads.
    hidden_stops_points: int = at_least(0, 0)
    hidden_stops_spreads: int = at_least(0, 0)
    # How much of an order is filled at once, 0 for all of it; whether FOK then refuses; what becomes of the rest.
    fill_lots_max: float = at_least(0.0, 0)
    fok_is_whole: bool = True
    partial_rest: PartialRest = PartialRest.BY_FILLING
    refill_delay_ms: int = at_least(5_000, 1)
    # Above 0 a market order is answered PLACED, and is filled so much later.
    execution_delay_ms: int = at_least(0, 0)
    # On a hedging account: how many positions an order opens, each so many points worse than the one before.
    step_fills: int = at_least(1, 1)
    step_slip_points: int = at_least(0, 0)
    moved_price: MovedPrice = MovedPrice.REQUOTE
    # Whether a position that the night's swap re-opened under a new ticket keeps the time of its opening.
    reopen_keeps_time: bool = True
    margin_check: MarginCheck = MarginCheck.ENTRY
    # Requests by programs in 60 s before the next is too many; 0 for no limit.
    requests_per_minute: int = at_least(0, 0)
    # Whether programs may trade on real accounts alone.
    only_real: bool = False
    # Whether a pending order is refused, too, when it names a filling that the symbol's mask lacks.
    pending_filling_judged: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, checked(type(self), name, value))
