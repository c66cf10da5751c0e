"""Fifteen deliberate bugs, each put into a copy of the source, and the tests that must catch it.

    python tools/mutants.py [NUMBER ...]

The checkout is never changed. A bug is an exact piece of source and what stands there instead; a piece that is not
found exactly once ends the run with its number, so that a table that has fallen behind is noticed. The tests are run
on the untouched copy first: one that fails anyhow catches nothing. Ends with 1 when a bug was missed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("src", "tests", "tools", "pyproject.toml")
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a file, found exactly once, and what stands there instead."""

    path: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug, and the tests that must catch it: each of them, so that each is known to."""

    number: int
    bug: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        number=1,
        bug="sent before its intent is committed",
        edits=(
            Edit(
                "src/dtms/execute/carrying.py",
                "            await self._store.commit(unit)\n        except PermissionGone:\n",
                "            await self._clock.sleep_machine(0.0)\n        except PermissionGone:\n",
            ),
            Edit(
                "src/dtms/execute/carrying.py",
                "number=intent.number, fence=fence, tick=task.tick)\n",
                "number=intent.number, fence=fence, tick=task.tick)\n"
                "        permission = _permission(task, held.lease)\n"
                "        await self._store.commit(replace(task.begin, intents=(intent,), permission=permission))\n",
            ),
        ),
        tests=("tests/execute/test_restart.py::test_a_crash_around_a_send_is_finished",),
    ),
    Mutant(
        number=2,
        bug="None taken for an empty list",
        edits=(
            Edit(
                "src/dtms/terminal/asking.py",
                "            raise Failed(name, self.last_error())\n        return self.read(name, read, answer)\n",
                "            answer = ()\n        return self.read(name, read, answer)\n",
            ),
        ),
        tests=("tests/adapters_mt5/test_failures.py",),
    ),
    Mutant(
        number=3,
        bug="a stop may be loosened by one tick",
        edits=(
            Edit(
                "src/dtms/decide/defence.py",
                "* sight.trade.side.sign > sight.instrument.tick_size / 2",
                "* sight.trade.side.sign > -1.5 * sight.instrument.tick_size",
            ),
        ),
        tests=("tests/invariants/test_one_tick.py::test_a_stop_moves_only_for_the_better",),
    ),
    Mutant(
        number=4,
        bug="a partial close is rounded up",
        edits=(
            Edit(
                "src/dtms/domain/prices.py",
                "    return (volume // instrument.volume_step) * instrument.volume_step\n",
                "    steps = (volume / instrument.volume_step).to_integral_value(ROUND_CEILING)\n"
                "    return steps * instrument.volume_step\n",
            ),
        ),
        tests=("tests/decide/test_defence.py::test_a_part_is_rounded_down",),
    ),
    Mutant(
        number=5,
        bug="the timer is dropped at a restart",
        edits=(
            Edit(
                "src/dtms/execute/restart.py",
                "        stored = await self._stored(loaded)\n",
                "        timed = [(t, replace(t.machine, flat_since_ms=None)) for t in loaded.trades]\n"
                "        loaded = replace(loaded, trades=[replace(t, machine=m) for t, m in timed])\n"
                "        stored = await self._stored(loaded)\n",
            ),
        ),
        tests=("tests/invariants/test_restarts.py::test_the_flat_timer_survives_a_crash",),
    ),
    Mutant(
        number=6,
        bug="a hedge is sent again after a lost reply",
        edits=(
            Edit(
                "src/dtms/execute/answers.py",
                "Answer.AMBIG: lambda outcome, _: replace(outcome, ending=Ending.UNKNOWN)",
                "Answer.AMBIG: lambda outcome, _: replace(outcome, ending=Ending.FAILED, again=1)",
            ),
        ),
        tests=("tests/execute/test_lost_answers.py::test_an_executed_request_without_an_answer_is_adopted",),
    ),
    Mutant(
        number=7,
        bug="an error of the store is swallowed",
        edits=(
            Edit(
                "src/dtms/adapters/store_sql/writer.py",
                'return failed(StoreFailed(f"the store could not write: {error}"), len(batch))',
                "return [Outcome() for _ in batch]",
            ),
        ),
        tests=("tests/store/test_store_failures.py",),
    ),
    Mutant(
        number=8,
        bug="the forming bar is scored",
        edits=(
            Edit(
                "src/dtms/adapters/mt5.py",
                "bars.last_close_ms > self._clock.market_ms():\n            bars = bars[:-1]\n",
                "bars.last_close_ms > self._clock.market_ms():\n            pass\n",
            ),
        ),
        tests=(
            "tests/adapters_mt5/test_broker_contract.py::TestReading::test_bars_are_closed_in_order_and_the_newest_wanted",
        ),
    ),
    Mutant(
        number=9,
        bug="a hedge is enrolled as a trade",
        edits=(
            Edit(
                "src/dtms/execute/enrolment.py",
                "        await self._refuse_family(position)\n",
                "",
            ),
        ),
        tests=("tests/invariants/test_restarts.py::test_what_dtms_opened_is_never_a_trade_of_its_own",),
    ),
    Mutant(
        number=10,
        bug="the target is dropped when the stop moves",
        edits=(
            Edit(
                "src/dtms/adapters/mt5_requests.py",
                '        "tp": action.target or 0.0,\n        "magic": magic,\n    }\n',
                '        "tp": 0.0,\n        "magic": magic,\n    }\n',
            ),
        ),
        tests=(
            "tests/adapters_mt5/test_broker_contract.py::TestActing::test_moving_a_stop_keeps_the_target_and_again_changes_nothing",
            "tests/replay/test_whole.py::test_the_targets_of_a_crowd_never_change",
        ),
    ),
    Mutant(
        number=11,
        bug="Universal acts on its own while DTMS is defensive",
        edits=(
            Edit(
                "src/dtms/decide/authority.py",
                "        Owner.UNIVERSAL: Right.UNLESS_DEFENSIVE,\n",
                "        Owner.UNIVERSAL: Right.YES,\n",
            ),
        ),
        tests=(
            "tests/decide/test_authority.py::test_every_cell_of_the_table",
            "tests/managing/test_arbitration.py::test_universal_stands_back_while_dtms_is_defensive_and_says_so_once",
        ),
    ),
    Mutant(
        number=12,
        bug="a stop that changed meanwhile is overwritten",
        edits=(
            Edit(
                "src/dtms/execute/carrying.py",
                "        if not same_price(position.stop, action.expected_stop, task.instrument):\n",
                "        if position.ticket != action.position:\n",
            ),
        ),
        tests=(
            "tests/execute/test_carrying.py::test_a_stop_that_changed_meanwhile_stops_the_request",
            "tests/managing/test_arbitration.py::test_a_stop_that_somebody_moved_meanwhile_is_not_overwritten",
        ),
    ),
    Mutant(
        number=13,
        bug="the gateway does not look at the program's token",
        edits=(
            Edit(
                "src/dtms/terminal/trading.py",
                "            return [*leases, (key, token)]\n",
                "            return leases\n",
            ),
        ),
        tests=(
            "tests/gateway/test_gateway.py::TestFence::test_a_send_is_refused_unsent_when_its_programs_token_is_not_the_newest",
        ),
    ),
    Mutant(
        number=14,
        bug="the store is changed under somebody else's lease",
        edits=(
            Edit(
                "src/dtms/adapters/store_sql/units.py",
                "    if unit.free is not None:\n        desk.require_free(tx, unit.free)\n",
                "",
            ),
        ),
        tests=(
            "tests/store/test_store_managers.py::test_a_change_of_the_store_alone_is_refused_while_another_has_a_lease",
            "tests/execute/test_ownership.py::test_mode_and_watch_change_only_when_nobody_else_has_the_lease",
        ),
    ),
    Mutant(
        number=15,
        bug="a plan's step does not follow on the one before",
        edits=(
            Edit(
                "src/dtms/adapters/store_sql/units.py",
                '    _follow(tx, say.plan, "plans", unit.plans)\n',
                "",
            ),
        ),
        tests=(
            "tests/store/test_store_managers.py::test_a_change_must_follow_on_the_version_that_is_stored",
            "tests/planning/test_together.py::test_what_another_hand_changed_in_the_store_is_not_fired_on_an_old_memory",
        ),
    ),
)


class Behind(Exception):
    """The table has fallen behind the source."""


def copy_to(folder: Path) -> None:
    """Copy what tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


