"""Programs that are killed while they work: a slice of the long proof, and a judge that can tell."""

from pathlib import Path

from tests.arbitration.books import astray
from tests.arbitration.day import MAIN, SERVER, TERMINAL
from tests.arbitration.kept import EXITS
from tests.arbitration.killed_at_random import done, make_day, run
from tests.program.past import ledger_of

SECONDS, SEED = 15.0, 8


def test_whatever_is_killed_store_and_ledger_agree_afterwards(tmp_path: Path) -> None:
    with make_day(tmp_path, SECONDS) as day:
        killer, wrong = run(day, SECONDS, SEED)
        ledger, did = ledger_of(day.site.journal), done(day)
        assert {TERMINAL, SERVER, MAIN} == set(killer.kills), killer.kills
        assert did[EXITS] > 0
        assert wrong == []

        ticket, position = next((t, p) for t, p in ledger.positions.items() if p.magic == 0)
        del ledger.positions[ticket]
        assert any(str(ticket) in told for told in astray(day.site, ledger)), "watched, and its position gone"
        ledger.positions[ticket] = position
        assert not list(astray(day.site, ledger))
