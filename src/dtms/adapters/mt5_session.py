"""A connection to a terminal and its account: made, checked with every answer, and made anew when it was lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from dtms.adapters import mt5_read
from dtms.adapters.links import Link
from dtms.adapters.mt5_ways import Recall
from dtms.adapters.server_time import ServerTime
from dtms.domain.account import Account
from dtms.domain.broker_ways import UNPROVEN, BrokerWays, Proven
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown, WrongAccount
from dtms.ports.clock import Clock
from dtms.terminal.protocol import ACCOUNT_FIELDS, TERMINAL_FIELDS, Refusal

_CHECKED_CALLS = frozenset({"account", "snapshot", "positions", "evidence", "history"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mt5Settings:
    """How requests are made, and how long what was read stays good."""

    deviation_points: int = 20
    instrument_age_s_max: float = 86_400.0
    """Market seconds for which a symbol's specification is believed."""
    fresh_tick_wait_s: float = 1.0
    """Machine seconds to wait at the first connection for a tick that tells the server's clock."""
    fresh_tick_poll_s: float = 0.25


class Expected(TypedDict, total=False):
    """What a session may be told of the account that it is to find."""

    expected_login: int | None
    expected_server: str | None
    settings: Mt5Settings | None
    recall: Recall | None


class Mt5Session:
    """Ask a gateway on behalf of one account.

    Without an expected login and server, the account found at the first connection is the expected one from then on.
    ``recall`` reads, at each connection, what was proven of the account's broker.
    """

    def __init__(
        self,
        link: Link,
        clock: Clock,
        *,
        expected_login: int | None = None,
        expected_server: str | None = None,
        settings: Mt5Settings | None = None,
        recall: Recall | None = None,
    ) -> None:
        self._link = link
        self._clock = clock
        self._login = expected_login
        self._server = expected_server
        self._settings = settings or Mt5Settings()
        self._recall = recall
        self._is_connected = False
        self._knows_offset = False
        self.server_time = ServerTime()
        self.proven: Proven | None = None
        """What was proven of the connected account's broker."""
        self.build = 0
        """The terminal's build; 0 before the first connection."""

    @property
    def ways(self) -> BrokerWays:
        """How the connected account's broker is known to behave."""
        return self.proven.ways if self.proven is not None else UNPROVEN

    async def connect(self) -> Account:
        account = await self._attach()
        # Waited for once: later quotes measure the clock as well, and a closed market must not delay reconnecting.
        until_s = self._clock.machine_s() + (0 if self._knows_offset else self._settings.fresh_tick_wait_s)
        while not self.server_time.is_measured and self._clock.machine_s() < until_s:
            await self._clock.sleep_machine(self._settings.fresh_tick_poll_s)
            account = await self._attach()
        if not self.server_time.is_measured:
            self.server_time.assume(self._clock.market_ms())
        if self._recall is not None:
            self.proven = await self._recall(account.server, account.login) or self.proven
        self._knows_offset = self._is_connected = True
        return account

    async def account(self) -> Account:
        await self._ready()
        return self._checked(await self._ask({"call": "account"}))

    async def _attach(self) -> Account:
        value = await self._ask({"call": "connect"})
        account = self._checked(value)
        self._login, self._server = account.login, account.server
        self.build = mt5_read.fields(TERMINAL_FIELDS, value["terminal"])["build"]
        self.server_time.observe(value["newest_tick_s"] * 1000, self._clock.market_ms())
        return account

    def _checked(self, value: Mapping[str, Any]) -> Account:
        """Read the account out of an answer.

        Raises:
            WrongAccount: when it is not the expected one.
            BrokerUnavailable: when the terminal is not connected.
        """
        row = mt5_read.fields(ACCOUNT_FIELDS, value["account"])
        if self._login not in (None, row["login"]) or self._server not in (None, row["server"]):
            raise WrongAccount(f"{row['server']}:{row['login']} instead of {self._server}:{self._login}")
        if not mt5_read.is_connected(value["terminal"]):
            raise BrokerUnavailable("the terminal is not connected to its trade server")
        return mt5_read.to_account(value["account"], value["terminal"])

    async def _ask(self, request: Mapping[str, Any]) -> Any:
        """Ask the gateway what must be answered.

        Raises:
            BrokerUnavailable: for anything but a sound answer; None is not empty.
        """
        try:
            answer = await self._link.call({**request, **self._expected(request)})
        except (BrokerUnavailable, OutcomeUnknown) as lost:
            self._is_connected = False
            raise BrokerUnavailable(str(lost)) from lost
        if "value" in answer:
            return answer["value"]
        self._is_connected = False
        if answer.get("refused") == Refusal.ACCOUNT:
            raise WrongAccount(answer["message"])
        raise BrokerUnavailable(f"{request['call']}: {answer['message']}")

    def _expected(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"login": self._login, "server": self._server} if request["call"] in _CHECKED_CALLS else {}

    async def _ready(self) -> None:
        if not self._is_connected:
            await self.connect()
