"""A trade and what dtms opened for it: moved together, closed together, and never left behind."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.adapters_mt5.faulty import Answering
from tests.execute.restarting import Lives
from tests.execute.unsteady import Lost, Request, Scene, Send, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, SHORT

from dtms.domain.facts import FactKind
from dtms.domain.trade import State

RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
REJECT = 10006


def by_hand(scene: Scene) -> Lives:
    return Lives(RECOVERED, "", scene.on, scene.terminal, scene.ticket)


async def until_state(scene: Scene, state: State) -> Any:
    for _ in range(2_000):
        live = scene.on.engine.live(scene.ticket)
        if live is not None and live.trade.machine.state is state:
            return live.trade
        await scene.on.play(0.5)
    raise AssertionError(f"never {state}")


async def until_readded(scene: Scene) -> Any:
    for _ in range(2_000):
        live = scene.on.engine.live(scene.ticket)
        if live is not None and live.trade.readds:
            return live.trade
        await scene.on.play(0.5)
    raise AssertionError("never re-added")


async def make_timid(scene: Scene) -> None:
    """Set the thresholds so that the next score below zero drives the trade into WARNING_L2, and no further."""
    settings = scene.on.engine.settings
    timid = replace(settings.protection, warn_l1=-0.01, warn_l2=-0.02, warn_l2_exit=-0.01, hedge="off")
    timid = replace(timid, tighten_r=0.02, tighten_atr=0.3)
    await scene.on.engine.apply_settings(replace(settings, protection=timid), {}, None)


def test_the_hedge_is_closed_when_its_trade_is_closed_outside() -> None:
    """The own position closed by hand while the hedge is open: within two fast checks nothing is left."""

    async def close(scene: Scene) -> None:
        await until_state(scene, State.HEDGED)
        by_hand(scene).close_by_hand(scene.ticket)
        await scene.on.play(2)

    played, _ = play(RECOVERED, during=close, hours=0)
    assert played.trade.machine.state is State.CLOSED
    assert str(played.trade.close_reason).startswith("closed at the broker by")
    books = played.books
    last = books.closing(books.ticket)[-1].ms
    assert books.hedged_lots(last + 120_000) == 0
    cents = sum(d.profit_cents + d.swap_cents + d.commission_cents for d in books.deals)
    assert round(played.trade.realised * 100) == cents


def test_the_hedge_that_refuses_to_close_is_tried_until_it_does() -> None:
    """With the own position gone and the hedge's close refused, the trade stays active until the hedge is closed."""
    refused: list[Request] = []
    active: list[bool] = []

    def refuse(request: Request, send: Send) -> Any:
        if letter_of(request) == "X" and len(refused) < 12:
            refused.append(request)
            return Answering(REJECT)
        return send(request)

    async def close(scene: Scene) -> None:
        await until_state(scene, State.HEDGED)
        by_hand(scene).close_by_hand(scene.ticket)
        await scene.on.play(1)
        active.append((await scene.trade()).is_active)
        await scene.on.play(10)

    played, _ = play(RECOVERED, refuse, during=close, hours=0)
    assert active == [True]
    assert len(refused) == 12
    assert played.trade.machine.state is State.CLOSED
    assert all(played.books.open_lots(p, 2**62) == 0 for p in played.books.family())


def test_a_late_hedge_beside_a_closed_trade_is_closed() -> None:
    """The hedge's answer was lost and its trade closed by hand before it showed: it is found, and closed."""
    hidden: list[Request] = []
    late: list[Any] = []

    def hold_back(request: Request, send: Send) -> Any:
        if letter_of(request) == "H" and not hidden:
            hidden.append(request)
            late.append(send)
            return Lost()
        return send(request)

    async def close(scene: Scene) -> None:
        while not hidden:
            await scene.on.play(0.25)
        by_hand(scene).close_by_hand(scene.ticket)
        await scene.on.play(1)
        tick = scene.terminal.symbol_info_tick(RECOVERED.symbol)
        late[0]({**hidden[0], "price": tick.bid})  # the broker gets to it a minute late
        await scene.on.play(2)

    played, scene = play(RECOVERED, hold_back, during=close, hours=0)
    assert len(played.books.hedges()) == 1
    assert scene.terminal.positions_get() == ()
    assert played.trade.machine.state is State.CLOSED


