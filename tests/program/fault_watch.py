"""Every fault of the simulated terminal in a running installation, watched as a trader would.

A gateway and a server, as processes of their own, go on with a played past. Each fault is put in place as `dtms sim`
does it; what the API shows, what the journal keeps and what the programs log is noted until all is calm again. At the
end the terminal's books judge.

    python -m tests.program.fault_watch                       every fault, then every habit of a broker
    python -m tests.program.fault_watch lost_executed hang    these
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog
from tests.program.fault_cases import CASES, Case, Occasion
from tests.program.fault_seen import Seen
from tests.program.fault_site import Watched
from tests.program.past import PLAYED, demo_day
from tests.program.running import Site

from dtms.adapters.virtual_loop import run_virtual
from dtms.replay import stage
from dtms.survey import register_new
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.recording import parse_time_ms

PAST_MIN = 440
"""From the start of the demo's day to nine minutes before two hedges, six stops and four parts are due."""
ACTS_MS = parse_time_ms("2017-10-25T17:28:30Z")
"""Half a minute before they are."""
QUICK = {"cadence.tick_poll_ms": 100, "audit.every_s": 5, "audit.confirm_s": 1}


def play_past(site: Site, minutes: int = PAST_MIN) -> None:
    """Play the demo's day for so many minutes, every sample trade registered."""
    store = f"sqlite:///{(site.data / 'dtms_trades.db').as_posix()}"

    async def play() -> None:
        played = stage(load_config(demo_day(journal=str(site.journal))), store_url=store)
        await played.engine.start()
        known: set[int] = set()
        for _ in range(minutes):
            await played.play(1.0)
            await register_new(played, known)
        await played.engine.stop()
        played.gateway.shutdown()

    run_virtual(play())


def goes_on(past: Site, folder: Path, rate: float = 30, acts_ms: int = ACTS_MS) -> Watched:
    """Copy a past to a new installation, in which the sample trader opens nothing more."""
    site = Site(folder, demo_day(rate=rate, actors=[]), **PLAYED, **QUICK)
    shutil.copy(past.journal, site.journal)
    for file in past.data.glob("dtms_trades*"):
        if file.is_file():
            shutil.copy(file, site.data / file.name)
    return Watched(site, acts_ms)


def watch(past: Site, cases: Sequence[Case]) -> Iterable[Seen]:
    """Watch cases one after the other; those that spoil a request have an installation of their own each."""
    looked = [case for case in cases if case.occasion is Occasion.LOOK]
    for group in [*([case] for case in cases if case.occasion is Occasion.ACTION), *([looked] if looked else [])]:
        with tempfile.TemporaryDirectory(prefix="dtms-fault-", ignore_cleanup_errors=True) as folder:
            watched = goes_on(past, Path(folder))
            try:
                watched.start()
                for case in group:
                    yield watched.watch(case)
                broken = watched.judge(is_ordinary=all(is_ordinary(case) for case in group))
                if broken:
                    yield Seen(name=f"the books after {', '.join(case.name for case in group)}", wrong=broken)
            finally:
                watched.site.close()


def is_ordinary(case: Case) -> bool:
    """Tell whether the ledger has a request and its deals under one retcode, as where nothing is filled later."""
    return not case.before and not case.name.endswith(("_late", "placed_never"))


def main(arguments: Sequence[str]) -> int:
    """Watch the named faults, or all; return 1 when something was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.program.fault_watch")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--json", type=Path, help="Append everything that was seen to this file, a line each.")
    given = parser.parse_args(arguments)
    strange = sorted(set(given.names) - set(CASES))
    if strange:
        parser.error(f"unknown: {', '.join(strange)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="dtms-past-") as folder:
        past = Site(Path(folder), demo_day(), **PLAYED)
        play_past(past)
        for seen in watch(past, [CASES[name] for name in given.names or CASES]):
            print(seen.line(), flush=True)
            wrong += bool(seen.wrong)
            if given.json:
                with given.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(seen.as_json()) + "\n")
        past.close()
    print(f"{wrong} not as they should be" if wrong else "all as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
