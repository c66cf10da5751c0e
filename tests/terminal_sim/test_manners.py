"""Brokers' manners: comments, magic numbers, omitted levels, hidden distances; each checked when it is set."""

from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Minute, price

from dtms.terminal.simulated.manners import CommentMode, Manners
from dtms.terminal.simulated.requests import comment_of

BUY, SELL = 0, 1
TAG = "DT-ABCDEFGHIJKLMNOPQRSTUVWXYZ23"  # 31 characters


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("accept", TAG),
        ("refuse", None),
        ("truncate_16", TAG[:16]),
        ("truncate_27", TAG[:27]),
        ("truncate_31", TAG),
        ("replace", "broker"),
        ("strip", ""),
    ],
)
def test_a_comment_is_kept_cut_replaced_dropped_or_refused(bench: MakeLab, mode: str, kept: str | None) -> None:
    lab = bench([FLAT] * 5, manners={"comment_mode": mode})
    assert comment_of(lab.terminal.simulation.world.manners, TAG) == kept
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY, "comment": TAG}
    result = lab.terminal.order_send(request)
    if kept is None:
        assert result is None
        assert lab.terminal.last_error() == (-2, 'Invalid "comment" argument')
        assert lab.terminal.simulation.ledger.requests == []
        assert lab.market(BUY).retcode == 10009  # nothing to refuse
        return
    assert result is not None
    assert result.request.comment == TAG
    position = lab.position(result.order)
    assert position is not None
    (deal,) = lab.terminal.history_deals_get(position=result.order) or ()
    (order,) = lab.terminal.history_orders_get(ticket=result.order) or ()
    assert (position.comment, deal.comment, order.comment) == (kept, kept, kept)
    closed = lab.market(SELL, position=result.order, comment=TAG)
    assert (lab.terminal.history_deals_get(ticket=closed.order) or ())[0].comment == kept


def test_a_broker_may_take_no_comment_on_closes(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"comment_on_close": False})
    ticket = lab.opened(BUY, comment=TAG)
    close = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": SELL, "position": ticket}
    assert lab.terminal.order_send(close | {"comment": "x"}) is None
    assert lab.terminal.last_error()[0] == -2
    result = lab.terminal.order_send(close)
    assert result is not None
    assert result.retcode == 10009


@pytest.mark.parametrize(("comment", "taken"), [("DT_1", False), ("DT 1", False), ("DT-1", True)])
def test_a_broker_may_refuse_some_characters(bench: MakeLab, comment: str, taken: bool) -> None:
    lab = bench([FLAT] * 5, manners={"comment_refused_chars": "_ "})
    result = lab.terminal.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "comment": comment})
    assert (result is not None) is taken


def test_what_a_person_writes_is_changed_alike(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"comment_mode": "strip"})
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY, "comment": "phone"}
    result = lab.terminal.simulation.send_as(request)
    position = lab.position(result.order)
    assert position is not None
    assert position.comment == ""


@pytest.mark.parametrize(("level_comments", "comment"), [(True, f"[sl {price(-50):.5f}]"), (False, "mine")])
def test_a_stop_says_so_in_the_comment_or_not(bench: MakeLab, level_comments: bool, comment: str) -> None:
    lab = bench([(0, 0, -100, -100), FLAT], manners={"level_comments": level_comments})
    ticket = lab.opened(BUY, sl=price(-50), comment="mine")
    lab.minute(1)
    assert (lab.terminal.history_deals_get(position=ticket) or ())[-1].comment == comment


@pytest.mark.parametrize(("whose", "magic"), [("request", 22), ("position", 11)])
def test_a_closing_deal_carries_the_requests_magic_or_the_positions(bench: MakeLab, whose: str, magic: int) -> None:
    lab = bench([FLAT] * 5, manners={"closing_deal_magic": whose})
    ticket = lab.opened(BUY, magic=11)
    result = lab.market(SELL, position=ticket, magic=22)
    assert [d.magic for d in lab.terminal.history_deals_get(position=ticket) or ()] == [11, magic]
    (order,) = lab.terminal.history_orders_get(ticket=result.order) or ()
    assert order.magic == 22


def test_a_broker_may_drop_magic_numbers(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"magic_kept": False})
    ticket = lab.opened(BUY, magic=11)
    position = lab.position(ticket)
    assert position is not None
    lab.market(SELL, position=ticket, magic=22)
    deals = lab.terminal.history_deals_get(position=ticket) or ()
    assert [position.magic, *(d.magic for d in deals)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("manner", "levels", "kept"),
    [
        ("removes", {"sl": -40}, (-40, None)),
        ("keeps", {"sl": -40}, (-40, 500)),
        ("keeps", {"tp": 400}, (-50, 400)),
        ("keeps", {"sl": -40, "tp": None}, (-40, None)),  # a zero that is written is a zero
    ],
)
def test_an_omitted_level_is_removed_or_kept(
    bench: MakeLab, manner: str, levels: dict[str, int | None], kept: tuple[int | None, int | None]
) -> None:
    lab = bench([FLAT] * 5, manners={"omitted_level": manner})
    ticket = lab.opened(BUY, sl=price(-50), tp=price(500))
    asked = {name: price(level) if level else 0.0 for name, level in levels.items()}
    assert lab.levels(ticket, **asked).retcode == 10009
    position = lab.position(ticket)
    assert position is not None
    assert (position.sl, position.tp) == tuple(price(level) if level else 0.0 for level in kept)


