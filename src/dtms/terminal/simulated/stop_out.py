"""The broker's stop-out: when equity falls to the stop-out level, it closes positions, the largest loss first.

The level is judged at ticks. Between them it is known how far prices may move before it can be reached: what the
account has beyond the level is shared among the symbols whose quotes price its positions, and a price may move by its
share over what it prices. Twice that move, and what a conversion adds, still do not use the share up.
"""

from dtms.terminal.simulated.bookings import Closing
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.fills import Fills
from dtms.terminal.simulated.grid import to_cents, to_money
from dtms.terminal.simulated.records import Position, Reason
from dtms.terminal.simulated.watches import ANY_TICK, Band, Watch, searched
from dtms.terminal.simulated.world import World

SAFETY = 3
MOVE_SHARE_MAX = 0.1
COMMENT_MAX_CHARS = 31


class StopOut:
    """Watch an account's margin, and close what it can no longer carry."""

    def __init__(self, world: World, fills: Fills) -> None:
        self._world = world
        self._fills = fills
        self._watches: dict[str, Watch] = {}
        self._judged = 0

    def next_ms(self, upto_ms: int) -> int | None:
        """Give the next tick at which the level must be judged, searching at least up to a moment."""
        self._renew()
        feeds = self._world.feeds
        self._watches = {name: searched(watch, feeds[name], upto_ms) for name, watch in self._watches.items()}
        return min((watch.trigger_ms for watch in self._watches.values() if watch.trigger_ms is not None), default=None)

    def quiet_until_ms(self) -> int | None:
        """Give the last moment up to which no judgement can be due by what is known, None when there is no limit."""
        self._renew()
        return min((watch.quiet_until_ms for watch in self._watches.values()), default=None)

    def judge(self, ms: int) -> None:
        """Judge the level at a moment for which a judgement was due, and close what must be closed."""
        if not any(watch.trigger_ms == ms for watch in self._watches.values()):
            return
        while self._slack_cents() <= 0 and (victim := self._largest_loser()) is not None:
            self._close(victim)
        self._judged += 1

    def _renew(self) -> None:
        """Make the bands anew when money changed, or when the level was judged and stood."""
        ledger = self._world.ledger
        version = ledger.money, self._judged
        if any(watch.version != version for watch in self._watches.values()) or bool(self._watches) != bool(
            ledger.positions
        ):
            now_ms = self._world.now_ms
            self._watches = {
                name: Watch(version=version, band=band, clear_ms=now_ms) for name, band in self._bands().items()
            }

    def _bands(self) -> dict[str, Band]:
        """Give, for each symbol that prices a position, how far it may move before the level must be judged."""
        priced: dict[str, int] = {}
        held = dict.fromkeys(position.symbol for position in self._world.ledger.positions.values())
        for symbol in held:
            for name in self._world.pricing(symbol):
                priced[name] = priced.get(name, 0) + self._world.worth_of(symbol)
        slack = self._slack_cents()
        if slack <= 0:
            return dict.fromkeys(held, ANY_TICK)
        return {name: self._band(name, slack / len(priced), worth) for name, worth in priced.items()}

    def _band(self, symbol: str, slack_cents: float, worth_cents: int) -> Band:
        quote = self._world.quote(symbol)
        if quote is None:
            return ANY_TICK
        share = min(MOVE_SHARE_MAX, slack_cents / (SAFETY * max(worth_cents, 1)))
        down, up = 1 - share, 1 + share
        return Band(
            bid_floor=int(quote.bid * down),
            bid_ceiling=int(quote.bid * up) + 1,
            ask_floor=int(quote.ask * down),
            ask_ceiling=int(quote.ask * up) + 1,
        )

    def _slack_cents(self) -> float:
        """Give what the equity has beyond the stop-out level."""
        account, equity = self._world.account, self._world.equity_cents()
        if account.margin_so_mode == MT5.ACCOUNT_STOPOUT_MODE_MONEY:
            return equity - to_cents(account.stop_out_money)
        return equity - self._world.margin_used_cents() * account.stop_out_percent / 100

    def _largest_loser(self) -> Position | None:
        """Give the position with the largest loss among those whose market trades, None when there is none."""
        world = self._world
        held = [position for position in world.ledger.positions.values() if world.is_open(position.symbol)]
        return min(held, key=lambda position: world.floating_cents(position) + position.swap_cents, default=None)

    def _close(self, position: Position) -> None:
        world = self._world
        equity, margin = world.equity_cents(), world.margin_used_cents()
        level = f"{equity / margin * 100:.2f}%" if margin else "-"
        said = f"[so {level}/{to_money(equity):.2f}/{to_money(margin):.2f}]"
        closing = Closing(
            units=position.units,
            price_points=world.close_points(position),
            reason=Reason.SO,
            magic=position.magic,
            comment=(said if world.manners.level_comments else position.comment)[:COMMENT_MAX_CHARS],
        )
        self._fills.close_position(position, closing)
