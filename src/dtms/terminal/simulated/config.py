"""What a simulated terminal is made of, and reading it from JSON.

    {"start": "2017-10-02T07:00Z", "rate": 60, "server_clock": "new_york+7",
     "account": {"balance": 25000}, "manners": {"comment_mode": "truncate_16"},
     "symbols": [{"name": "EURUSD.m", "like": "EURUSD", "recording": "eurusd.csv.gz", "stops_level_points": 20}],
     "actors": [{"at": "2017-10-02T08:00Z", "kind": "open", "name": "a", "symbol": "EURUSD.m", "side": "BUY",
                 "lots": 0.1, "sl": {"atr": 3}}],
     "changes": [{"at": "2017-10-02T09:00Z", "set": "symbol.EURUSD.m.trade_mode", "to": 3}]}

`changes` are what the broker changes at a moment, by the names of `conditions`.
`like` names the built-in conditions that a symbol starts from; any other key of a symbol overrides one of them.
Paths are relative to the file; `shipped:NAME` is a recording that comes with the package.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from dtms.terminal.simulated.actors import Act, Kind, Level, Unit
from dtms.terminal.simulated.condition_fields import checked
from dtms.terminal.simulated.faults import Fault, parse_faults
from dtms.terminal.simulated.manners import Manners
from dtms.terminal.simulated.recording import parse_time_ms
from dtms.terminal.simulated.records import Reason
from dtms.terminal.simulated.spec import BUILT_IN, AccountSpec, SymbolSpec

SHIPPED = Path(__file__).parents[2] / "recordings"
Spec = TypeVar("Spec", SymbolSpec, AccountSpec)
DEFAULT_SERVER_CLOCK = "new_york+7"


class ConfigError(ValueError):
    """A configuration that cannot be played; the message names the key."""


class WhileDown(StrEnum):
    """What the market does while the terminal is not running."""

    PAUSES = "pauses"
    CONTINUES = "continues"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolConfig:
    """A symbol and the recording that it plays."""

    spec: SymbolSpec
    recording: Path
    selected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """Everything that a simulated terminal is made of."""

    symbols: tuple[SymbolConfig, ...]
    start_ms: int
    rate: float = 1.0
    server_clock: str = DEFAULT_SERVER_CLOCK
    account: AccountSpec = field(default_factory=AccountSpec)
    manners: Manners = field(default_factory=Manners)
    actors: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    journal: Path | None = None
    while_down: WhileDown = WhileDown.PAUSES


def load_config(source: Path | str | Mapping[str, Any], base: Path | None = None) -> SimConfig:
    """Read a configuration from a JSON file or a mapping; `base` is where a mapping's paths start."""
    if isinstance(source, Mapping):
        return _config(dict(source), base or Path())
    path = Path(source)
    return _config(json.loads(path.read_text(encoding="utf-8")), base or path.parent)


def _config(given: dict[str, Any], base: Path) -> SimConfig:
    known = {
        "start",
        "rate",
        "server_clock",
        "account",
        "manners",
        "symbols",
        "actors",
        "changes",
        "faults",
        "journal",
        "while_down",
    }
    _refuse_unknown("configuration", given, known)
    account = _make(AccountSpec(), given.get("account", {}), "account")
    return SimConfig(
        symbols=tuple(_symbol(entry, base) for entry in given["symbols"]),
        start_ms=parse_time_ms(given["start"]),
        rate=float(given.get("rate", 1.0)),
        server_clock=given.get("server_clock", DEFAULT_SERVER_CLOCK),
        account=account,
        manners=_manners(given.get("manners", {})),
        actors=(*map(_act, given.get("actors", ())), *map(_change, given.get("changes", ()))),
        faults=_faults(given.get("faults", ())),
        journal=base / given["journal"] if given.get("journal") else None,
        while_down=WhileDown(given.get("while_down", WhileDown.PAUSES)),
    )


def _manners(given: Mapping[str, Any]) -> Manners:
    made = Manners()
    for name, value in given.items():
        try:
            setattr(made, name, value)
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"manners.{name}: {error}") from error
    return made


def _symbol(entry: Mapping[str, Any], base: Path) -> SymbolConfig:
    overrides = {key: value for key, value in entry.items() if key not in ("like", "recording", "selected")}
    like = entry.get("like", entry.get("name"))
    if like not in BUILT_IN:
        raise ConfigError(f"symbols: {like!r} is not built in, use like = one of {', '.join(BUILT_IN)}")
    spec = _make(BUILT_IN[like], overrides, f"symbols.{entry.get('name')}")
    return SymbolConfig(spec=spec, recording=_recording(entry, base), selected=bool(entry.get("selected", True)))


def _recording(entry: Mapping[str, Any], base: Path) -> Path:
    if "recording" not in entry:
        raise ConfigError(f"symbols.{entry.get('name')}: recording is missing")
    text = str(entry["recording"])
    if text.startswith("shipped:"):
        return SHIPPED / f"{text.removeprefix('shipped:')}.csv.gz"
    return base / text


def _make(start: Spec, overrides: Mapping[str, Any], where: str) -> Spec:
    _refuse_unknown(where, overrides, {item.name for item in fields(start)})
    return replace(start, **{key: _checked(type(start), where, key, value) for key, value in overrides.items()})


def _checked(kind: type, where: str, key: str, value: Any) -> Any:
    try:
        return checked(kind, key, tuple(value) if isinstance(value, list) else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.{error}") from error


def _refuse_unknown(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}")


def _act(entry: Mapping[str, Any]) -> Act:
    values = {key: value for key, value in entry.items() if key not in ("at", "kind", "sl", "tp", "reason")}
    return Act(
        at_ms=parse_time_ms(entry["at"]),
        kind=Kind(entry.get("kind", Kind.OPEN)),
        sl=_level(entry.get("sl")),
        tp=_level(entry.get("tp")),
        reason=Reason[str(entry.get("reason", "client")).upper()],
        **values,
    )


def _change(entry: Mapping[str, Any]) -> Act:
    _refuse_unknown("changes", entry, {"at", "set", "to"})
    return Act(at_ms=parse_time_ms(entry["at"]), kind=Kind.SET, setting=str(entry["set"]), value=entry.get("to"))


def _faults(given: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    try:
        return parse_faults(given)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _level(given: Mapping[str, Any] | None) -> Level | None:
    if given is None:
        return None
    ((unit, value),) = given.items()
    return Level(Unit(unit), float(value))