def test_a_change_that_omits_everything_changes_nothing_where_levels_are_kept(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"omitted_level": "keeps"})
    ticket = lab.opened(BUY, sl=price(-50))
    assert lab.levels(ticket).retcode == 10025


@pytest.mark.parametrize(
    ("manners", "near", "far"),
    [({"hidden_stops_points": 30}, -29, -30), ({"hidden_stops_spreads": 6}, -11, -12), ({}, 0, -1)],
)
def test_a_stops_level_of_zero_may_hide_a_distance(
    bench: MakeLab, manners: dict[str, Any], near: int, far: int
) -> None:
    """Nothing in symbol_info tells; the refusal is that of a declared level. The spread is 2 points."""
    lab = bench([FLAT] * 5, spec={"stops_level_points": 0}, manners=manners)
    info = lab.terminal.symbol_info(lab.symbol)
    assert info is not None
    assert info.trade_stops_level == 0
    assert lab.market(BUY, sl=price(near)).retcode == 10016
    ticket = lab.opened(BUY, sl=price(far))
    assert lab.levels(ticket, sl=price(near)).retcode == 10016
    assert lab.levels(ticket, sl=price(far - 1)).retcode == 10009


def test_a_hidden_distance_grows_with_the_spread(bench: MakeLab) -> None:
    minutes: list[Minute] = [FLAT] * 10
    lab = bench(minutes, spec={"stops_level_points": 0}, manners={"hidden_stops_spreads": 3})
    ticket = lab.opened(BUY)
    assert lab.levels(ticket, sl=price(-10)).retcode == 10009
    lab.terminal.simulation.world.set("symbol.EURUSD.spread_factor", 10)
    lab.minute(1)
    assert lab.levels(ticket, sl=price(-59)).retcode == 10016
    assert lab.levels(ticket, sl=price(-60)).retcode == 10009


def test_a_pending_order_near_the_market_is_frozen(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"freeze_level_points": 30})
    placed = lab.send(action=5, volume=0.1, type=2, price=price(-20), type_filling=2)
    assert lab.send(action=7, order=placed.order, price=price(-60)).retcode == 10029
    assert lab.send(action=8, order=placed.order).retcode == 10029
    far = lab.send(action=5, volume=0.1, type=2, price=price(-60), type_filling=2)
    assert lab.send(action=8, order=far.order).retcode == 10009


@pytest.mark.parametrize(("said", "retcode"), [("requote", 10004), ("price_changed", 10020)])
@pytest.mark.parametrize("exemode", [0, 1])
def test_a_price_that_moved_is_refused_in_the_brokers_words(
    bench: MakeLab, exemode: int, said: str, retcode: int
) -> None:
    lab = bench([FLAT] * 5, spec={"exemode": exemode}, manners={"moved_price": said})
    assert lab.market(BUY, price=price(-4), deviation=5).retcode == retcode
    assert lab.market(BUY, price=price(-3), deviation=5).retcode == 10009


def test_programs_may_ask_so_often_a_minute_and_people_as_often_as_they_like(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"requests_per_minute": 2})
    assert [lab.market(BUY).retcode for _ in range(3)] == [10009, 10009, 10024]
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY}
    assert lab.terminal.simulation.send_as(request).retcode == 10009
    lab.minute(0.6)
    assert lab.market(BUY).retcode == 10009


def test_programs_may_be_let_in_on_real_accounts_alone(bench: MakeLab) -> None:
    assert bench([FLAT] * 5, manners={"only_real": True}).market(BUY).retcode == 10032
    assert bench([FLAT] * 5, manners={"only_real": True}, account={"trade_mode": 2}).market(BUY).retcode == 10009


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("comment_mode", "shout", ValueError),
        ("comment_mode", 3, TypeError),
        ("step_fills", 0, ValueError),
        ("step_fills", True, TypeError),
        ("fill_lots_max", -0.1, ValueError),
        ("fill_lots_max", float("nan"), ValueError),
        ("fill_lots_max", float("inf"), ValueError),
        ("only_real", 1, TypeError),
        ("colour", "red", AttributeError),
    ],
)
def test_a_manner_that_cannot_be_is_refused_when_it_is_set(name: str, value: object, error: type[Exception]) -> None:
    manners = Manners()
    with pytest.raises(error, match=name):
        setattr(manners, name, value)
    assert manners == Manners()


def test_texts_and_whole_numbers_stand_for_choices_and_numbers() -> None:
    manners = Manners(comment_mode="strip", fill_lots_max=2)  # type: ignore[arg-type]
    assert manners.comment_mode is CommentMode.STRIP
    assert type(manners.fill_lots_max) is float
