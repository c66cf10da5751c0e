"""What the other managers store: entries of the registry, managed positions, plans."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from dtms.domain.managed import ExitRules, Managed
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.plans import Plan
from dtms.domain.trade import Owner

EXIT_RULES = ExitRules(
    symbol_class="forex",
    is_scalp=False,
    breakeven_progress=0.3,
    partial_progress=0.6,
    partial_share=Decimal("0.50"),
    trailing_atr=1.5,
    session_factor=1.0,
    min_change_r=0.1,
    cooldown_s=60.0,
)


def ownership(ticket: int = 1, **changes: Any) -> Ownership:
    plain = Ownership(
        ticket=ticket,
        identifier=ticket,
        login=7,
        server="Broker-Demo",
        symbol="EURUSDc",
        side=Side.LONG,
        owner=Owner.UNIVERSAL.value,
        since_ms=5,
    )
    return replace(plain, **changes)


def managed(ticket: int = 1, **changes: Any) -> Managed:
    plain = Managed(
        ticket=ticket,
        manager=Owner.EXITS,
        identifier=ticket,
        login=7,
        server="Broker-Demo",
        symbol="EURUSDc",
        side=Side.LONG,
        entry=1.08512,
        initial_volume=Decimal("0.10"),
        initial_stop=1.08025,
        risk=0.00487,
        nominal_risk=False,
        rules=EXIT_RULES,
        opened_ms=1,
        registered_ms=2,
        volume=Decimal("0.10"),
        stop=1.08025,
        target=1.1,
    )
    return replace(plain, **changes)


def plan(plan_id: str = "a", **changes: Any) -> Plan:
    plain = Plan(
        id=plan_id,
        symbol="EURUSDc",
        side=Side.SHORT,
        entry=1.08512,
        stop=1.09,
        target=None,
        volume=Decimal("0.10"),
        risk_pct=None,
        conditions={"price_below": 1.08},
        expires_ms=9,
        created_ms=1,
    )
    return replace(plain, **changes)
