"""What is true of a ticket: whose it is, and which mode holds for it."""

from dataclasses import replace

import pytest
from tests.decide.test_watching import OWNED, TRADE

from dtms.domain.account import MarginMode
from dtms.domain.owners import Ownership, Standing, lease_key, opening_key
from dtms.domain.trade import Machine, Mode, Owner, State, Trade

CLOSED = replace(TRADE, machine=Machine(state=State.CLOSED))
DISABLED = replace(TRADE, disabled=True)
DTMS_ROW = replace(OWNED, owner=Owner.DTMS.value)


@pytest.mark.parametrize(
    ("ownership", "trade", "owner"),
    [
        (None, None, Owner.NOBODY),
        (None, TRADE, Owner.DTMS),
        (None, CLOSED, Owner.NOBODY),
        (None, DISABLED, Owner.NOBODY),
        (OWNED, None, Owner.UNIVERSAL),
        (OWNED, TRADE, Owner.UNIVERSAL),
        (DTMS_ROW, TRADE, Owner.DTMS),
        (DTMS_ROW, CLOSED, Owner.NOBODY),
        (DTMS_ROW, None, Owner.NOBODY),
        (replace(OWNED, closed_ms=9), TRADE, Owner.DTMS),
        (replace(OWNED, closed_ms=9), None, Owner.NOBODY),
        (replace(OWNED, owner="of a later version"), TRADE, None),
        (replace(OWNED, owner=""), TRADE, Owner.NOBODY),
    ],
)
def test_whose_a_ticket_is(ownership: Ownership | None, trade: Trade | None, owner: Owner | None) -> None:
    assert Standing(ticket=7, ownership=ownership, trade=trade).owner is owner


@pytest.mark.parametrize(
    ("trade", "ownership", "is_under_dtms"),
    [
        (TRADE, None, True),
        (TRADE, DTMS_ROW, True),
        (TRADE, OWNED, False),
        (replace(TRADE, alongside=True), OWNED, True),
        (DISABLED, None, False),
        (None, None, False),
    ],
)
def test_dtms_acts_on_what_it_watches_as_owner_or_beside_one(
    trade: Trade | None, ownership: Ownership | None, is_under_dtms: bool
) -> None:
    assert Standing(ticket=7, ownership=ownership, trade=trade).is_under_dtms is is_under_dtms


@pytest.mark.parametrize(
    ("of_trade", "of_row", "of_account", "mode"),
    [
        (None, None, None, Mode.OBSERVE),
        (None, None, Mode.AUTO, Mode.AUTO),
        (None, Mode.OBSERVE, Mode.AUTO, Mode.OBSERVE),
        (Mode.AUTO, Mode.OBSERVE, None, Mode.AUTO),
    ],
)
def test_a_tickets_own_mode_comes_before_the_accounts_and_that_before_the_configured_one(
    of_trade: Mode | None, of_row: Mode | None, of_account: Mode | None, mode: Mode
) -> None:
    standing = Standing(
        ticket=7,
        trade=replace(TRADE, mode=of_trade),
        ownership=replace(OWNED, mode=of_row),
        account_mode=of_account,
    )
    assert standing.mode(Mode.OBSERVE) is mode


def test_a_trade_that_has_ended_keeps_its_mode_for_what_is_left_of_it() -> None:
    assert Standing(ticket=7, trade=replace(CLOSED, mode=Mode.OBSERVE)).mode(Mode.AUTO) is Mode.OBSERVE


def test_the_key_of_a_lease() -> None:
    assert lease_key(7, "EURUSD", MarginMode.HEDGING) == "7"
    assert lease_key(7, "EURUSD", MarginMode.NETTING) == lease_key(8, "EURUSD", MarginMode.NETTING) == "symbol:EURUSD"
    assert opening_key(5) == "intent:5"
