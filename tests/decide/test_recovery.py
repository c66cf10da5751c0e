"""Matching a trade with the broker: what it has wins, absence needs evidence, and a second look changes nothing."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import HEDGE, NOW, READD, TICKET, member, position, trade

from dtms.decide.recovery import closed_by_stop, forgiven, is_fully_told, match, missing, owed, owing, with_figures
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason, Position
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
    assert set(note.details) == {"volume", "stop", "target", "alert"}
    assert note.details["volume"] == {"was": 0.4, "is": 0.3}


def test_a_stop_that_somebody_took_away_is_an_alert_that_says_what_it_means() -> None:
    matched = match(trade(SIDE), {TICKET: replace(OWN, stop=None)}, {})
    (note,) = matched.notes
    assert note.details["alert"] == "ERROR"
    assert note.summary.endswith("→ none; nothing at the broker protects it any more")
    (other,) = match(trade(SIDE), {TICKET: replace(OWN, target=1.2)}, {}).notes
    assert other.details["alert"] == "WARNING"


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


# --- tickets that change -------------------------------------------------------------------------------------------


def test_a_position_is_the_same_under_another_ticket() -> None:
    """The identifier stays: the trade follows the ticket, tells it once, and is never missing."""
    moved = replace(OWN, ticket=8, entry=1.0999)
    assert missing(trade(SIDE), {8: moved}) == []
    matched = match(trade(SIDE), {8: moved}, {})
    after = matched.trade
    assert (after.ticket, after.position, after.moved_to, after.entry) == (TICKET, 8, 8, 1.0999)
    assert (after.risk, after.initial_stop) == (trade(SIDE).risk, trade(SIDE).initial_stop)
    (note,) = matched.notes
    assert note.details["ticket"] == {"was": TICKET, "is": 8}
    assert match(after, {8: moved}, {}).notes == ()
    back = match(after, {TICKET: OWN}, {}).trade
    assert back.moved_to is None


def test_a_family_position_is_the_same_under_another_ticket() -> None:
    """Whether it is wanted or surplus: the mark goes along with the ticket."""
    hedge = member(position(HEDGE, SIDE.opposite, "0.2"), Role.HEDGE)
    hedged = replace(trade(SIDE).with_member(hedge), surplus=frozenset({HEDGE}))
    moved = position(9, SIDE.opposite, "0.2", identifier=HEDGE)
    assert missing(hedged, {TICKET: OWN, 9: moved}) == []
    matched = match(hedged, {TICKET: OWN, 9: moved}, {})
    assert [(m.ticket, m.identifier) for m in matched.trade.members] == [(9, HEDGE)]
    assert matched.trade.surplus == {9}
    assert len(matched.notes) == 1
    assert match(matched.trade, {TICKET: OWN, 9: moved}, {}).notes == ()


# --- lots that are added, come back, or change sides ---------------------------------------------------------------


def test_a_second_entry_merges_into_the_trade() -> None:
    """Volume and entry follow the broker, the initial volume grows by what was added; R and initial stop stay."""
    merged = replace(OWN, volume=Decimal("0.6"), entry=1.1010, stop=1.0980)
    added = deal(DealEntry.IN, "0.2", ticket=3)
    assert missing(trade(SIDE), {TICKET: merged}) == [TICKET]
    matched = match(trade(SIDE), {TICKET: merged}, {TICKET: [OPENED, added]})
    after = matched.trade
    assert (after.volume, after.initial_volume, after.entry) == (Decimal("0.6"), Decimal("0.6"), 1.1010)
    assert (after.risk, after.initial_stop, after.owner) == (0.0030, trade(SIDE).initial_stop, trade(SIDE).owner)
    (note,) = matched.notes
    assert set(note.details) == {"volume", "initial volume", "entry", "stop", "alert"}


def test_what_was_closed_before_an_entry_does_not_count_as_added() -> None:
    """Halved by dtms to 0.2, then 0.3 bought: the initial volume is 0.4 and 0.3."""
    halved = trade(SIDE, "0.2", closed_by_dtms=Decimal("0.2"))
    deals = [OPENED, deal(DealEntry.OUT, "0.2", ticket=2), deal(DealEntry.IN, "0.3", ticket=3)]
    after = match(halved, {TICKET: replace(OWN, volume=Decimal("0.5"))}, {TICKET: deals}).trade
    assert (after.volume, after.initial_volume) == (Decimal("0.5"), Decimal("0.7"))


def test_an_old_list_adds_nothing() -> None:
    """A list from before a part was closed shows more lots; the deals do not, so nothing is believed of it."""
    halved = trade(SIDE, "0.2", closed_by_dtms=Decimal("0.2"))
    closed = deal(DealEntry.OUT, "0.2", ticket=2)
    matched = match(halved, {TICKET: OWN}, {TICKET: [OPENED, closed]})
    assert (matched.trade, matched.notes) == (halved, ())
    without = match(halved, {TICKET: OWN}, {TICKET: []})
    assert (without.trade, without.notes) == (halved, ())
    # List and deals both old: the volume is taken over until the next look, the initial volume does not grow.
    assert match(halved, {TICKET: OWN}, {TICKET: [OPENED]}).trade.initial_volume == Decimal("0.4")


def test_a_position_that_was_gone_comes_back_on_its_deals_alone() -> None:
    """The rest of the order filled after the close: watched on; an old list that still shows it: nothing."""
    gone = match(trade(SIDE), {}, {TICKET: [OPENED, STOPPED]}).trade
    assert missing(gone, {TICKET: OWN}) == [TICKET]
    old = match(gone, {TICKET: OWN}, {TICKET: [OPENED, STOPPED]})
    assert (old.trade, old.notes) == (gone, ())
    refilled = [OPENED, STOPPED, deal(DealEntry.IN, "0.1", ticket=5, time_ms=NOW + 1)]
    back = match(gone, {TICKET: replace(OWN, volume=Decimal("0.1"))}, {TICKET: refilled})
    assert (back.trade.volume, back.trade.closed_ms, back.trade.close_reason) == (Decimal("0.1"), None, None)
    assert [n.kind for n in back.notes] == [FactKind.ADOPTED]


def test_a_reversal_ends_the_trade_with_the_deals_figures() -> None:
    """The opposite position under the same identifier is no position of this trade."""
    turned = position(8, SIDE.opposite, "0.2", identifier=TICKET)
    turning = deal(DealEntry.INOUT, "0.6", ticket=4, side=SIDE.opposite, price=1.104, profit=160.0)
    assert missing(trade(SIDE), {8: turned}) == [TICKET]
    matched = match(trade(SIDE), {8: turned}, {TICKET: [OPENED, turning]})
    after = matched.trade
    assert (after.volume, after.close_price, after.realised) == (Decimal(0), 1.104, 158.0)
    assert after.close_reason == "reversed by client"
    assert after.moved_to is None
    waiting = match(trade(SIDE), {8: turned}, {TICKET: [OPENED]}).trade
    assert waiting.unconfirmed
    assert waiting.volume == Decimal("0.4")


def test_a_merge_that_the_history_has_only_half_of_is_no_end() -> None:
    """0.4 and 0.2 came in, 0.4 went out, and the history lacks the second entry: 0.2 may be left."""
    merged = trade(SIDE, "0.6", initial_volume=Decimal("0.6"))
    matched = match(merged, {}, {TICKET: [OPENED, replace(STOPPED, volume=Decimal("0.4"))]})
    assert matched.trade.unconfirmed
    assert matched.trade.volume == Decimal("0.6")


def test_a_stop_out_calls_a_person() -> None:
    """The broker closed a leg for want of margin: the hedge's, or the trade's own."""
    hedged = trade(SIDE).with_member(member(position(HEDGE, SIDE.opposite, "0.2"), Role.HEDGE))
    leg = [
        deal(DealEntry.IN, "0.2", position_id=HEDGE, side=SIDE.opposite),
        deal(DealEntry.OUT, "0.2", ticket=2, position_id=HEDGE, reason=DealReason.STOP_OUT),
    ]
    own = [OPENED, replace(STOPPED, reason=DealReason.STOP_OUT)]
    matched = match(hedged, {}, {TICKET: own, HEDGE: leg})
    assert (matched.trade.volume, matched.trade.members) == (Decimal(0), ())
    assert [n.details.get("alert") for n in matched.notes].count("CRITICAL") == 2


# --- stops that the broker lost ------------------------------------------------------------------------------------


def test_a_lost_stop_is_owed_until_the_position_has_one() -> None:
    """Told once; owed across looks; paid by any stop; and one that was paid and is taken away is not owed again."""
    bare, hedge = replace(OWN, stop=None), position(HEDGE, SIDE.opposite, "0.2")
    hedged = trade(SIDE).with_member(member(hedge, Role.HEDGE))
    positions = {TICKET: bare, HEDGE: replace(hedge, stop=None)}
    found = owing(hedged, positions)
    assert owed(found.trade) == {TICKET: hedged.stop, HEDGE: hedge.stop}
    assert [n.details["alert"] for n in found.notes] == ["ERROR", "ERROR"]
    assert owing(found.trade, positions).notes == ()
    looked = match(found.trade, positions, {})
    assert (owed(looked.trade), looked.notes) == (owed(found.trade), ())
    paid = match(found.trade, {TICKET: OWN, HEDGE: hedge}, {}).trade
    assert owed(paid) == {}
    assert owed(match(paid, positions, {}).trade) == {}
    assert owed(forgiven(found.trade, [TICKET])) == {HEDGE: hedge.stop}


# --- all together --------------------------------------------------------------------------------------------------

volumes = st.integers(1, 60).map(lambda n: Decimal(n) / 100)
rows = st.lists(st.tuples(st.sampled_from([DealEntry.IN, DealEntry.OUT, DealEntry.INOUT]), volumes), max_size=3)
whole = st.builds(
    position,
    st.sampled_from([TICKET, 8]),
    st.sampled_from(list(Side)),
    volumes.map(str),
    identifier=st.just(TICKET),
    stop=st.none() | st.sampled_from([1.097, 1.099]),
)


@given(st.none() | whole, rows, st.none() | volumes, st.sampled_from([READD, 9]), st.booleans())
def test_recovering_twice_is_recovering_once(
    own: Position | None,
    history: list[tuple[DealEntry, Decimal]],
    readd: Decimal | None,
    ticket: int,
    had_stop: bool,
) -> None:
    """Whatever the broker shows, a second look at the same finds nothing more to change, to tell or to ask for."""
    before = trade(SIDE).with_member(member(position(READD, SIDE, "0.1"), Role.READD))
    before = before if had_stop else replace(before, stop=None)
    positions = {} if own is None else {own.ticket: own}
    if readd is not None:
        positions[ticket] = position(ticket, SIDE, str(readd), identifier=READD)
    deals = {TICKET: [OPENED, *(deal(e, str(v), ticket=9 + n) for n, (e, v) in enumerate(history))]}
    noted = owing(before, positions)
    once = match(noted.trade, positions, deals)
    assert owing(once.trade, positions).notes == ()
    again = match(once.trade, positions, deals)
    assert again.trade == once.trade
    assert again.notes == ()
    assert set(missing(again.trade, positions)) <= set(missing(before, positions)) | {TICKET}


@given(rows)
def test_a_trade_ends_only_on_deals_that_cover_it(history: list[tuple[DealEntry, Decimal]]) -> None:
    """Absent from the list: its volume becomes 0 only when what came in went out again, or was reversed."""
    deals = [OPENED, *(deal(e, str(v), ticket=9 + n) for n, (e, v) in enumerate(history))]
    after = match(trade(SIDE), {}, {TICKET: deals}).trade
    left = sum(v for e, v in history if e is not DealEntry.IN)
    if after.volume == 0:
        assert left >= Decimal("0.4") or any(e is DealEntry.INOUT for e, _ in history)
    else:
        assert after.unconfirmed


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
