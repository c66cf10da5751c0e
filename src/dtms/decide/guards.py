"""Safety rails: what stops an action that adds risk. Nothing here ever stops one that reduces it.

Each guard is a pure function from what is known to a refusal with its rule and its figures, or None. ``GUARDS`` lists
them in the order in which they are asked. The rails' own memory (loss anchors, stop-outs in a row, requests of the day)
is ``RailState``, a value that is stored and survives restarts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from dtms.domain.calendar import Release
from dtms.domain.market import Tick
from dtms.domain.symbols import currencies
from dtms.settings import RailSettings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class RailState:
    """The rails' memory; money in account currency, times market UTC milliseconds."""

    day_start_ms: int = 0
    day_anchor: float | None = None
    """Balance, equity or the higher of both at the reset."""
    hour_start_ms: int = 0
    hour_anchor: float | None = None
    equity: float | None = None
    stop_outs_in_row: int = 0
    requests_today: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "RailState":
        return cls(**{name: stored[name] for name in cls.__slots__ if name in stored})


class Traded(Protocol):
    """What risk would be added to: a trade, or a position that is to be opened."""

    @property
    def symbol(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardInput:
    """What the guards see when an action would add risk."""

    trade: Traded
    tick: Tick
    now_ms: int
    median_spread: float | None
    stale: str | None
    rails: RailState
    releases: Sequence[Release]
    last_same_action_ms: int | None
    settings: RailSettings


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rail that blocks, with its figures in words; ``until_ms`` when it is known."""

    rail: str
    reason: str
    until_ms: int | None = None


Guard = Callable[[GuardInput], Refusal | None]


def _stale(at: GuardInput) -> Refusal | None:
    return Refusal("stale_data", at.stale) if at.stale else None


def _unsound_quote(at: GuardInput) -> Refusal | None:
    return None if at.tick.is_sound else Refusal("unsound_quote", f"bid {at.tick.bid}, ask {at.tick.ask}")


def is_spread_spike(tick: Tick, median_spread: float | None, settings: RailSettings) -> bool:
    """Answer whether the spread is above its multiple of the median; never while the median is unknown."""
    return median_spread is not None and tick.spread > settings.spread_factor * median_spread + 1e-12


def _spread(at: GuardInput) -> Refusal | None:
    if not is_spread_spike(at.tick, at.median_spread, at.settings):
        return None
    return Refusal("spread_spike", f"spread {at.tick.spread:.6g}, median {at.median_spread:.6g}")


def _loss(name: str, anchor: float | None, equity: float | None, limit_percent: float) -> Refusal | None:
    if anchor is None or equity is None or anchor <= 0:
        return None
    lost = 100.0 * (anchor - equity) / anchor
    return (
        Refusal(name, f"lost {lost:.2f} % of {anchor:.2f}, limit {limit_percent:g} %")
        if lost >= limit_percent
        else None
    )


def _daily_loss(at: GuardInput) -> Refusal | None:
    return _loss("daily_loss", at.rails.day_anchor, at.rails.equity, at.settings.daily_loss_percent)


def _hourly_loss(at: GuardInput) -> Refusal | None:
    return _loss("hourly_loss", at.rails.hour_anchor, at.rails.equity, at.settings.hourly_loss_percent)


def _stop_outs(at: GuardInput) -> Refusal | None:
    if at.rails.stop_outs_in_row < at.settings.stop_outs_max:
        return None
    return Refusal("stop_outs", f"{at.rails.stop_outs_in_row} stop-outs in a row, limit {at.settings.stop_outs_max}")


def _news(at: GuardInput) -> Refusal | None:
    money = currencies(at.trade.symbol)
    before, after = at.settings.news_before_min * 60_000, at.settings.news_after_min * 60_000
    for release in at.releases:
        near = release.time_ms - before <= at.now_ms < release.time_ms + after
        if near and release.currency in money and release.impact.lower() in at.settings.news_impacts:
            return Refusal("news", f"{release.event} ({release.currency})", int(release.time_ms + after))
    return None


def _repeat(at: GuardInput) -> Refusal | None:
    if at.last_same_action_ms is None or at.now_ms - at.last_same_action_ms >= at.settings.repeat_s * 1000:
        return None
    return Refusal("repeat", f"the same action {(at.now_ms - at.last_same_action_ms) / 1000:.0f} s ago")


def _budget(at: GuardInput) -> Refusal | None:
    left = at.settings.requests_per_day - at.settings.requests_reserve - at.rails.requests_today
    return (
        None
        if left > 0
        else Refusal("request_budget", f"{at.rails.requests_today} requests today, the rest is reserved")
    )


GUARDS: tuple[Guard, ...] = (
    _stale,
    _unsound_quote,
    _spread,
    _daily_loss,
    _hourly_loss,
    _stop_outs,
    _news,
    _repeat,
    _budget,
)


def refuse_risk(at: GuardInput) -> Refusal | None:
    """Return the first rail that blocks an action which adds risk."""
    return next((refusal for guard in GUARDS if (refusal := guard(at))), None)


# --- the rails' memory ---------------------------------------------------------------------------------------------


def day_start_ms(now_ms: int, settings: RailSettings, broker_offset_ms: int) -> int:
    """Return when the present loss day began: the broker's day change, or the configured hour and zone."""
    if settings.reset_hour is None:
        return now_ms - (now_ms + broker_offset_ms) % DAY_MS
    zone = ZoneInfo(settings.reset_zone)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    reset = local.replace(hour=settings.reset_hour, minute=0, second=0, microsecond=0)
    if reset > local:
        reset = (reset - timedelta(days=1)).replace(hour=settings.reset_hour)
    return int(reset.timestamp() * 1000)


def observe_account(
    rails: RailState, *, now_ms: int, balance: float, equity: float, settings: RailSettings, broker_offset_ms: int
) -> RailState:
    """Take the account's figures in, with new anchors where a day or an hour began."""
    anchor = {"balance": balance, "equity": equity, "higher": max(balance, equity)}[settings.loss_anchor]
    day, hour = day_start_ms(now_ms, settings, broker_offset_ms), now_ms - now_ms % HOUR_MS
    if day != rails.day_start_ms:
        rails = replace(rails, day_start_ms=day, day_anchor=anchor, stop_outs_in_row=0, requests_today=0)
    if hour != rails.hour_start_ms:
        rails = replace(rails, hour_start_ms=hour, hour_anchor=anchor)
    return rails if rails.equity == equity else replace(rails, equity=equity)


def observe_close(rails: RailState, *, by_stop: bool, profit: float) -> RailState:
    """Count stop-outs in a row: a losing stop adds one, a close with profit ends the row."""
    if by_stop and profit < 0:
        return replace(rails, stop_outs_in_row=rails.stop_outs_in_row + 1)
    return replace(rails, stop_outs_in_row=0) if profit > 0 else rails


def rail_figures(rails: RailState, settings: RailSettings) -> dict[str, dict[str, Any]]:
    """Show each rail of the account with its figures and whether it blocks."""

    def loss(refusal: Refusal | None, anchor: float | None, limit: float) -> dict[str, Any]:
        lost = None if not anchor or rails.equity is None else round(100.0 * (anchor - rails.equity) / anchor, 3)
        return {"blocks": refusal is not None, "lost_percent": lost, "limit_percent": limit, "anchor": anchor}

    day = _loss("daily_loss", rails.day_anchor, rails.equity, settings.daily_loss_percent)
    hour = _loss("hourly_loss", rails.hour_anchor, rails.equity, settings.hourly_loss_percent)
    used = rails.requests_today
    return {
        "daily_loss": loss(day, rails.day_anchor, settings.daily_loss_percent),
        "hourly_loss": loss(hour, rails.hour_anchor, settings.hourly_loss_percent),
        "stop_outs": {
            "blocks": rails.stop_outs_in_row >= settings.stop_outs_max,
            "in_row": rails.stop_outs_in_row,
            "limit": settings.stop_outs_max,
        },
        "request_budget": {
            "blocks": used >= settings.requests_per_day - settings.requests_reserve,
            "used": used,
            "limit": settings.requests_per_day,
            "reserve_for_reducing": settings.requests_reserve,
        },
    }
