"""The simulated terminal's own books, told as a neutral ledger: full knowledge, that no broker port gives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.adapters.mt5_requests import Numbering, read_comment
from dtms.audit.ledger import DONE, Author, Ledger, LevelChange, Request
from dtms.domain.account import MarginMode
from dtms.domain.market import Instrument, Side, TradeMode
from dtms.domain.position import Deal, DealEntry, DealReason, Position
from dtms.replay import MAGIC_PREFIX
from dtms.terminal.simulated import records
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import LOT_UNITS
from dtms.terminal.simulated.ledger import Ledger as SimulatedLedger
from dtms.terminal.simulated.spec import AccountSpec, SymbolSpec

SIDES = {0: Side.LONG, 1: Side.SHORT}
ENTRIES = {0: DealEntry.IN, 1: DealEntry.OUT, 2: DealEntry.INOUT, 3: DealEntry.OUT_BY}
REASONS = {
    0: DealReason.CLIENT,
    1: DealReason.MOBILE,
    2: DealReason.WEB,
    3: DealReason.EXPERT,
    4: DealReason.STOP,
    5: DealReason.TARGET,
    6: DealReason.STOP_OUT,
}
MARGIN_MODES = {0: MarginMode.NETTING, 1: MarginMode.EXCHANGE, 2: MarginMode.HEDGING}
PEOPLE = (records.Reason.CLIENT, records.Reason.MOBILE, records.Reason.WEB)
_NUMBERING = Numbering(MAGIC_PREFIX)


def number_of(magic: int, comment: str) -> int | None:
    """Read an intent's number from a magic number, or from the comment where the broker dropped the magic."""
    read = read_comment(comment)
    return _NUMBERING.intent_of(magic) or (_NUMBERING.intent_of(read[1]) if read else None)


def told(ledger: SimulatedLedger, specs: Sequence[SymbolSpec], account: AccountSpec, until_ms: int) -> Ledger:
    """Tell a terminal's books, of these symbols alone."""
    by_name = {spec.name: spec for spec in specs}
    made_by = {note.order: note for note in ledger.requests if note.order and note.retcode in DONE}
    return Ledger(
        account=(account.login, account.server),
        margin_mode=MARGIN_MODES[account.margin_mode],
        fifo_close=account.fifo_close,
        positions={p.ticket: _position(p, by_name[p.symbol]) for p in ledger.positions.values() if p.symbol in by_name},
        deals=[_deal(_marked(d, made_by), by_name[d.symbol]) for d in ledger.deals if d.symbol in by_name],
        since_ms=0,
        until_ms=until_ms,
        instruments={spec.name: instrument_of(spec) for spec in specs},
        number_of=number_of,
        requests=[_request(n, by_name) for n in ledger.requests if n.request.get("symbol") in by_name],
        levels=_levels(ledger, by_name),
    )


def _marked(deal: records.Deal, made_by: Mapping[int, records.RequestNote]) -> records.Deal:
    """Give a deal the number of the request that made it back, where the broker's manner is to drop it."""
    note = made_by.get(deal.order)
    if note is None or number_of(deal.magic, deal.comment) is not None:
        return deal
    return replace(deal, magic=int(note.request.get("magic") or 0))


def _price(points: int, spec: SymbolSpec) -> float:
    return points / spec.scale


def _level(points: int, spec: SymbolSpec) -> float | None:
    return _price(points, spec) if points else None


def _lots(units: int) -> Decimal:
    return Decimal(units) / LOT_UNITS


def _position(position: records.Position, spec: SymbolSpec) -> Position:
    return Position(
        ticket=position.ticket,
        identifier=position.identifier,
        symbol=position.symbol,
        side=SIDES[position.type],
        volume=_lots(position.units),
        entry=_price(position.open_points, spec),
        stop=_level(position.sl_points, spec),
        target=_level(position.tp_points, spec),
        price_now=0.0,
        profit=0.0,
        swap=position.swap_cents / 100,
        magic=position.magic,
        comment=position.comment,
        opened_ms=position.opened_ms,
    )


def _deal(deal: records.Deal, spec: SymbolSpec) -> Deal:
    return Deal(
        ticket=deal.ticket,
        order=deal.order,
        position_id=deal.position_id,
        symbol=deal.symbol,
        side=SIDES[deal.type],
        entry=ENTRIES[deal.entry],
        reason=REASONS.get(deal.reason, DealReason.OTHER),
        volume=_lots(deal.units),
        price=_price(deal.price_points, spec),
        commission=deal.commission_cents / 100,
        swap=deal.swap_cents / 100,
        profit=deal.profit_cents / 100,
        fee=0.0,
        magic=deal.magic,
        comment=deal.comment,
        time_ms=deal.ms,
    )


def _author(reason: int, number: int | None) -> Author:
    if reason == records.Reason.EXPERT:
        return Author.PROGRAM if number is None else Author.DTMS
    return Author.PERSON if reason in PEOPLE else Author.BROKER


def _number_of_note(note: records.RequestNote) -> int | None:
    return number_of(int(note.request.get("magic") or 0), str(note.request.get("comment") or ""))


def _request(note: records.RequestNote, specs: dict[str, SymbolSpec]) -> Request:
    spec, number = specs[note.request["symbol"]], _number_of_note(note)
    return Request(
        at_ms=note.ms,
        symbol=spec.name,
        author=_author(note.reason, number),
        number=number,
        retcode=note.retcode,
        position=note.request.get("position") or None,
        bid=_price(note.bid_points, spec),
        ask=_price(note.ask_points, spec),
    )


def _levels(ledger: SimulatedLedger, specs: dict[str, SymbolSpec]) -> list[LevelChange]:
    """Tell who set levels, by the request that did it; those that an opening brought carry its number."""
    symbols = {d.position_id: d.symbol for d in ledger.deals if d.symbol}
    symbols |= {p.ticket: p.symbol for p in ledger.positions.values()}
    made = {(d.ms, d.position_id): number_of(d.magic, d.comment) for d in ledger.deals if d.entry == MT5.DEAL_ENTRY_IN}
    made |= {(n.ms, n.request["position"]): _number_of_note(n) for n in ledger.requests if _sets_levels(n)}
    found: list[LevelChange] = []
    for change in (c for c in ledger.levels if symbols[c.position] in specs):
        number = made.get((change.ms, change.position))
        spec = specs[symbols[change.position]]
        found.append(
            LevelChange(
                at_ms=change.ms,
                position=change.position,
                stop=_level(change.sl_points, spec),
                target=_level(change.tp_points, spec),
                bid=_price(change.bid_points, spec),
                ask=_price(change.ask_points, spec),
                author=_author(change.reason, number),
                number=number,
            )
        )
    return found


def _sets_levels(note: records.RequestNote) -> bool:
    return note.request.get("action") == MT5.TRADE_ACTION_SLTP and note.retcode in DONE


def instrument_of(spec: SymbolSpec) -> Instrument:
    """Tell a symbol's conditions."""
    return Instrument(
        symbol=spec.name,
        digits=spec.digits,
        point=1 / spec.scale,
        tick_size=float(Decimal(spec.tick_size_points) / spec.scale),
        tick_value=1.0,
        contract_size=spec.contract_size,
        volume_min=Decimal(str(spec.volume_min_lots)),
        volume_max=Decimal(str(spec.volume_max_lots)),
        volume_step=Decimal(str(spec.volume_step_lots)),
        stops_level_points=spec.stops_level_points,
        freeze_level_points=spec.freeze_level_points,
        trade_mode=TradeMode.FULL,
        fillings=(),
        currency_base=spec.currency_base,
        currency_profit=spec.currency_profit,
    )
