"""What may be changed while the terminal runs, by dotted names, as an administrator of the broker would.

    switches.connected              a permission to trade
    manners.comment_mode            a habit of the broker
    symbol.EURUSD.stops_level_points   a condition of a symbol

A change is an entry in the books: it is written to the journal, and is still in force after a restart.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Protocol

from dtms.terminal.simulated.condition_fields import checked
from dtms.terminal.simulated.feed import Feed
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.manners import Manners
from dtms.terminal.simulated.records import Setting
from dtms.terminal.simulated.spec import Switches, SymbolSpec

SWITCHES, MANNERS, SYMBOL = "switches", "manners", "symbol"
# What a symbol is made of (its grid, its currencies) cannot change under positions; these can.
OF_SYMBOL = (
    "volume_min_lots",
    "volume_max_lots",
    "volume_step_lots",
    "volume_limit_lots",
    "stops_level_points",
    "freeze_level_points",
    "commission_per_lot",
    "swap_mode",
    "swap_long_points",
    "swap_short_points",
    "filling_mask",
    "expiration_mask",
    "order_mask",
    "exemode",
    "trade_mode",
    "margin_factor",
    "spread_factor",
)


class Changeable(Protocol):
    """What holds conditions that may change."""

    switches: Switches
    manners: Manners
    specs: dict[str, SymbolSpec]
    feeds: dict[str, Feed]
    ledger: Ledger


def present(holder: Changeable) -> dict[str, object]:
    """Give every name that can be set, with its present value."""
    found: dict[str, object] = {}
    for item in fields(Switches):
        if item.name != "trade_modes":
            found[f"{SWITCHES}.{item.name}"] = getattr(holder.switches, item.name)
    for item in fields(Manners):
        found[f"{MANNERS}.{item.name}"] = getattr(holder.manners, item.name)
    for symbol, spec in holder.specs.items():
        found |= {f"{SYMBOL}.{symbol}.{name}": getattr(spec, name) for name in OF_SYMBOL}
        found[f"{SYMBOL}.{symbol}.trade_mode"] = holder.switches.trade_modes.get(symbol, spec.trade_mode)
    return found


def judged(symbols: Mapping[str, SymbolSpec], name: str, value: object) -> object:
    """Give a value as its setting takes it; ValueError says what is wrong with name or value."""
    kind, _, rest = name.partition(".")
    symbol, _, field = rest.rpartition(".")
    try:
        if kind == SWITCHES and not symbol and rest != "trade_modes":
            return checked(Switches, rest, value)
        if kind == MANNERS and not symbol:
            return checked(Manners, rest, value)
        if kind == SYMBOL and symbol in symbols and field in OF_SYMBOL:
            return checked(SymbolSpec, field, value)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    raise ValueError(f"{name}: there is no such setting")


def put(holder: Changeable, setting: Setting) -> None:
    """Let a setting take effect."""
    kind, _, rest = setting.name.partition(".")
    if kind == SWITCHES:
        setattr(holder.switches, rest, setting.value)
    elif kind == MANNERS:
        setattr(holder.manners, rest, setting.value)
    else:
        symbol, _, field = rest.rpartition(".")
        _put_of_symbol(holder, symbol, field, setting)


def _put_of_symbol(holder: Changeable, symbol: str, field: str, setting: Setting) -> None:
    if field == "trade_mode":
        holder.switches.trade_modes[symbol] = setting.value
        return
    holder.specs[symbol] = replace(holder.specs[symbol], **{field: setting.value})
    if field == "spread_factor":
        holder.feeds[symbol].widen(setting.ms, setting.value)
    # What was foreseen from the old conditions is to be looked at again.
    holder.ledger.versions[symbol] += 1
    holder.ledger.money += 1
