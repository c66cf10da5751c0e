"""The account that the terminal is connected to."""

from dataclasses import dataclass
from enum import StrEnum


class MarginMode(StrEnum):
    """Whether an opposite position can stand beside the first."""

    NETTING = "netting"
    EXCHANGE = "exchange"
    HEDGING = "hedging"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account as the terminal shows it; money in ``currency``."""

    login: int
    server: str
    currency: str
    balance: float
    equity: float
    margin: float
    margin_free: float
    margin_mode: MarginMode
    fifo_close: bool
    trade_allowed: bool
    """Server, expert advisors, terminal button and Python interface all allow trading."""
    is_demo: bool

    @property
    def key(self) -> str:
        return f"{self.server}:{self.login}"
