"""What can become of the reply to a request, or of any call: lost, unclear, refused, late, or never."""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any

from dtms.terminal.simulated.answers import ERROR_TEXTS, ErrorText, bad_argument
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_call import Armed, Call, nothing
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_late import Waiting
from dtms.terminal.simulated.faults_site import Act, Site
from dtms.terminal.simulated.fills import Outcome
from dtms.terminal.simulated.records import Reason
from dtms.terminal.simulated.structs import OrderSendResult, TradeRequest


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


def _let_wait(site: Site, armed: Armed, request: TradeRequest, **order: Any) -> None:
    now_ms = site.world.now_ms
    due_ms = now_ms + armed.late_ms()
    site.agenda.add(Waiting(due_ms=due_ms, since_ms=now_ms, request=request._asdict(), **order))


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


def placed(is_filled: bool) -> Act:
    """Make an act that accepts a request as an order, which is filled or cancelled later."""

    def answer(site: Site, call: Call, armed: Armed) -> Any:
        request = site.read(call)
        if request is None or isinstance(site.server.judge(request, Reason.EXPERT), int):
            return None if request is None else call.plain()
        ticket = site.world.ledger.new_ticket()
        _let_wait(site, armed, request, ticket=ticket, is_filled=is_filled)
        return site.result(request, Outcome(retcode=MT5.TRADE_RETCODE_PLACED, order=ticket))

    def act(site: Site, call: Call, armed: Armed) -> None:
        call.answer_instead(partial(answer, site, call, armed))

    return act


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
    K.PLACED_LATE: placed(is_filled=True),
    K.PLACED_NEVER: placed(is_filled=False),
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
