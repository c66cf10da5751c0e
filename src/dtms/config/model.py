"""The configuration as frozen values: what needs a restart, beside the reloadable ``Settings``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dtms.domain.facts import Json
from dtms.domain.trade import Mode
from dtms.settings import Settings


@dataclass(frozen=True, slots=True)
class Api:
    """Where the DTMS server listens."""

    host: str = "127.0.0.1"
    port: int = 8001


@dataclass(frozen=True, slots=True)
class Main:
    """Where the main API listens."""

    host: str = "127.0.0.1"
    port: int = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where and how the programs reach each other."""

    api_url: str = "http://127.0.0.1:8001"
    main_url: str = "http://127.0.0.1:8000"
    retry_count: int = 3
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAt:
    """Which database holds the truth, and how it is kept; the URL can carry a password and is masked where it does."""

    url: str = field(default="sqlite:///data/dtms_trades.db", repr=False)
    backup_every_h: float = 6.0
    backups_kept: int = 14
    archive_after_days: float = 90.0
    """Market days after which a closed trade moves to the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """The gateway, and the module that it loads."""

    module: Literal["sim", "metatrader5"] = "sim"
    host: str = "127.0.0.1"
    port: int = 18812
    secret: str | None = field(default=None, repr=False)
    """None: made at first start and kept in the data directory."""
    sim_config: Path | None = None
    """The simulated terminal's JSON file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mt5Account:
    """The expected account; None accepts the one that the terminal is logged in to."""

    login: int | None = None
    password: str | None = field(default=None, repr=False)
    server: str | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Startup:
    broker_timeout: float = 300.0
    """Machine seconds; 0 waits for ever."""


@dataclass(frozen=True, slots=True)
class Log:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console form on a terminal, JSON lines otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VixFrom:
    """Where the volatility index comes from; the symbol is asked first."""

    symbol: str | None = None
    """The broker's own symbol."""
    source: str | None = None
    """A CSV file or URL with date and close."""
    stale_days: float = 5.0
    """Older figures are not used: a long weekend is no reason, a file that ended is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFrom:
    """Order flow from crypto exchanges, by the broker's symbol: ``{"BTCUSD": "binance:BTC/USDT"}``."""

    exchanges: Mapping[str, str] = field(default_factory=dict)
    poll_s: float = 5.0
    stale_s: float = 60.0
    """Without news for so long the terminal's ticks are used instead."""
    timeout_s: float = 10.0
    backfill_min: float = 125.0
    """How far back trades are fetched at start: the layer needs two hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How files behind URLs are fetched; the last good copy is kept in the data directory."""

    refresh_h: float = 24.0
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One effective value; ``source`` says where it comes from."""

    key: str
    value: Json
    source: str
    secret: bool = False
    reloadable: bool = False

    @property
    def shown(self) -> Json:
        """The value as it may be shown: a secret that is set is masked."""
        return "********" if self.secret and self.value is not None else self.value

    def __repr__(self) -> str:
        return f"Entry({self.key}={self.shown!r} from {self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a configuration was read from, kept so that it can be read again."""

    path: Path | None
    required: bool
    """The file was named by hand, so it must exist."""
    environ: Mapping[str, str] = field(repr=False)
    overrides: Mapping[str, str] = field(repr=False)
    defaults: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The effective configuration."""

    api: Api = field(default_factory=Api)
    main: Main = field(default_factory=Main)
    client: Client = field(default_factory=Client)
    store: StoreAt = field(default_factory=StoreAt)
    terminal: Terminal = field(default_factory=Terminal)
    mt5: Mt5Account = field(default_factory=Mt5Account)
    startup: Startup = field(default_factory=Startup)
    log: Log = field(default_factory=Log)
    mode: Mode = Mode.OBSERVE
    magic_prefix: int = 6001
    """Marks the orders of this installation: the upper 13 bits of their magic numbers."""
    calendar: str | None = None
    """Economic calendar: a CSV or JSON file, or its URL; without it the news rail is inactive."""
    vix: VixFrom = field(default_factory=VixFrom)
    flow: FlowFrom = field(default_factory=FlowFrom)
    fetching: Fetching = field(default_factory=Fetching)
    data_dir: Path = Path("data")

    settings: Settings = field(default_factory=Settings)
    entries: tuple[Entry, ...] = field(default=(), repr=False)
    given: Given | None = field(default=None, repr=False)
