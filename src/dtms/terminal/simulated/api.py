"""The simulated terminal: an object that answers as the vendor's module `MetaTrader5` does.

It has the module's 32 functions and 223 constants, and one attribute that the module lacks: `simulation`, through
which its time, its books and its faults are reached.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from dtms.terminal.simulated import views
from dtms.terminal.simulated.answers import AUTH_FAILED, SUCCESS, bad_argument
from dtms.terminal.simulated.calls_books import BookCalls
from dtms.terminal.simulated.calls_market import MarketCalls
from dtms.terminal.simulated.calls_trade import TradeCalls
from dtms.terminal.simulated.clock import AcceleratedClock, SimClock, SteppedClock
from dtms.terminal.simulated.config import SimConfig, WhileDown
from dtms.terminal.simulated.constants import Constants
from dtms.terminal.simulated.engine import Engine
from dtms.terminal.simulated.faults_clock import SkippingClock
from dtms.terminal.simulated.faults_control import Control
from dtms.terminal.simulated.faults_kept import FaultFile
from dtms.terminal.simulated.faults_late import Agenda
from dtms.terminal.simulated.faults_layer import FaultLayer, faultable, make_layer
from dtms.terminal.simulated.faults_site import Sleep
from dtms.terminal.simulated.feed import Feed
from dtms.terminal.simulated.fills import Fills
from dtms.terminal.simulated.grid import to_cents, to_money
from dtms.terminal.simulated.infos import AccountInfo, TerminalInfo
from dtms.terminal.simulated.journal import FileJournal, Journal, NoJournal, Resumed, read_journal
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.recording import load_recording
from dtms.terminal.simulated.records import Deal, Reason, Selection
from dtms.terminal.simulated.requests import read_request
from dtms.terminal.simulated.server_time import ServerClock
from dtms.terminal.simulated.spec import Switches
from dtms.terminal.simulated.structs import OrderSendResult, TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World, converter

VERSION = (500, views.BUILD, "26 Sep 2026")
TEXT_ARGUMENTS = ("password", "server", "path")


def no_wall() -> float:
    """Say that the wall clock is not known."""
    return 0.0


def build_world(config: SimConfig) -> World:
    """Load the recordings and lay out the world; LookupError when a symbol's money cannot be converted."""
    clock = ServerClock(config.server_clock)
    feeds = {s.spec.name: Feed(load_recording(s.recording), s.spec, clock) for s in config.symbols}
    world = World(config.account, feeds, clock, config.start_ms, config.manners)
    for spec in world.specs.values():
        for currency in (spec.currency_profit, spec.currency_base):
            if currency != config.account.currency and (
                currency == spec.currency_profit or spec.calc_mode == Constants.SYMBOL_CALC_MODE_FOREX
            ):
                converter(world.specs, currency, config.account.currency, spec)
    return world


def resume_ms(config: SimConfig, resumed: Resumed | None, wall_s: float) -> int:
    """Give the simulated moment at which a terminal starts or goes on.

    A moment is written once in a while, so a resumed market starts after the last that could have been seen:
    its time never goes back.
    """
    if resumed is None:
        return config.start_ms
    on = max(0.0, wall_s - resumed.wall_s) * config.rate if config.while_down == WhileDown.CONTINUES else 0.0
    return resumed.at_ms + round(max(on, config.rate if config.rate > 0 else 0.0) * 1000)


@faultable
class SimulatedTerminal(Constants, MarketCalls, BookCalls, TradeCalls):
    """Answer as the vendor's module does, on the market that a configuration names, at the time that a clock tells.

    `sleep` lets faults take real seconds; a terminal whose time is virtual has none.
    """

    __version__ = "5.0.6231"
    __author__ = "Simulated"

    _layer: FaultLayer | None = None
    """What calls pass while a fault is in place."""

    def __init__(
        self, config: SimConfig, clock: SimClock, *, wall: Callable[[], float] = no_wall, sleep: Sleep | None = None
    ) -> None:
        self._account = config.account
        world = build_world(config)
        resumed = read_journal(config.journal) if config.journal else None
        _restore(world, config, resumed)
        fills = Fills(world)
        server = TradeServer(world, fills)
        agenda = Agenda(config.actors, world, server)
        journal: Journal = NoJournal()
        if config.journal:
            journal = FileJournal(config.journal, round(clock.rate * 1000), wall)
        super().__init__(world, server, Engine(world, fills, agenda), clock, journal)
        faults = make_layer(self, agenda, sleep, FaultFile(config.journal))
        self.simulation = Simulation(self, faults)
        faults.start(config.faults)

    def initialize(self, path: str = "", /, **options: Any) -> bool:
        """Connect to the terminal; options are login, password, server, timeout, portable."""
        if not self._admits({"path": path, **options}):
            return False
        self._initialized = True
        self._error = SUCCESS
        self._catch_up()
        return True

    def login(self, login: int, /, **options: Any) -> bool:
        """Log in to the account; only the configured one exists."""
        return self._begin() and self._admits({"login": login, **options})

    def shutdown(self) -> None:
        """End the connection."""
        self._initialized = False
        self._error = SUCCESS

    def version(self) -> tuple[int, int, str] | None:
        """Give the terminal's version, build and date."""
        return VERSION if self._begin() else None

    def last_error(self) -> tuple[int, str]:
        """Give the code and text of the last call's error."""
        return self._error.code, self._error.text

    def terminal_info(self) -> TerminalInfo | None:
        """Give the terminal's state and permissions."""
        return views.terminal_info(self._world) if self._begin() else None

    def account_info(self) -> AccountInfo | None:
        """Give the account at the current prices."""
        return views.account_info(self._world) if self._begin() else None

    def _admits(self, options: dict[str, Any]) -> bool:
        """Check what a connection is asked with, setting the error when it is refused."""
        wrong = [name for name in TEXT_ARGUMENTS if not isinstance(options.get(name, ""), str)]
        wrong += [name for name in ("login", "timeout") if not isinstance(options.get(name, 0), int)]
        if wrong:
            self._fail(bad_argument(f'Invalid "{wrong[0]}" argument'))
            return False
        account = self._account
        asked = (
            options.get("login") in (None, 0, account.login)
            and options.get("server") in (None, "", account.server)
            and (not options.get("password") or options["password"] == account.password or not account.password)
        )
        if not asked:
            self._fail(AUTH_FAILED)
        return asked


