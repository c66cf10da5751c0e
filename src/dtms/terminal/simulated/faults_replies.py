"""What can become of the reply to a request, or of any call: lost, unclear, refused, late, or never."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any

from dtms.terminal.simulated.answers import ERROR_TEXTS, ErrorText, bad_argument
from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_call import Armed, Call, nothing
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_late import Waiting
from dtms.terminal.simulated.faults_site import Act, Site
from dtms.terminal.simulated.structs import OrderSendResult, TradeRequest

NEVER_MS = 10**12


class Fate(Enum):
    """What becomes of a request, whatever its reply says."""

    NOW = "carried out"
    NEVER = "not carried out"
    LATE = "carried out later"


Reply = Callable[[Site, Call, Armed, TradeRequest], Any]


def error_of(code: int) -> ErrorText:
    """Give a value of `last_error()` with the terminal's own words."""
    return ErrorText(code, ERROR_TEXTS.get(code, "Terminal: Call failed"))


def instead(fate: Fate | None, reply: Reply) -> Act:
    """Make an act that decides a request's fate (None: as the argument `executed` says) and answers something else."""

    def act(site: Site, call: Call, armed: Armed) -> None:
        call.answer_instead(partial(_decided, site, call, armed, fate, reply))

    return act


def _decided(site: Site, call: Call, armed: Armed, fate: Fate | None, reply: Reply) -> Any:
    request = site.read(call)
    if request is None:  # refused before it could be sent: there is no reply to tamper with
        return None
    told = Fate.NOW if armed.fault.arguments.get("executed") else Fate.NEVER
    fate = fate or told
    if fate is Fate.NOW:
        call.plain()
    elif fate is Fate.LATE:
        _let_wait(site, armed, request)
    return reply(site, call, armed, request)


def _let_wait(site: Site, armed: Armed, request: TradeRequest) -> None:
    now_ms = site.world.now_ms
    due_ms = now_ms + armed.late_ms()
    site.agenda.add(Waiting(due_ms=due_ms, since_ms=now_ms, request=request._asdict()))


def lost(site: Site, call: Call, armed: Armed, _: TradeRequest) -> Any:
    """Answer None, with the code that the fault names."""
    site.fail(error_of(armed.fault.whole("code")))
    return nothing(call)


def said(site: Site, _: Call, armed: Armed, request: TradeRequest) -> OrderSendResult:
    """Answer the retcode that the fault names, without numbers of order or deal."""
    return site.result(request, Outcome(retcode=armed.fault.whole("retcode")))


def requoted(site: Site, _: Call, armed: Armed, request: TradeRequest) -> OrderSendResult:
    """Answer with a price that is worse for the request, and worse again each time."""
    away = armed.fault.whole("move_points") * armed.fired * (1 if request.type % 2 == 0 else -1)
    retcode = armed.fault.whole("retcode")
    return site.result(request, Outcome(retcode=retcode), 0 if retcode == MT5.TRADE_RETCODE_PRICE_OFF else away)


def placed_late(site: Site, call: Call, armed: Armed) -> None:
    """Let the broker accept the request as an order that it fills later."""
    call.answer_instead(partial(_placed, site, call, armed.late_ms()))


def placed_never(site: Site, call: Call, armed: Armed) -> None:
    """Let the broker accept the request as an order, which expires without a deal."""

    def answer() -> Any:
        result = _placed(site, call, NEVER_MS)
        order = site.world.ledger.orders.get(result.order) if result else None
        if order is not None:
            expires_ms = site.world.now_ms + armed.late_ms()
            site.world.ledger.apply(replace(order, expires_ms=expires_ms))
        return result

    call.answer_instead(answer)


def _placed(site: Site, call: Call, delay_ms: int) -> Any:
    """Send the request to a broker whose executions take time, for once."""
    manners = site.world.manners
    usual_ms = manners.execution_delay_ms
    manners.execution_delay_ms = delay_ms
    try:
        return call.plain()
    finally:
        manners.execution_delay_ms = usual_ms


def bad(site: Site, call: Call, armed: Armed) -> None:
    """Refuse an argument before anything is sent."""
    error = bad_argument(f'Invalid "{armed.fault.arguments["argument"]}" argument')
    call.answer_instead(partial(_failed, site, call, error))


def none(site: Site, call: Call, armed: Armed) -> None:
    """Let the call fail without being carried out."""
    call.answer_instead(partial(_failed, site, call, error_of(armed.fault.whole("code"))))


def _failed(site: Site, call: Call, error: ErrorText) -> Any:
    site.fail(error)
    return nothing(call)


def hang(site: Site, call: Call, armed: Armed) -> None:
    """Block: a request is carried out before, or never; whoever is left hears of a timeout."""

    def answer() -> Any:
        site.catch_up()  # the moment is written down, so that time does not go back for who comes after
        if armed.fault.arguments["executed"]:
            call.plain()
        assert site.sleep is not None  # else it could not have been put in place
        site.sleep(armed.fault.number("seconds"))
        return _failed(site, call, error_of(MT5.RES_E_INTERNAL_FAIL_TIMEOUT))

    call.answer_instead(answer)


def slow(_: Site, call: Call, armed: Armed) -> None:
    """Take real time before the call is carried out."""
    call.delay_s += armed.fault.number("seconds")


K = FaultKind
ACTS: Mapping[FaultKind, Act] = {
    K.LOST_EXECUTED: instead(Fate.NOW, lost),
    K.LOST_UNEXECUTED: instead(Fate.NEVER, lost),
    K.LOST_LATE: instead(Fate.LATE, lost),
    K.UNCLEAR_EXECUTED: instead(Fate.NOW, said),
    K.UNCLEAR_UNEXECUTED: instead(Fate.NEVER, said),
    K.UNCLEAR_LATE: instead(Fate.LATE, said),
    K.PLACED_LATE: placed_late,
    K.PLACED_NEVER: placed_never,
    K.RETCODE: instead(None, said),
    K.UNKNOWN_RETCODE: instead(None, said),
    K.REQUOTE: instead(Fate.NEVER, requoted),
    K.TOO_MANY_REQUESTS: instead(Fate.NEVER, said),
    K.LOCKED: instead(Fate.NEVER, said),
    K.FROZEN: instead(Fate.NEVER, said),
    K.MARKET_CLOSED: instead(Fate.NEVER, said),
    K.BAD_ARGUMENT: bad,
    K.NONE: none,
    K.HANG: hang,
    K.SLOW: slow,
}
