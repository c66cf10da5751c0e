"""Errors say who must act."""


class DtmsError(Exception):
    """The root of what dtms itself raises."""


class Misconfigured(DtmsError):
    """Settings or account cannot work: refuse to start."""


class FeedStale(DtmsError):
    """Data are too old to decide on: hold, keep watching."""


class BrokerBusy(DtmsError):
    """A passing refusal: retry, bounded in tries and seconds."""


class BrokerRefused(DtmsError):
    """The request was wrong or is not allowed: record, do not repeat."""


class BrokerUnavailable(DtmsError):
    """The terminal or its gateway does not answer, or is not connected: wait and reconnect. None is not empty."""


class WrongAccount(BrokerUnavailable):
    """The terminal is connected to another account than the expected one: nothing may be believed or sent."""


class OutcomeUnknown(DtmsError):
    """Sent, and no answer: reconcile before anything else."""


class InvariantBroken(DtmsError):
    """What cannot be, is: halt this trade and call a human."""


class StoreFailed(DtmsError):
    """The store could not read or write: acknowledge nothing until it was reopened and verified."""


class StoreDamaged(StoreFailed):
    """Stored rows are not what was written: believe none of them."""

    def __init__(self, rows: tuple[tuple[str, str], ...], told: str = "", *, is_vital: bool = True) -> None:
        """Name the rows by table and key; ``told`` is what else was found, ``is_vital`` whether they are acted on."""
        named = [f"{table} {key}" for table, key in rows[:_NAMED_MAX]]
        more = len(rows) - len(named)
        found = [*named, *([f"{more} more"] if more > 0 else []), *([told] if told else [])]
        super().__init__(f"the store is damaged: {', '.join(found)}: restore a backup, or rebuild it")
        self.rows = rows
        self.is_vital = is_vital


_NAMED_MAX = 5
"""How many damaged rows a message names."""


class PermissionGone(DtmsError):
    """What permitted an action no longer holds in the transaction that would commit its intent."""


class AlreadyStored(DtmsError):
    """A trade that was to be created exists already."""

    def __init__(self, tickets: tuple[int, ...]) -> None:
        super().__init__(f"already registered: {', '.join(map(str, tickets))}")
        self.tickets = tickets


class ChangedMeanwhile(PermissionGone):
    """A row that was to be changed is not the one that the change follows on."""


class LeaseHeld(PermissionGone):
    """Another has the lease: a live holder, or one that let it lapse and could still send under it."""

    def __init__(self, key: str, holder: str, token: int = 0, *, is_lapsed: bool = False) -> None:
        super().__init__(f"lease {key} is held by {holder}")
        self.key = key
        self.holder = holder
        self.token = token
        self.is_lapsed = is_lapsed
        """It ran out under a holder that may be suspended: a newer token has to be announced first."""


class PeerAway(DtmsError):
    """The other program does not answer: what it would say is unknown, not no."""
