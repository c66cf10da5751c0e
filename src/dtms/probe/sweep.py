"""Cleaning up: everything that is the probe's own is closed, and looked for until it is certainly gone."""

from dtms.domain.market import Filling
from dtms.probe import requests
from dtms.probe.hand import LATE_S, Hand
from dtms.probe.line import Row
from dtms.probe.requests import Code

CLEAN_S_MAX = 300.0
"""Market seconds; what is frozen or refused comes free with the market."""
PAUSE_S = 2.0
GIVEN_UP_AFTER = 40


async def sweep(hand: Hand, *, within_s: float = CLEAN_S_MAX, finally_: bool = False) -> tuple[Row, ...]:
    """Close the probe's own positions and remove its orders; gives what could not be closed.

    ``finally_`` looks a second time after what is late has come.

    Raises:
        Stopped: when the terminal does not answer any more.
    """
    until_ms, rounds = hand.clock.market_ms() + within_s * 1000, 0
    while left := await _own(hand):
        if hand.clock.market_ms() > until_ms or rounds > GIVEN_UP_AFTER:
            return tuple(left)
        await _close_each(hand, left)
        rounds += 1
    await _remove_orders(hand)
    if not finally_:
        return ()
    await hand.settle()
    if hand.unclear or hand.is_open_ended:
        await hand.clock.sleep_market(LATE_S)
    hand.unclear, hand.is_open_ended = 0, False
    return await sweep(hand, within_s=within_s) if await _own(hand) else ()


async def _own(hand: Hand) -> list[Row]:
    """List the probe's own positions, the oldest first, as an account that closes first in, first out asks for."""
    rows = [row for row in await hand.line.positions() if hand.note.is_own(row)]
    return sorted(rows, key=lambda row: (row["time_msc"], row["ticket"]))


async def _close_each(hand: Hand, rows: list[Row]) -> None:
    for row in rows:
        reply = await hand.close(row, magic=hand.magic())
        for filling in Filling:
            if reply.code != Code.INVALID_FILL:
                break
            reply = await hand.close(row, magic=hand.magic(), type_filling=requests.FILLINGS[filling])
        if not reply.is_accepted and reply.code != Code.POSITION_CLOSED:
            await hand.clock.sleep_market(PAUSE_S)
    await hand.settle()


async def _remove_orders(hand: Hand) -> None:
    for order in await hand.line.orders():
        if requests.is_marked(order) or order["ticket"] in hand.note.orders:
            await hand.line.send({"action": requests.REMOVE, "order": order["ticket"], "symbol": hand.symbol})
