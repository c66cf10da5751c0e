"""Positions of other managers over HTTP: refused with the owner's name, taken over, or defended beside it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.server.living import FIRST, Living, opening
from tests.server.world import check_envelope

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner
from dtms.ports.store import Unit

ONE, SECOND = f"/dtms/trade/{FIRST}", FIRST + 1
UNIVERSAL = Owner.UNIVERSAL.value


def living(folder: Path, scenario: Callable[[Living], Awaitable[None]]) -> None:
    """Run a scenario on a server with two positions, of which the first is the Universal manager's."""

    async def main() -> None:
        lives = await Living.begin(folder, [opening("10:00:10"), opening("10:00:20")])
        await lives.on.play(0.6)
        await claim(lives, FIRST)
        await scenario(lives)
        await lives.on.engine.stop()

    run_virtual(main())


async def claim(lives: Living, ticket: int) -> None:
    """Let the Universal manager claim a position in the registry."""
    position = (await lives.on.broker.positions([ticket]))[ticket]
    login, server = lives.on.engine.desk.account
    entry = Ownership(
        ticket=ticket,
        identifier=position.identifier,
        login=login,
        server=server,
        symbol=position.symbol,
        side=Side.LONG,
        owner=UNIVERSAL,
        strategy_type="default_standard",
    )
    await lives.on.store.commit(Unit(ownership=(entry,)))


def test_a_position_of_another_manager_answers_409_with_its_name(tmp_path: Path) -> None:
    async def scenario(lives: Living) -> None:
        body = check_envelope(await lives.enable(FIRST), 409, "owned_by_other_manager")
        assert body["details"] == {"ticket": FIRST, "owner": UNIVERSAL}
        assert UNIVERSAL in body["message"]
        assert (await lives.ask("GET", ONE)).status_code == 404

    living(tmp_path, scenario)


@pytest.mark.parametrize(("sent", "owner"), [({"takeover": True}, Owner.DTMS.value), ({"alongside": True}, UNIVERSAL)])
def test_taken_over_or_beside_it_is_registered_and_shows_its_owner(
    sent: dict[str, Any], owner: str, tmp_path: Path
) -> None:
    async def scenario(lives: Living) -> None:
        answer = await lives.enable(FIRST, **sent)
        assert answer.status_code == 200, answer.text
        assert answer.json()["trade_info"]["owner"] == owner
        await lives.on.play(0.1)
        assert (await lives.get(ONE))["trade_info"]["owner"] == owner
        await lives.crash()
        assert (await lives.get(ONE))["trade_info"]["owner"] == owner

    living(tmp_path, scenario)


def test_each_of_a_batch_is_judged_by_itself(tmp_path: Path) -> None:
    async def scenario(lives: Living) -> None:
        answer = await lives.post("/dtms/trades/enable", {"trades": [{"ticket": FIRST}, {"ticket": SECOND}]})
        assert answer.status_code == 207
        refused, taken = answer.json()["results"]
        assert (refused["status"], refused["error"]) == (409, "owned_by_other_manager")
        assert refused["details"]["owner"] == UNIVERSAL
        assert taken["status"] == 200

    living(tmp_path, scenario)


def test_a_takeover_over_http_is_done_once_whatever_is_repeated(tmp_path: Path) -> None:
    async def scenario(lives: Living) -> None:
        assert (await lives.enable(FIRST, alongside=True)).status_code == 200
        for already in (True, True):
            answer = (await lives.enable(FIRST, takeover=True)).json()
            assert (answer["already_registered"], answer["trade_info"]["owner"]) == (already, Owner.DTMS.value)
        assert len(await lives.facts(FactKind.OWNER_CHANGED)) == 1

    living(tmp_path, scenario)


@pytest.mark.parametrize(("source", "by_watcher"), [("position_watcher", True), ("a chat", False), (7, False)])
def test_a_registration_of_the_position_watcher_is_known_as_such(
    source: object, by_watcher: bool, tmp_path: Path
) -> None:
    async def scenario(lives: Living) -> None:
        assert (await lives.enable(SECOND, source=source)).status_code == 200
        trade = await lives.on.store.trade(SECOND)
        assert trade is not None
        assert trade.by_watcher is by_watcher

    living(tmp_path, scenario)


def test_what_the_watcher_registered_while_it_waited_is_known_as_such(tmp_path: Path) -> None:
    """A registration that waits for its position keeps that through a crash."""

    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:50")])
        await lives.on.play(0.5)
        assert (await lives.enable(FIRST, source="position_watcher", allow_pending=True)).status_code == 202
        await lives.crash()
        await lives.on.play(1)
        trade = await lives.on.store.trade(FIRST)
        assert trade is not None
        assert trade.by_watcher
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_ticket_that_another_is_changing_answers_409(tmp_path: Path) -> None:
    async def scenario(lives: Living) -> None:
        await lives.on.store.grant(str(SECOND), "replay:99:0", 15.0, ticket=SECOND)
        body = check_envelope(await lives.enable(SECOND), 409, "lease_held")
        assert body["details"]["holder"] == "replay:99:0"
        await lives.on.play(0.3)
        assert (await lives.enable(SECOND)).status_code == 200
        await lives.on.store.grant(str(SECOND), "replay:99:0", 15.0, ticket=SECOND)
        check_envelope(await lives.post(f"/dtms/trade/{SECOND}/disable"), 409, "lease_held")

    living(tmp_path, scenario)