def mutated(text: str, edit: Edit, number: int) -> str:
    """Return a file's text with the edit made.

    Raises:
        Behind: when its piece is not found exactly once.
    """
    found = text.count(edit.text)
    if found != 1:
        raise Behind(
            f"bug {number}: its piece of {edit.path} is found {found} times; bring tools/mutants.py up to date"
        )
    return text.replace(edit.text, edit.instead)


def put_in(mutant: Mutant, folder: Path) -> dict[Path, str]:
    """Put a bug into the copy; return what stood there before."""
    before: dict[Path, str] = {}
    for edit in mutant.edits:
        path = folder / edit.path
        text = path.read_text(encoding="utf-8")
        before.setdefault(path, text)
        path.write_text(mutated(text, edit, mutant.number), encoding="utf-8")
    return before


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, list[str]]:
    """Run tests on the copy; return pytest's exit code and the ids of those that failed."""
    paths = os.pathsep.join([str(folder / "src"), str(folder)])
    command = [sys.executable, "-B", "-m", "pytest", "-q", "--tb=no", "-rfE", "--no-header", *tests]
    ran = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    if ran.returncode not in (0, 1):
        failed.append(f"pytest ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-400:]}")
    return ran.returncode, failed


def is_caught(test: str, failed: Sequence[str]) -> bool:
    """Answer whether one of the failures is of this test, or of this file."""
    return any(one == test or one.startswith((f"{test}[", f"{test}::")) for one in failed)


def judge(mutant: Mutant, folder: Path) -> bool:
    """Put a bug in, run its tests, take it out, and tell whether each test caught it."""
    before = put_in(mutant, folder)
    try:
        code, failed = run_tests(folder, mutant.tests)
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
    caught = code == 1 and all(is_caught(test, failed) for test in mutant.tests)
    print(f"{mutant.number:>2} {'caught' if caught else 'MISSED'}  {mutant.bug}", flush=True)
    for test in mutant.tests:
        count = sum(is_caught(test, [one]) for one in failed)
        print(f"            {'by' if count else 'NOT by'} {test}" + (f" ({count})" if count > 1 else ""), flush=True)
    if code not in (0, 1):
        print(f"            {failed[-1]}", flush=True)
    return caught


def main(arguments: Sequence[str]) -> int:
    """Try the bugs of these numbers, or all."""
    wanted = {int(one) for one in arguments} or {mutant.number for mutant in MUTANTS}
    mutants = [mutant for mutant in MUTANTS if mutant.number in wanted]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        for mutant in mutants:  # before minutes are spent
            for path, text in put_in(mutant, folder).items():
                path.write_text(text, encoding="utf-8")
        code, failed = run_tests(folder, sorted({test for mutant in mutants for test in mutant.tests}))
        if code:
            print("without any bug these fail already: " + ", ".join(failed))
            return 1
        missed = [mutant for mutant in mutants if not judge(mutant, folder)]
    print(f"{len(mutants) - len(missed)} of {len(mutants)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Behind as behind:
        sys.exit(str(behind))
