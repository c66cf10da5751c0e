"""Matching a trade with the broker: what it has wins, absence needs evidence, and a second look changes nothing."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import HEDGE, NOW, READD, TICKET, member, position, trade

from dtms.decide.recovery import closed_by_stop, is_fully_told, match, missing, with_figures
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason
from dtms.domain.trade import Role

SIDE = Side.LONG
OWN = position(TICKET, SIDE, "0.4")


def deal(entry: DealEntry, volume: str, **changes: object) -> Deal:
    base = Deal(
        ticket=1,
        order=1,
        position_id=TICKET,
        symbol="EURUSD",
        side=SIDE,
        entry=entry,
        reason=DealReason.CLIENT,
        volume=Decimal(volume),
        price=1.1,
        commission=-1.0,
        swap=0.0,
        profit=0.0,
        fee=0.0,
        magic=0,
        comment="",
        time_ms=NOW,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


OPENED = deal(DealEntry.IN, "0.4", time_ms=NOW - 3_600_000)
STOPPED = deal(DealEntry.OUT, "0.4", ticket=2, reason=DealReason.STOP, price=1.097, profit=-120.0)


def test_an_unchanged_position_changes_nothing() -> None:
    matched = match(trade(SIDE), {TICKET: OWN}, {})
    assert matched.trade == trade(SIDE)
    assert matched.notes == ()
    assert missing(trade(SIDE), {TICKET: OWN}) == []


def test_the_brokers_volume_stop_and_target_win() -> None:
    """Each difference is told with what it was and what it is."""
    changed = replace(OWN, volume=Decimal("0.3"), stop=1.0985, target=1.2)
    matched = match(trade(SIDE), {TICKET: changed}, {})
    assert (matched.trade.volume, matched.trade.stop, matched.trade.target) == (Decimal("0.3"), 1.0985, 1.2)
    (note,) = matched.notes
    assert note.kind is FactKind.CHANGED_OUTSIDE
    assert set(note.details) == {"volume", "stop", "target"}
    assert note.details["volume"] == {"was": 0.4, "is": 0.3}


def test_a_position_that_was_closed_has_its_deals_figures() -> None:
    matched = match(trade(SIDE), {}, {TICKET: [OPENED, STOPPED]})
    after = matched.trade
    assert (after.volume, after.close_price, after.closed_ms, after.realised) == (Decimal(0), 1.097, NOW, -122.0)
    assert after.close_reason == "closed at the broker by stop"


def test_absence_without_evidence_keeps_the_trade() -> None:
    """Without closing deals, or with deals of a part alone, the trade stays, unconfirmed, and is told of once."""
    for deals in ([], [OPENED], [OPENED, replace(STOPPED, volume=Decimal("0.2"))]):
        matched = match(trade(SIDE), {}, {TICKET: deals})
        assert matched.trade.volume == Decimal("0.4")
        assert matched.trade.unconfirmed
        assert [n.kind for n in matched.notes] == [FactKind.UNCONFIRMED]
        assert match(matched.trade, {}, {TICKET: deals}).notes == ()
    back = match(matched.trade, {TICKET: OWN}, {})
    assert not back.trade.unconfirmed


def test_a_hedge_leaves_the_family_only_with_its_closing_deals() -> None:
    hedged = trade(SIDE).with_member(member(position(HEDGE, SIDE.opposite, "0.2"), Role.HEDGE))
    assert missing(hedged, {TICKET: OWN}) == [HEDGE]
    assert match(hedged, {TICKET: OWN}, {}).trade.members == hedged.members
    out = deal(DealEntry.OUT, "0.2", position_id=HEDGE, reason=DealReason.STOP)
    matched = match(hedged, {TICKET: OWN}, {HEDGE: [out]})
    assert matched.trade.members == ()
    assert [n.kind for n in matched.notes] == [FactKind.HEDGE_GONE]


volumes = st.integers(1, 40).map(lambda n: Decimal(n) / 100)


@given(
    st.none() | volumes,
    st.none() | st.sampled_from([1.097, 1.099]),
    st.lists(volumes, max_size=2),
    st.none() | volumes,
)
def test_matching_twice_is_matching_once(
    own: Decimal | None, stop: float | None, closed: list[Decimal], readd: Decimal | None
) -> None:
    """Whatever the broker shows, a second look at the same finds nothing more to change or to tell."""
    before = trade(SIDE).with_member(member(position(READD, SIDE, "0.1"), Role.READD))
    positions = {} if own is None else {TICKET: replace(OWN, volume=own, stop=stop)}
    if readd is not None:
        positions[READD] = position(READD, SIDE, str(readd))
    deals = {TICKET: [OPENED, *(deal(DealEntry.OUT, str(v), ticket=9) for v in closed)]}
    once = match(before, positions, deals)
    again = match(once.trade, positions, deals)
    assert again.trade == once.trade
    assert again.notes == ()


def test_figures_are_those_of_every_position() -> None:
    """The price and time are the own position's, the money is the family's, opening costs included."""
    hedge = deal(DealEntry.OUT, "0.2", position_id=HEDGE, profit=50.0, swap=-0.5)
    after = with_figures(trade(SIDE), [OPENED, STOPPED], [hedge])
    assert (after.close_price, after.closed_ms, after.realised) == (1.097, NOW, -73.5)
    assert is_fully_told([OPENED, STOPPED])
    assert not is_fully_told([OPENED])
    assert not is_fully_told([])
    assert closed_by_stop([OPENED, STOPPED])
    assert not closed_by_stop([OPENED, replace(STOPPED, reason=DealReason.CLIENT)])
