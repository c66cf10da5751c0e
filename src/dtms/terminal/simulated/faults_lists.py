"""What can become of lists and of the connection: late, old, partial, empty, away, restarting, another account's."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_books import NOTHING, Shown, without
from dtms.terminal.simulated.faults_books import shown as as_they_stand
from dtms.terminal.simulated.faults_call import Armed, Call, nothing
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_prices import altered, freeze
from dtms.terminal.simulated.faults_replies import error_of
from dtms.terminal.simulated.faults_site import Act, Site
from dtms.terminal.simulated.records import Reason

FIRST_ELSEWHERE = 900_000_001


def lag(site: Site, call: Call, armed: Armed) -> None:
    """Show each change after a lag of its own."""
    least, most = armed.fault.whole("ms_min"), armed.fault.whole("ms_max")
    span = max(0, most - least) + 1
    seed = armed.fault.when.seed

    def appears(kind: str, ticket: int, ms: int) -> int:
        return ms + least + zlib.crc32(f"{seed}:{kind}:{ticket}:{ms}".encode()) % span

    call.books = _past(site, appears)


def stale(site: Site, call: Call, armed: Armed) -> None:
    """Show the books as they were."""
    age_ms = round(armed.fault.number("age_s") * 1000)
    call.books = _past(site, lambda _kind, _ticket, ms: ms + age_ms)


def _past(site: Site, appears: Any) -> Shown:
    assert site.memory is not None  # kept while any fault is in place
    site.catch_up()
    return site.memory.as_of(appears, site.world.now_ms)


def partial_list(site: Site, call: Call, armed: Armed) -> None:
    """Leave rows out, others each time."""
    _leave_out(site, call, armed, armed.fault.whole("missing"))


def _leave_out(site: Site, call: Call, armed: Armed, missing: int) -> None:
    site.catch_up()
    dice = armed.dice("missing", armed.fired)

    def pick(tickets: Sequence[int]) -> Sequence[int]:
        return dice.sample(tickets, len(tickets))

    call.books = without(call.books or as_they_stand(site.world.ledger), missing, pick)


def empty(_: Site, call: Call, __: Armed) -> None:
    """Show nothing."""
    call.books = NOTHING


def offline(site: Site, call: Call, armed: Armed) -> None:
    """Take the connection to the trade server away; the last quotes stay."""
    call.is_offline = True
    freeze(site, call, armed)


def empty_offline(site: Site, call: Call, armed: Armed) -> None:
    """Take the connection away, and show nothing."""
    offline(site, call, armed)
    call.books = NOTHING


def restart(site: Site, call: Call, armed: Armed) -> None:
    """Go through what a caller sees of a terminal that restarts."""
    assert armed.since_ms is not None
    none_ms = armed.fault.number("none_s") * 1000
    empty_ms = none_ms + armed.fault.number("empty_s") * 1000
    passed_ms = call.now_ms - armed.since_ms
    if passed_ms < none_ms:
        code = MT5.RES_E_INTERNAL_FAIL_CONNECT if call.name != "initialize" else MT5.RES_E_INTERNAL_FAIL_INIT
        call.answer_instead(partial(_gone, site, call, code))
    elif passed_ms < empty_ms:
        empty_offline(site, call, armed)
    else:
        # Half of what there is, and at least one row, is missing while the terminal loads its lists.
        _leave_out(site, call, armed, max(1, len(site.world.ledger.positions) // 2))


def _gone(site: Site, call: Call, code: int) -> Any:
    site.catch_up()
    site.disconnect()
    site.fail(error_of(code))
    return nothing(call)


def wrong_account(site: Site, call: Call, armed: Armed) -> None:
    """Answer for another account; a request goes to that one."""
    arguments = armed.fault.arguments
    call.books = NOTHING
    if call.name == "account_info":
        call.after.append(lambda info: altered(info, login=arguments["login"], server=arguments["server"]))
    if call.name == "order_send":
        call.answer_instead(partial(_sent_elsewhere, site, call, armed.memory.setdefault("next", count())))


def _sent_elsewhere(site: Site, call: Call, numbers: "count[int]") -> Any:
    request = site.read(call)
    if request is None:
        return None
    site.elsewhere.append(request._asdict())
    case = site.server.judge(request, Reason.EXPERT)
    if isinstance(case, int):
        return site.result(request, Outcome(retcode=case))
    number = FIRST_ELSEWHERE + next(numbers)
    done = Outcome(retcode=MT5.TRADE_RETCODE_DONE, order=number, deal=number)
    return site.result(request, replace(done, units=case.units, price_points=case.market_points))


K = FaultKind
ACTS: Mapping[FaultKind, Act] = {
    K.LAG: lag,
    K.STALE_LIST: stale,
    K.PARTIAL_LIST: partial_list,
    K.EMPTY_LIST: empty,
    K.OFFLINE: offline,
    K.EMPTY_OFFLINE: empty_offline,
    K.RESTART: restart,
    K.WRONG_ACCOUNT: wrong_account,
}
