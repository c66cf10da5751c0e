"""How a position comes into a manager's hands: R, rules and what the broker holds, frozen together."""

from dtms.decide.initial_risk import initial_risk
from dtms.domain.managed import ExitRules, Managed, UniversalRules
from dtms.domain.position import Position
from dtms.domain.trade import Owner, Trade
from dtms.settings import Settings

MANAGER_OF = {UniversalRules: Owner.UNIVERSAL, ExitRules: Owner.EXITS}
"""Whose rules they are."""


def adopt(
    position: Position,
    rules: UniversalRules | ExitRules,
    *,
    login: int,
    server: str,
    now_ms: int,
    atr_m15: float | None,
    settings: Settings,
    costs: float = 0.0,
    known: Trade | Managed | None = None,
    version: int = 0,
) -> Managed:
    """Take a position over for the manager whose rules these are, with R from its stop, else nominal and marked so.

    Args:
        atr_m15: of which a nominal R is made; None while it is unknown.
        costs: commission and fees of the opening deal, in account currency, negative when paid.
        known: what another manager registered of it: its R, first stop and volume are kept.
    """
    risk = initial_risk(position, atr_m15, settings, known)
    return Managed(
        ticket=position.ticket,
        manager=MANAGER_OF[type(rules)],
        identifier=position.identifier,
        login=login,
        server=server,
        symbol=position.symbol,
        side=position.side,
        entry=position.entry,
        initial_volume=position.volume if known is None else known.initial_volume,
        initial_stop=risk.stop,
        risk=risk.risk,
        nominal_risk=risk.is_nominal,
        rules=rules,
        opened_ms=position.opened_ms,
        registered_ms=now_ms,
        volume=position.volume,
        stop=position.stop,
        target=position.target,
        costs=costs,
        version=version,
    )
