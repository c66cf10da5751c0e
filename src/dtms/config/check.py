"""Check one raw value against its key's type, bounds and pattern; every refusal names key, value, rule and source."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from dtms.config.keys import SECRETS, range_of
from dtms.config.leaves import Leaf
from dtms.domain.errors import Misconfigured

_HTTP: Final = (re.compile(r"https?://[^/\s]+/?"), "must be an http:// or https:// address without a path")
_PATTERNS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "client.api_url": _HTTP,
    "client.main_url": _HTTP,
    "store.url": (re.compile(r"(sqlite:///|postgresql(\+\w+)?://).+"), "must start with sqlite:/// or postgresql://"),
    "api.host": (re.compile(r"\S+"), "must not be empty"),
    "main.host": (re.compile(r"\S+"), "must not be empty"),
    "terminal.host": (re.compile(r"\S+"), "must not be empty"),
}
_PLACE: Final = (
    re.compile(r"https?://[^/\s]+.*|(?![a-z]{2,}://).+"),
    "must be a file or an http:// or https:// address",
)
_MARKET: Final = (re.compile(r"[a-z][a-z0-9]*:\S+"), "must name exchange and market, like binance:BTC/USDT")
_PARTS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "calendar": _PLACE,
    "vix.source": _PLACE,
    "flow.exchanges": _MARKET,
}
"""Of each value, where there is one; keys that may be absent, or hold several."""
_QUERY: Final = re.compile(r"(https?://[^?\s]*\?).+")
_PASSWORD: Final = re.compile(r"(://[^/:@\s]*:)[^@/\s]+@")


def masked(key: str, value: object) -> object:
    """Return a value as it may be shown: secrets, passwords and queries in URLs are hidden."""
    if value is not None and key in SECRETS:
        return "********"
    if not isinstance(value, str):
        return value
    return _QUERY.sub(r"\1********", _PASSWORD.sub(r"\1********@", value))


def refusal(key: str, value: object, rule: str, source: str) -> Misconfigured:
    return Misconfigured(f"{key} = {json.dumps(masked(key, value), default=str)}: {rule} (from {source})")


def unknown(key: str, known: Iterable[str], source: str, what: str = "key") -> Misconfigured:
    """Refuse an unknown name, with the nearest known one."""
    candidates = list(known)
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6) or [
        c for c in candidates if key.rpartition(".")[2] == c.rpartition(".")[2]
    ]
    hint = f"; did you mean {near[0]}?" if near else ""
    return Misconfigured(f"{key}: unknown {what}{hint} (from {source})")


def from_json(leaf: Leaf, value: object, source: str) -> Any:
    """Check a value of the file: types are taken as they stand, a number in quotes is not a number."""
    try:
        checked = leaf.adapter().validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise refusal(leaf.key, value, _rule(error), source) from None
    return _bounded(leaf, checked, source)


def from_text(leaf: Leaf, text: str, source: str) -> Any:
    """Check a value of the environment or the command line, where everything is text."""
    if text.strip().lower() in ("null", "none"):
        return from_json(leaf, None, source)
    if text.lstrip().startswith(("[", "{")):
        return from_json(leaf, _parsed(leaf, text, source), source)
    try:
        checked = leaf.adapter().validate_strings(text.strip())
    except ValidationError as error:
        raise refusal(leaf.key, text, _rule(error), source) from None
    return _bounded(leaf, checked, source)


def _parsed(leaf: Leaf, text: str, source: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise refusal(leaf.key, text, "must be valid JSON", source) from None


def _rule(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
    return first.replace("Input should be", "must be")


def _bounded(leaf: Leaf, value: Any, source: str) -> Any:
    bounds = range_of(leaf.key)
    for number in value if isinstance(value, tuple) else (value,):
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if bounds and is_number and not bounds.low <= number <= bounds.high:
            raise refusal(leaf.key, value, bounds.rule, source)
    if leaf.key == "rails.reset_zone" and not _is_zone(value):
        raise refusal(leaf.key, value, "must be a time zone like UTC or Europe/Berlin", source)
    pattern = _PATTERNS.get(leaf.key)
    if pattern and not pattern[0].fullmatch(str(value)):
        raise refusal(leaf.key, value, pattern[1], source)
    _check_parts(leaf, value, source)
    return value


def _check_parts(leaf: Leaf, value: Any, source: str) -> None:
    pattern = _PARTS.get(leaf.key)
    if pattern is None or value is None:
        return
    for part in value.values() if isinstance(value, dict) else (value,):
        if not pattern[0].fullmatch(part):
            raise refusal(leaf.key, value, pattern[1], source)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