def test_a_re_add_that_comes_too_late_is_closed() -> None:
    """Found not executed, decided anew and done; the first is filled minutes later all the same: it is closed again."""
    hidden: list[Request] = []
    late: list[Any] = []

    def hold_back(request: Request, send: Send) -> Any:
        if letter_of(request) == "R" and not hidden:
            hidden.append(request)
            late.append(send)
            return Lost()
        return send(request)

    async def wait(scene: Scene) -> None:
        while not hidden:
            await scene.on.play(0.25)
        await scene.on.play(4)
        assert (await scene.trade()).machine.state is State.HEALTHY
        tick = scene.terminal.symbol_info_tick(RECOVERED.symbol)
        late[0]({**hidden[0], "price": tick.ask})
        await scene.on.play(2)

    played, scene = play(RECOVERED, hold_back, during=wait, hours=0)
    wanted, late_one = played.books.readds()
    assert [p.ticket for p in scene.terminal.positions_get()] == [scene.ticket, wanted.position_id]
    assert [m.ticket for m in played.trade.members] == [wanted.position_id]
    assert played.books.closing(late_one.position_id)
    assert not played.trade.reduce_only
    assert played.trade.needs_attention is None


def test_stops_move_on_the_re_added_position_too() -> None:
    """After a re-add the next tightening sets the same stop on both positions."""

    async def drive(scene: Scene) -> None:
        await until_readded(scene)
        await make_timid(scene)

    played, _ = play(RECOVERED, during=drive, hours=8)
    books = played.books
    (readd,) = books.readds()
    own = [c for c in books.stops_set(books.ticket, 2**62) if c.ms > readd.ms]
    both = [c for c in books.stops_set(readd.position_id, 2**62) if c.ms > readd.ms]
    assert both
    assert own[0].ms == both[0].ms
    assert own[0].sl_points == both[0].sl_points > books.stops_set(books.ticket, readd.ms)[-1].sl_points
    check_invariants(books, RECOVERED.spec)


def test_a_part_over_two_positions_is_finished_and_not_begun_anew() -> None:
    """When the second close of a part fails, only what is missing of it is closed later."""
    closes: list[Request] = []

    def refuse_second(request: Request, send: Send) -> Any:
        if letter_of(request) == "P" and armed:
            closes.append(request)
            if len(closes) in (2, 3, 4):
                return Answering(REJECT)
        return send(request)

    armed: list[bool] = []

    async def wait(scene: Scene) -> None:
        trade = await until_readded(scene)
        await make_timid(scene)
        armed.append(True)
        before.append(trade.open_volume)

    before: list[Decimal] = []
    played, _ = play(RECOVERED, refuse_second, during=wait, hours=8)
    volumes = [Decimal(str(r["volume"])) for r in closes]
    closed = volumes[0] + volumes[4]  # three in between were refused; later ones belong to later visits
    assert volumes[1:5] == [volumes[1]] * 4
    assert closed == (before[0] / 2).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    check_invariants(played.books, RECOVERED.spec)


def test_what_is_closed_outside_is_not_re_added() -> None:
    """A part closed by hand is the trader's will: the volume follows, and dtms re-adds only what it closed itself."""

    async def close(scene: Scene) -> None:
        await scene.on.play(3)
        by_hand(scene).close_by_hand(scene.ticket, 0.2)

    played, _ = play(RECOVERED, during=close)
    changed = [f for f in played.facts if f.kind is FactKind.CHANGED_OUTSIDE]
    assert changed[0].details["volume"] == {"was": 0.4, "is": 0.2}
    assert all(books_units(d) <= Decimal("0.05") for d in played.books.readds())
    check_invariants(played.books, RECOVERED.spec)


def books_units(deal: Any) -> Decimal:
    return Decimal(deal.units) / 100_000_000
