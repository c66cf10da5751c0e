"""What the deals of a position tell: when it was in the market, on which side, and whether it still is."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import NOW, TICKET, trade

from dtms.decide.lives import life_of, lives, open_volume
from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason

SIDE = Side.LONG
IN, OUT, INOUT = DealEntry.IN, DealEntry.OUT, DealEntry.INOUT
HOUR = 3_600_000


def deal(entry: DealEntry, volume: str, at_min: float = 0, side: Side = SIDE, **changes: object) -> Deal:
    """Make a deal of the position, ``at_min`` minutes after it was opened; ``side`` is the deal's own."""
    base = Deal(
        ticket=int(at_min * 10) + 1,
        order=1,
        position_id=TICKET,
        symbol="EURUSD",
        side=side,
        entry=entry,
        reason=DealReason.CLIENT,
        volume=Decimal(volume),
        price=1.1,
        commission=0.0,
        swap=0.0,
        profit=0.0,
        fee=0.0,
        magic=0,
        comment="",
        time_ms=NOW - HOUR + int(at_min * 60_000),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def out(volume: str, at_min: float, **changes: object) -> Deal:
    return deal(OUT, volume, at_min, SIDE.opposite, **changes)


def test_a_position_lives_until_all_that_came_in_went_out() -> None:
    opened, part, rest = deal(IN, "0.4"), out("0.1", 1), out("0.3", 2)
    assert open_volume([opened]) == Decimal("0.4")
    assert open_volume([part, opened]) == Decimal("0.3")  # in whatever order they arrive
    (life,) = lives([rest, opened, part])
    assert life.is_over
    assert life.open == 0
    assert (life.entered, life.left) == (Decimal("0.4"), Decimal("0.4"))


def test_what_was_added_to_a_netted_position_is_part_of_its_life() -> None:
    (life,) = lives([deal(IN, "0.4"), deal(IN, "0.2", 1), out("0.4", 2)])
    assert not life.is_over
    assert life.open == Decimal("0.2")


def test_a_reversal_ends_one_life_and_begins_another_on_the_other_side() -> None:
    """0.4 bought, 1.0 sold in one deal: 0.6 short are left, and are their own life."""
    before, after = lives([deal(IN, "0.4"), deal(INOUT, "1.0", 5, SIDE.opposite)])
    assert (before.side, before.is_over, before.is_reversed) == (SIDE, True, True)
    assert (after.side, after.open, after.began_ms) == (SIDE.opposite, Decimal("0.6"), NOW - HOUR + 300_000)


def test_a_trade_stands_for_the_life_in_which_it_was_registered() -> None:
    """Bought, reversed, and reversed again: the first trade ended with the first reversal, the third lives."""
    deals = [deal(IN, "0.4"), deal(INOUT, "0.8", 5, SIDE.opposite), deal(INOUT, "0.8", 9, SIDE)]
    first = life_of(trade(SIDE, registered_ms=NOW - HOUR + 60_000), deals)
    third = life_of(trade(SIDE, registered_ms=NOW - HOUR + 600_000), deals)
    second = life_of(trade(SIDE.opposite, registered_ms=NOW - HOUR + 360_000), deals)
    assert first is not None
    assert first.has_ended(Decimal("0.4"))
    assert second is not None
    assert second.is_reversed
    assert third is not None
    assert not third.has_ended(Decimal("0.4"))


def test_what_refills_after_a_close_goes_on_with_the_trade() -> None:
    """Filled in part, closed, then the rest is filled: a list that leaves it out does not end the trade."""
    deals = [deal(IN, "0.3"), out("0.3", 1), deal(IN, "0.1", 2)]
    life = life_of(trade(SIDE), deals)
    assert life is not None
    assert not life.has_ended(Decimal("0.4"))
    assert open_volume(deals) == Decimal("0.1")
    ended = life_of(trade(SIDE), [*deals, out("0.1", 3)])
    assert ended is not None
    assert ended.has_ended(Decimal("0.4"))


def test_a_swap_by_reopening_ends_nothing() -> None:
    """Its closing deal is seen, and the one that opens it again not yet: the position goes on."""
    rolled = out("0.4", 1, reason=DealReason.ROLLOVER)
    back = deal(IN, "0.4", 1.1, reason=DealReason.ROLLOVER)
    for deals in ([deal(IN, "0.4"), rolled], [deal(IN, "0.4"), rolled, back]):
        (life,) = lives(deals)
        assert life.open == Decimal("0.4")
        assert not life.has_ended(Decimal("0.4"))
    assert len(lives([deal(IN, "0.4"), rolled, back])[0].deals) == 3  # its money counts


def test_a_history_without_its_beginning_is_no_proof_of_an_end() -> None:
    """Half of the close is all that the history has: it covers less than the trade's volume."""
    life = life_of(trade(SIDE), [out("0.2", 5)])
    assert life is not None
    assert not life.has_ended(Decimal("0.4"))
    assert life.has_ended(Decimal("0.2"))


volumes = st.integers(1, 9).map(lambda n: Decimal(n) / 10)


@given(st.lists(st.tuples(st.sampled_from([IN, OUT, INOUT]), volumes, st.sampled_from(list(Side))), max_size=8))
def test_whatever_the_history_says_lots_are_never_negative(rows: list[tuple[DealEntry, Decimal, Side]]) -> None:
    deals = [deal(entry, str(volume), n, side) for n, (entry, volume, side) in enumerate(rows)]
    told = lives(deals)
    assert all(life.open >= 0 and life.entered >= 0 and life.left >= 0 for life in told)
    assert all(life.is_over for life in told[:-1])
    assert lives(list(reversed(deals))) == told
