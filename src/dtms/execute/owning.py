"""Whose a trade is that is to be registered: what the registry says, and what the request wants of it.

| registry | plain | ``takeover`` | ``alongside`` |
| --- | --- | --- | --- |
| no entry, closed, DTMS's, nobody's | DTMS's | DTMS's | stays nobody's, DTMS beside it |
| another manager's | refused, with its name | DTMS's | stays, DTMS beside it |
| none yet, but opened for a strategy | refused: Universal's | DTMS's | Universal's, DTMS beside it |
| an owner unknown to us | refused, with its name | DTMS's | refused |
"""

from dataclasses import dataclass, replace

from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner, Trade
from dtms.execute.service import RefusalCode, Refused, Registration


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Whose a trade is from its registration on, and the registry's entry where that changes."""

    owner: Owner = Owner.DTMS
    alongside: bool = False
    entry: Ownership | None = None

    def of(self, trade: Trade) -> Trade:
        """Return the trade with its owner."""
        return replace(trade, owner=self.owner, alongside=self.alongside)


def is_anothers(entry: Ownership | None) -> bool:
    """Answer whether a position belongs to another manager, one that is unknown to us included."""
    return entry is not None and entry.is_anothers


def settle_owner(request: Registration, entry: Ownership | None, now_ms: int) -> Owned:
    """Settle whose a trade is that is registered now.

    Raises:
        Refused: when another manager owns it, and the request does not say what then.
    """
    if entry is None or not is_anothers(entry):
        return _unclaimed(request, entry, now_ms)
    if request.takeover:
        return Owned(entry=taken_over(entry, now_ms))
    if request.alongside and entry.manager is not None:
        return Owned(owner=entry.manager, alongside=True)
    raise owned_by(entry)


def _unclaimed(request: Registration, entry: Ownership | None, now_ms: int) -> Owned:
    if request.alongside and not request.takeover:
        return Owned(owner=Owner.NOBODY, alongside=True)
    is_said = entry is None or (entry.manager is Owner.DTMS and entry.closed_ms is None)
    return Owned(entry=None if is_said or entry is None else taken_over(entry, now_ms))


def taken_over(entry: Ownership, now_ms: int) -> Ownership:
    """Return the entry after DTMS took the position over."""
    return replace(
        entry,
        owner=Owner.DTMS.value,
        by_watcher=False,
        since_ms=now_ms,
        closed_ms=None,
        version=entry.version + 1,
    )


def owned_by(entry: Ownership) -> Refused:
    """Refuse a position of another manager."""
    message = (
        f"Position {entry.ticket} is managed by {entry.owner}; "
        "send takeover to make DTMS its owner, or alongside to have it defended beside that."
    )
    return Refused(RefusalCode.OWNED, message, {"ticket": entry.ticket, "owner": entry.owner})
