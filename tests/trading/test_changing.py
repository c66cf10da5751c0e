"""Levels and closes as a person or a program asks for them: who may, what is refused, what stays as it is."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Send, Spoiling
from tests.trading.families import hedged
from tests.trading.house import House, in_house, refusal

from dtms.domain.actions import IntentState
from dtms.domain.facts import FactKind
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Closing, Modification
from dtms.execute.trading.service import Code


def test_a_level_that_is_not_named_stays_bit_identical_and_the_answer_has_both(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2), target=round(bid + 200, 2))
        before = await house.position(ticket)
        done = await house.trading.modify(Modification(ticket=ticket, stop=bid - 50))
        after = await house.position(ticket)
        assert done.ok
        assert done.changed
        assert (done.old_stop, done.old_target) == (before.stop, before.target)
        assert (done.stop, done.target) == (after.stop, after.target)
        assert after.stop == round(bid - 50, 2)
        assert after.target == before.target
        done = await house.trading.modify(Modification(ticket=ticket, target=bid + 150))
        assert (await house.position(ticket)).stop == after.stop == done.stop
        assert done.asked_as == Asker.EXITS.value
        told = [f for f in await house.facts(FactKind.ACTION) if f.ticket == ticket]
        assert [(f.details["old_stop"], f.details["stop"]) for f in told] == [
            (before.stop, after.stop),
            (after.stop, after.stop),
        ]

    in_house(tmp_path, scene)


def test_levels_that_stand_so_already_send_nothing(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        stop = round(house.tick().bid - 100, 2)
        ticket = house.open(stop=stop)
        done = await house.trading.modify(Modification(ticket=ticket, stop=stop))
        assert done.ok
        assert not done.changed
        assert house.terminal.sent == []

    in_house(tmp_path, scene)


def test_nobody_but_a_person_loosens_or_removes_a_stop(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        for worse in (bid - 150, None):
            error = await refusal(house.trading.modify(Modification(ticket=ticket, stop=worse)))
            assert error.details["rule"] == "stop_loosened"
        assert house.terminal.sent == []
        done = await house.trading.modify(Modification(ticket=ticket, stop=bid - 150, override=True))
        assert done.asked_as == Asker.PERSON.value
        assert (await house.position(ticket)).stop == round(bid - 150, 2)
        await house.trading.modify(Modification(ticket=ticket, stop=None, override=True))
        assert (await house.position(ticket)).stop is None
        told = (await house.facts(FactKind.ACTION))[-1]
        assert told.details["override"] is True
        assert told.details["asker"] == "person"

    in_house(tmp_path, scene)


def test_levels_on_the_wrong_side_or_too_near_are_refused_with_figures(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        tick = house.tick()
        ticket = house.open("SELL")
        cases = {
            "wrong_side": [
                Modification(ticket=ticket, stop=tick.bid - 5),
                Modification(ticket=ticket, target=tick.ask + 5),
            ],
            "stops_level": [Modification(ticket=ticket, stop=tick.ask + 1)],
            "nothing_named": [Modification(ticket=ticket)],
        }
        for rule, requests in cases.items():
            for request in requests:
                error = await refusal(house.trading.modify(request))
                assert error.code is Code.INVALID
                assert error.details["rule"] == rule
        assert (await refusal(house.trading.modify(Modification(ticket=9, stop=1.0)))).code is Code.NOT_FOUND
        assert house.terminal.sent == []

    in_house(tmp_path, scene)


def test_a_frozen_position_is_told_so_and_left_alone(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 20, 2))
        for asked in (
            house.trading.modify(Modification(ticket=ticket, target=bid + 100)),
            house.trading.close(Closing(ticket=ticket, override=True)),
        ):
            assert (await refusal(asked)).details["rule"] == "freeze_level"
        assert house.terminal.sent == []

    in_house(tmp_path, scene, freeze_level_points=5_000)


@pytest.mark.parametrize(
    ("owner", "known", "state", "rule"),
    [
        (None, {}, None, None),
        (Owner.EXITS, {}, None, None),
        (Owner.UNIVERSAL, {"breakeven": False}, None, None),
        (Owner.UNIVERSAL, {"breakeven": True}, None, "owned_by_other_manager"),
        ("somebody_new", {}, None, "owned_by_other_manager"),
        (None, {}, State.HEALTHY, None),
        (None, {}, State.WARNING_L1, None),
        (None, {}, State.WARNING_L2, "dtms_defensive"),
        (None, {}, State.HEDGED, "dtms_defensive"),
        (Owner.EXITS, {}, State.HEDGED, "dtms_defensive"),
    ],
)
def test_a_program_changes_what_intelligent_exit_may_and_a_person_everything(
    tmp_path: Path, owner: Owner | str | None, known: dict[str, Any], state: State | None, rule: str | None
) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        if state is not None:
            await house.watch(ticket, state)
        if owner is not None:
            await house.own(ticket, owner, **known)
        requests = (
            house.trading.modify(Modification(ticket=ticket, stop=bid - 50)),
            house.trading.close(Closing(ticket=ticket, volume=Decimal("0.1"))),
        )
        for asked in requests:
            if rule is None:
                await asked
            else:
                error = await refusal(asked)
                assert error.code is Code.OWNED
                assert error.details["rule"] == rule
                assert error.details["dtms_state"] == (state.value if state else None)
        assert len(house.terminal.sent) == (2 if rule is None else 0)
        assert (await house.trading.close(Closing(ticket=ticket, override=True))).ok
        assert house.positions() == {}

    in_house(tmp_path, scene)


def test_under_the_halt_nothing_but_a_persons_reducing_act_passes(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        await house.halt()
        stopped = (
            house.trading.modify(Modification(ticket=ticket, stop=bid - 50)),
            house.trading.close(Closing(ticket=ticket)),
            house.trading.modify(Modification(ticket=ticket, stop=bid - 150, override=True)),
            house.trading.modify(Modification(ticket=ticket, target=bid + 150, override=True)),
        )
        for asked in stopped:
            assert (await refusal(asked)).code is Code.HALTED
        assert house.terminal.sent == []
        assert (await house.trading.modify(Modification(ticket=ticket, stop=bid - 50, override=True))).ok
        part = await house.trading.close(Closing(ticket=ticket, volume=Decimal("0.1"), override=True))
        assert (part.volume, part.left) == (Decimal("0.1"), Decimal("0.3"))
        assert (await house.trading.close(Closing(ticket=ticket, override=True))).ok

    in_house(tmp_path, scene)


def test_a_close_takes_the_whole_or_a_volume_on_the_grid(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open(lots=0.4)
        for volume in ("0.395", "0.5", "0", "0.105", "0.001"):
            error = await refusal(house.trading.close(Closing(ticket=ticket, volume=Decimal(volume))))
            assert error.details["rule"] == "volume", volume
        done = await house.trading.close(Closing(ticket=ticket, volume=Decimal("0.15"), reason="half way"))
        assert (done.old_volume, done.volume, done.left) == (Decimal("0.4"), Decimal("0.15"), Decimal("0.25"))
        assert (await house.position(ticket)).volume == Decimal("0.25")
        assert done.deal is not None
        assert (await house.trading.close(Closing(ticket=ticket))).left == 0
        assert house.positions() == {}
        told = await house.facts(FactKind.ACTION)
        assert [f.details["action"] for f in told] == ["take_partial", "close_all"]
        assert told[0].details["why"] == "half way"

    in_house(tmp_path, scene)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_family_position_is_refused_to_all_but_a_person_naming_its_trade(tmp_path: Path, numbered: bool) -> None:
    async def scene(house: House) -> None:
        own, hedge = await hedged(house, numbered=numbered)
        for asked in (
            house.trading.modify(Modification(ticket=hedge, stop=house.tick().ask + 50)),
            house.trading.close(Closing(ticket=hedge)),
            house.trading.lease(hedge, "outsider"),
        ):
            error = await refusal(asked)
            assert error.code is Code.CONFLICT
            assert error.details["trade"] == own
        assert house.terminal.sent == []
        assert (await house.trading.close(Closing(ticket=hedge, override=True))).ok
        (told,) = await house.facts(FactKind.ACTION)
        assert told.ticket == own
        seen = {p.position.ticket: p for p in await house.trading.positions()}
        assert seen[own].managed_by == Owner.DTMS.value

    in_house(tmp_path, scene)


def test_a_stop_that_another_moves_between_decision_and_lease_aborts_the_change(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        grant = house.store.grant

        async def late(*arguments: Any, **known: Any) -> Any:
            house.do("act", act="modify", ticket=ticket, sl=round(bid - 80, 2))
            return await grant(*arguments, **known)

        house.store.grant = late  # type: ignore[method-assign]
        error = await refusal(house.trading.modify(Modification(ticket=ticket, stop=bid - 90)))
        assert error.code is Code.CONFLICT
        assert error.details["rule"] == "stop_changed_meanwhile"
        assert (await house.position(ticket)).stop == round(bid - 80, 2)
        assert house.terminal.sent == []

    in_house(tmp_path, scene)


def test_a_lost_answer_is_told_as_unknown(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        house.terminal.spoil = Spoiling("S", executes=True)
        done = await house.trading.modify(Modification(ticket=ticket, stop=bid - 50))
        assert done.unknown
        assert not done.ok
        house.terminal.spoil = Spoiling("C", executes=False)
        closed = await house.trading.close(Closing(ticket=ticket))
        assert closed.unknown
        assert closed.volume == 0
        assert [i.state for i in await house.store.intents(open_only=True)] == [IntentState.UNKNOWN] * 2

    in_house(tmp_path, scene)


def test_a_close_whose_price_moved_is_decided_anew(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        house.terminal.spoil = Spoiling("C", retcode=10004, times=2)
        assert (await house.trading.close(Closing(ticket=ticket))).ok
        house.terminal.spoil = None
        again = house.open()

        def requote(request: Mapping[str, Any], send: Send) -> Any:
            return Spoiling("C", retcode=10004, times=9)(request, send)

        house.terminal.spoil = requote
        error = await refusal(house.trading.close(Closing(ticket=again)))
        assert error.details["retcode"] == 10004
        assert list(house.positions()) == [again]

    in_house(tmp_path, scene)
