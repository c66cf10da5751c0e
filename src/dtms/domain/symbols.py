"""A broker's spelling of a symbol is kept; the canonical form is derived here and nowhere else."""

import re
from enum import StrEnum
from functools import lru_cache

_KNOWN = re.compile(
    r"^#?((?:[A-Z]{3}USD|USD[A-Z]{3}|[A-Z]{4,5}USD|[A-Z]{6}|XAU[A-Z]{3}|XAG[A-Z]{3}|[A-Z]+[0-9]+|[A-Z]{3,}))(.*)$"
)


@lru_cache(maxsize=4096)
def canonical(symbol: str) -> str:
    """Strip a broker's suffix: ``BTCUSDc`` and ``BTCUSD.m`` are ``BTCUSD``.

    A suffix is what follows the leading run of capitals and digits: lower-case letters, or anything after
    one of ``. _ - #``.
    """
    match = _KNOWN.match(symbol)
    return match.group(1) if match else symbol.upper()


def currencies(symbol: str) -> tuple[str, ...]:
    """Return the two currencies of a symbol whose canonical form has six letters, else nothing."""
    name = canonical(symbol)
    return (name[:3], name[3:6]) if len(name) == 6 and name.isalpha() else ()


class SymbolClass(StrEnum):
    """What kind of thing a symbol is, where rules differ by kind."""

    CRYPTO = "crypto"
    GOLD = "gold"
    FX = "fx"
    OTHER = "other"
    """Indices, shares, other metals: neutral figures."""


_CRYPTO = ("ADA", "AVAX", "BCH", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "LTC", "SOL", "XBT", "XRP")
_GOLD = ("GOLD", "XAU")
_MONEY = frozenset(
    {"AUD", "BRL", "CAD", "CHF", "CNH", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "JPY"}
    | {"KRW", "MXN", "NOK", "NZD", "PLN", "RON", "RUB", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR"}
)


@lru_cache(maxsize=4096)
def class_of(symbol: str) -> SymbolClass:
    """Return the class of a symbol in any broker's spelling."""
    name, pair = canonical(symbol), currencies(symbol)
    if pair and _MONEY.issuperset(pair):
        return SymbolClass.FX
    if name.startswith(_GOLD):
        return SymbolClass.GOLD
    return SymbolClass.CRYPTO if name.startswith(_CRYPTO) and len(name) > 5 else SymbolClass.OTHER