def _restore(world: World, config: SimConfig, resumed: Resumed | None) -> None:
    """Fill the books from a journal, or open them with the account's balance."""
    if resumed:
        for change in resumed.changes:
            world.ledger.apply(change)
        world.ledger.take_unwritten()
        world.now_ms = resumed.at_ms
        return
    opening = Deal(
        ticket=world.ledger.new_deal(),
        order=0,
        symbol="",
        type=Constants.DEAL_TYPE_BALANCE,
        entry=Constants.DEAL_ENTRY_IN,
        units=0,
        price_points=0,
        magic=0,
        position_id=0,
        reason=int(Reason.CLIENT),
        comment="Deposit",
        ms=config.start_ms,
        profit_cents=to_cents(config.account.balance),
    )
    world.ledger.apply(opening)
    for symbol in config.symbols:
        world.ledger.apply(Selection(symbol.spec.name, symbol.selected))


class Simulation:
    """What a real terminal does not offer: its time, its books, its switches, and acting as somebody else."""

    def __init__(self, terminal: SimulatedTerminal, faults: FaultLayer) -> None:
        self._terminal = terminal
        self.faults = faults
        """What the terminal does to its callers."""
        self._control = Control(terminal._world, terminal._server, faults, terminal._clock, terminal._catch_up)

    @property
    def world(self) -> World:
        """The simulated world."""
        return self._terminal._world

    @property
    def ledger(self) -> Ledger:
        """The trade server's own books."""
        return self.world.ledger

    @property
    def switches(self) -> Switches:
        """What may be switched off while running."""
        return self.world.switches

    @property
    def rate(self) -> float:
        """Simulated seconds in one real second; 0 when only steps move the clock."""
        return self._terminal._clock.rate

    def utc_ms(self) -> int:
        """Give the simulated UTC time in milliseconds."""
        return max(self._terminal._clock.now_ms(), self.world.now_ms)

    def end_ms(self) -> int:
        """Give the moment at which the last recording ends, UTC ms."""
        return max(feed.end_ms for feed in self.world.feeds.values())

    def play_to(self, ms: int) -> None:
        """Play the market up to a moment, taking a stepped clock along."""
        if isinstance(self._terminal._clock, SteppedClock):
            self._terminal._clock.advance_to(ms)
        self._terminal._engine.play_to(ms)
        self._terminal._write()

    def equity(self) -> float:
        """Give the account's equity at the moment up to which the market was played."""
        return to_money(self.world.equity_cents())

    def control(self, message: Mapping[str, Any]) -> Any:
        """Do what a message says, see `faults_control`; ValueError says what is wrong with it."""
        return self._control.answer(message)

    def send_as(self, request: dict[str, Any], reason: Reason = Reason.CLIENT) -> OrderSendResult:
        """Send a request as somebody else does: a person at the desk, on the phone, on the web."""
        read = read_request(request, self.world.manners)
        if not isinstance(read, TradeRequest):
            raise ValueError(read.text)
        self._terminal._catch_up()
        return self._terminal._send(read, reason)

    def close(self) -> None:
        """Write the journal's last moment and close it."""
        self._terminal._journal.close(self.world.now_ms)


def open_terminal(
    config: SimConfig,
    monotonic: Callable[[], float],
    wall: Callable[[], float] = no_wall,
    sleep: Sleep = time.sleep,
) -> SimulatedTerminal:
    """Start or resume a terminal whose clock runs at the configured rate."""
    resumed = read_journal(config.journal) if config.journal else None
    clock = SkippingClock(AcceleratedClock(resume_ms(config, resumed, wall()), config.rate, monotonic))
    return SimulatedTerminal(config, clock, wall=wall, sleep=sleep)


def stepped_terminal(config: SimConfig) -> tuple[SimulatedTerminal, SteppedClock]:
    """Start or resume a terminal whose clock stands still until it is advanced."""
    resumed = read_journal(config.journal) if config.journal else None
    clock = SteppedClock(resumed.at_ms if resumed else config.start_ms)
    return SimulatedTerminal(config, clock), clock
