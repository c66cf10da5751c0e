"""Experiments with deals: fillings, doubles, parts, and what an opposite deal really does."""

from dtms.domain.facts import Json
from dtms.domain.market import Filling, Side
from dtms.probe import requests
from dtms.probe.hand import Hand
from dtms.probe.line import Inconclusive, Row, Stopped
from dtms.probe.requests import Code, Reply
from dtms.probe.sweep import sweep
from dtms.probe.words import Found


async def fillings(hand: Hand) -> Found:
    """Find out which fillings an opening and a close are really given; the first that is serves from then on."""
    spec = await hand.line.spec()
    opened, closed, told = await _tried(hand)
    if not opened:
        raise Stopped(f"no filling is accepted: {'; '.join(told)}")
    hand.filling = opened[0]
    declared = [filling for filling, bit in requests.FILLING_BITS.items() if spec["filling_mode"] & bit]
    if spec["trade_exemode"] != requests.MARKET_EXECUTION:
        declared.append(Filling.RETURN)
    said = f"mask {spec['filling_mode']}, execution {spec['trade_exemode']}"
    accepted = [str(filling) for filling in opened if filling in closed]
    return {
        "filling.accepted": ([*accepted], "; ".join(told)),
        "filling.as_declared": (set(opened) == set(declared), f"{said}; {'; '.join(told)}"),
    }


async def _tried(hand: Hand) -> tuple[list[Filling], list[Filling], list[str]]:
    """Open and close once with each filling."""
    opened: list[Filling] = []
    closed: list[Filling] = []
    told: list[str] = []
    for filling in Filling:
        hand.filling = filling
        made = await hand.open()
        if isinstance(made, Reply):
            told.append(f"{filling}: {made.told}")
            continue
        opened.append(filling)
        out = await hand.closed(made.position)
        told.append(f"{filling}: opened, {f'not closed, {out.told}' if isinstance(out, Reply) else 'closed'}")
        if isinstance(out, Reply):
            await sweep(hand)
        else:
            closed.append(filling)
    return opened, closed, told


async def parts(hand: Hand) -> Found:
    """Find out into how many positions an order is filled, and what one is after a part of it was closed."""
    double = float(2 * hand.instrument.volume_min)
    made = await hand.opened(volume=double)
    row, count = made.position, len(made.positions)
    found: dict[str, tuple[Json, str]] = {
        "order.positions": (count, f"an order of {double:g} lots made {count} positions")
    }
    if count > 1:
        return found
    closed = await hand.must_close(row, volume=hand.volume)
    left = await hand.when(row["identifier"], lambda now: now["volume"] < double - 1e-9)
    if left is None:
        raise Inconclusive("the rest of a position that was closed in part is not listed")
    same: list[Json] = [name for name in ("ticket", "identifier", "time_msc", "price_open") if left[name] == row[name]]
    deal = closed.deals[0]
    told = f"{double} lots, {hand.volume} closed: {left['volume']} left, ticket {row['ticket']} is {left['ticket']}"
    await hand.must_close(left)
    return found | {
        "partial.keeps_ticket": (left["ticket"] == row["ticket"], told),
        "partial.keeps": (same, told),
        "partial.deal_volume": (deal["volume"], f"deal {deal['ticket']} of position {deal['position_id']}"),
        "partial.deal_names_position": (deal["position_id"] == row["identifier"], told),
    }


async def duplicates(hand: Hand) -> Found:
    """Find out whether the same request, sent twice, is carried out twice."""
    magic = hand.magic()
    first = await hand.opened(magic=magic)
    before = await _volume(hand)
    second = await hand.deal(Side.LONG, magic=magic)
    await hand.settle(second)
    after = await _volume(hand)
    told = f"first {first.reply.told}, second {second.told}: {before:g} lots before it, {after:g} after"
    return {"duplicate.executed_twice": (after > before + 1e-9, told)}


async def _volume(hand: Hand) -> float:
    return float(sum(row["volume"] for row in await hand.line.positions()))


async def sides(hand: Hand) -> Found:
    """Find out whether an opposite deal that names no position opens a position, closes one, or is refused."""
    made = await hand.opened(Side.LONG)
    row = made.position
    reply = await hand.deal(Side.SHORT)
    await hand.settle(reply)
    rows = await hand.line.positions()
    what = _what_it_did(reply, rows)
    shown = ", ".join(f"{one['ticket']} type {one['type']} {one['volume']:g} lots" for one in rows) or "no position"
    told = f"a sale beside {row['ticket']} without naming it: {reply.told}; then {shown}"
    _, account = await hand.line.terminal()
    named = account["margin_mode"] in requests.NETTING_MODES
    found: dict[str, tuple[Json, str]] = {
        "opposite.without_position": (what, told),
        "account.netting": (what == "closes", f"margin mode {account['margin_mode']}; {told}"),
        "account.as_declared": (named == (what == "closes"), f"margin mode {account['margin_mode']}; {told}"),
        "account.hedging_prohibited": (reply.code == Code.HEDGE_PROHIBITED, told),
    }
    await sweep(hand)
    if what == "closes":
        return {**found, **await _reversal(hand)}
    return {**found, **await _order_of_closing(hand, account)}


def _what_it_did(reply: Reply, rows: list[Row]) -> str:
    if not reply.is_accepted:
        return "refused"
    if not rows:
        return "closes"
    return "opens" if {row["type"] for row in rows} == {0, 1} else "nothing"


async def _reversal(hand: Hand) -> Found:
    """On a netting account: turn a position over, and look at its ticket."""
    row = (await hand.opened(Side.LONG)).position
    reply = await hand.deal(Side.SHORT, volume=float(2 * hand.instrument.volume_min))
    await hand.settle(reply)
    rows = await hand.line.positions()
    if not reply.is_accepted or len(rows) != 1:
        return {}
    turned = rows[0]
    told = f"ticket {row['ticket']} is {turned['ticket']}, identifier {row['identifier']} is {turned['identifier']}"
    return {"reversal.changes_ticket": (turned["ticket"] != row["ticket"], told)}


async def _order_of_closing(hand: Hand, account: Row) -> Found:
    """On an account of single positions: close the younger of two first."""
    older, younger = (await hand.opened(Side.LONG)).position, (await hand.opened(Side.LONG)).position
    reply = await hand.closed(younger)
    is_fifo = isinstance(reply, Reply) and reply.code == Code.FIFO_CLOSE
    answer = reply if isinstance(reply, Reply) else reply.reply
    told = f"position {younger['ticket']} closed before {older['ticket']}: {answer.told}"
    return {
        "account.fifo": (is_fifo, told),
        "account.fifo_as_declared": (is_fifo == bool(account["fifo_close"]), f"declared {account['fifo_close']}"),
    }
