"""Permission, judged on what is true in the committing transaction: the lease, the halt flag, a ticket's standing."""

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.leases import LeaseDesk
from dtms.adapters.store_sql.writer import Transaction
from dtms.decide.authority import judge
from dtms.domain.errors import PermissionGone
from dtms.domain.owners import Standing
from dtms.domain.trade import Mode
from dtms.ports.store import Permission


def require_permitted(tx: Transaction, permission: Permission, desk: LeaseDesk) -> None:
    """Pass when everything still holds that a permission names.

    Raises:
        PermissionGone: with what does not.
        StoreDamaged: when a row that decides on it is not what was written.
    """
    desk.require(tx, permission)
    standing = standing_of(tx, permission.ticket)
    if standing.halted and not permission.despite_halt:
        raise PermissionGone("trading is halted")
    if permission.ticket is not None:
        _require_say(standing, permission)
    _require_mode(standing, permission)


def standing_of(tx: Transaction, ticket: int | None) -> Standing:
    """Read what holds for a ticket; without one what holds for the account."""
    controls = tx.row(tx.say.controls, {})
    ownership, trade = None, None
    if ticket is not None:
        ownership = tx.row(tx.say.ownership, {"ticket": ticket})
        trade = tx.row(tx.say.trade, {"ticket": ticket})
    set_by_hand = None if controls is None else rows.controls_of(controls)
    return Standing(
        ticket=ticket or 0,
        ownership=None if ownership is None else rows.ownership_of(ownership),
        trade=None if trade is None else rows.trade_of(trade),
        halted=set_by_hand is not None and set_by_hand.halted,
        account_mode=None if set_by_hand is None else set_by_hand.mode,
    )


def _require_mode(standing: Standing, permission: Permission) -> None:
    if permission.mode is not None and (mode := standing.mode(permission.mode)) is not Mode.AUTO:
        raise PermissionGone(f"the mode is {mode}")


def _require_say(standing: Standing, permission: Permission) -> None:
    """See that the asker may change the position."""
    denied = judge(standing, permission.asker, states=permission.states, to_state=permission.to_state)
    if denied is not None:
        raise PermissionGone(denied.reason)
