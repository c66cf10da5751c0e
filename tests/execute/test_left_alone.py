"""Open requests are looked for under their ticket's lease: a live process's are left alone, a late one's are fenced."""

from pathlib import Path
from typing import Any

from tests.execute.claims import leased
from tests.execute.restarting import Lives
from tests.execute.unsteady import Lost, Request, Send, letter_of
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, IntentState

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def until_lost(lives: Lives) -> list[dict[str, Any]]:
    """Play until the answer to the first hedge got lost, which was not executed; return how it was sent."""
    lost: list[Request] = []
    sent: list[dict[str, Any]] = []
    broker: Any = lives.on.broker
    send = broker.send

    async def noting(action: Any, **how: Any) -> Any:
        if action.kind is ActionKind.OPEN_HEDGE and not sent:
            sent.append({"action": action, **how})
        return await send(action, **how)

    def lose(request: Request, pass_on: Send) -> Any:
        if letter_of(request) == "H" and not lost:
            lost.append(request)
            return Lost()
        return pass_on(request)

    broker.send, lives.terminal.spoil = noting, lose
    while not lost:
        await lives.on.play(0.05)
    return sent


async def states(lives: Lives) -> list[IntentState]:
    found = await lives.on.store.intents(ticket=lives.ticket)
    return [i.state for i in found if i.action.kind is ActionKind.OPEN_HEDGE]


def test_a_request_is_left_alone_while_another_process_has_its_ticket(tmp_path: Path) -> None:
    """The broker is not even asked for it; when the ticket is free again it is found out."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await until_lost(lives)
        asked: list[int] = []
        broker: Any = lives.on.broker
        evidence = broker.evidence

        async def noting(number: int, *about: Any) -> Any:
            asked.append(number)
            return await evidence(number, *about)

        broker.evidence = noting
        for _ in range(12):
            await leased(lives, lives.ticket)  # that process is alive, and goes on
            asked.clear()
            await lives.on.play(0.2)
            assert asked == []
        assert await states(lives) == [IntentState.UNKNOWN]
        await lives.on.play(2)
        assert asked
        assert (await states(lives))[0] is IntentState.NOT_EXECUTED
        await lives.die()

    run_virtual(main())


def test_what_counts_as_not_executed_can_not_be_sent_any_more(tmp_path: Path) -> None:
    """The looking announced a newer token of the ticket: whoever slept with the old one is refused by the gateway."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        (sent,) = await until_lost(lives)
        while (await states(lives))[0] is IntentState.UNKNOWN:
            await lives.on.play(0.2)
        how = {key: value for key, value in sent.items() if key != "action"}
        before = len(lives.terminal.sent)
        answer = await lives.on.broker.send(sent["action"], **how)
        assert (answer.name, answer.sent) == ("GATEWAY_FENCED", False)
        assert len(lives.terminal.sent) == before
        await lives.die()

    run_virtual(main())
