"""Every return code, error code and refusal of the gateway, through the real path, for four kinds of actions.

The table says what must come of a first answer with that code to a hedge, to a partial close, to a stop move and to
closing everything. A code without a row fails. Nothing was executed, but under DONE, DONE_PARTIAL, and NO_CHANGES for
the stop.
"""

from collections.abc import Mapping

import pytest
from tests.execute.arena import KINDS, Came, Code, all_seen

from dtms.adapters.retcodes import ERRORS, REFUSALS, RETCODES
from dtms.terminal.protocol import Refusal

Row = tuple[Came, Came, Came, Came]
"""For a hedge, a part, a stop, everything."""

EVERY_CODE: tuple[Code, ...] = (*RETCODES, *ERRORS, *REFUSALS)


def all_four(came: Came) -> Row:
    return (came, came, came, came)


PRICE = FIX = all_four(Came.AT_ONCE)
DEALER: Row = (Came.COUNTED, Came.AT_ONCE, Came.AT_ONCE, Came.AT_ONCE)
"""What adds exposure is not pressed on a dealer who rejected it."""
WAIT = all_four(Came.WAITED)
STANDSTILL = all_four(Came.STOOD_STILL)
AMBIG = all_four(Came.UNKNOWN)
POLICY: Row = (Came.NOT_POSSIBLE, Came.NOT_POSSIBLE, Came.NOT_POSSIBLE, Came.COUNTED)
"""Never again in this visit; closing everything is never given up."""

EXPECTED: Mapping[Code, Row] = {
    10004: PRICE,
    10006: DEALER,
    10007: DEALER,
    10008: AMBIG,
    10009: all_four(Came.DONE),
    10010: all_four(Came.DONE),
    10011: AMBIG,
    10012: AMBIG,
    10013: FIX,
    10014: FIX,
    10015: FIX,
    10016: FIX,  # a stop: farther from the market
    10017: STANDSTILL,
    10018: WAIT,
    10019: POLICY,
    10020: PRICE,
    10021: WAIT,  # no quotes: longer than a requote
    10022: FIX,
    10023: DEALER,
    10024: WAIT,
    10025: (Came.UNKNOWN, Came.UNKNOWN, Came.DONE, Came.UNKNOWN),  # believed when it is to be seen
    10026: STANDSTILL,
    10027: STANDSTILL,
    10028: WAIT,
    10029: WAIT,
    10030: (Came.DONE, Came.DONE, Came.AT_ONCE, Came.DONE),  # the next filling, under the same number
    10031: AMBIG,
    10032: STANDSTILL,
    10033: POLICY,
    10034: POLICY,
    10035: FIX,
    10036: (Came.WAITED, Came.WAITED, Came.WAITED, Came.UNKNOWN),  # closed already, says the broker, and it is not
    10038: WAIT,
    10039: WAIT,
    10040: POLICY,
    10041: POLICY,
    10042: POLICY,
    10043: POLICY,
    10044: POLICY,
    10045: (Came.NOT_POSSIBLE, Came.AT_ONCE, Came.NOT_POSSIBLE, Came.AT_ONCE),  # closes are planned anew, oldest first
    10046: POLICY,
    -1: AMBIG,
    -2: FIX,
    -3: STANDSTILL,
    -4: AMBIG,
    -5: STANDSTILL,
    -6: STANDSTILL,
    -7: STANDSTILL,
    -8: STANDSTILL,
    -10000: AMBIG,
    -10001: AMBIG,
    -10002: AMBIG,
    -10003: WAIT,
    -10004: WAIT,
    -10005: AMBIG,
    Refusal.UNKNOWN_CALL: FIX,
    Refusal.BAD_REQUEST: FIX,
    Refusal.ACCOUNT: WAIT,
    Refusal.DISCONNECTED: WAIT,
    Refusal.FENCED: WAIT,
    Refusal.OTHER_INSTANCE: WAIT,
    Refusal.BUDGET: WAIT,
    Refusal.LATE: WAIT,
}


def test_the_table_has_a_row_for_every_code_and_no_other() -> None:
    assert set(EXPECTED) == set(EVERY_CODE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", EVERY_CODE, ids=str)
def test_what_comes_of_a_code(code: Code, kind: str) -> None:
    """The engine does with it what the table says, on a broker that answers with it."""
    expected = dict(zip(KINDS, EXPECTED[code], strict=True))
    assert all_seen(EVERY_CODE, kind)[code] is expected[kind]
