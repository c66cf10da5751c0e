"""The invariants, one row each: what must hold, who audits it in production, and what judges it.

Most are judged by a check on a ``World``. The others cannot be seen in an end result (that recovery run twice is
recovery once, that an answer leaked nothing): the tests that judge them are named. Those from 30 on are what several
managers over one store add.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dtms.audit import authority, existence, exposure, history, managers, requests, stops
from dtms.audit.violations import Check, Violation
from dtms.audit.world import Need, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """One row: ``production`` marks what is also audited while dtms runs; ``tests`` are node ids of tests."""

    number: int
    text: str
    production: bool = False
    check: Check | None = None
    needs: frozenset[Need] = frozenset()
    tests: tuple[str, ...] = ()


def _row(
    number: int, text: str, check: Check, *needs: Need, production: bool = False, tests: tuple[str, ...] = ()
) -> Invariant:
    return Invariant(number=number, text=text, production=production, check=check, needs=frozenset(needs), tests=tests)


INVARIANTS: tuple[Invariant, ...] = (
    _row(
        1,
        "A registration answered 200 exists after any crash",
        existence.check_01_registrations_exist,
        production=True,
    ),
    _row(
        2,
        "One position is one trade; concurrent registrations make one",
        existence.check_02_one_position_one_trade,
    ),
    _row(
        3,
        "No active trade goes unevaluated for more than 3 intervals without an alert",
        existence.check_03_nothing_goes_unlooked_at,
        Need.LOOKS,
        production=True,
    ),
    _row(
        4,
        "A trade leaves the active set only on positive evidence",
        existence.check_04_ended_on_evidence,
        production=True,
    ),
    _row(
        5,
        "At most one live hedge per trade, by intent and volume; opposite, and not above what was planned",
        exposure.check_05_one_hedge,
        production=True,
    ),
    _row(6, "No hedge on netting or FIFO accounts", exposure.check_06_no_hedge_where_none_can_be),
    _row(
        7,
        "The trade closed implies the hedge closed or closing within two cycles",
        exposure.check_07_nothing_left_behind,
        production=True,
    ),
    _row(
        8,
        "A stop is never loosened or removed, protective, on the tick grid, clear of the stops level",
        stops.check_08_stops_protect,
        production=True,
    ),
    _row(
        9,
        "Moving the stop keeps the target bit-identical, and the reverse",
        stops.check_09_levels_move_alone,
        Need.LEVELS,
    ),
    _row(
        10,
        "Closed ≤ initial + re-added; every close on the volume step; the rest 0 or ≥ minimum",
        exposure.check_10_closes_fit,
        production=True,
    ),
    _row(11, "Net exposure never exceeds the initial", exposure.check_11_exposure_never_grows),
    _row(
        12,
        "Every send has an intent committed before it; every deal with our magic maps to exactly one intent",
        requests.check_12_every_send_has_its_intent,
        production=True,
    ),
    _row(
        13,
        "No exposure-changing intent is sent twice; at most one is open per trade",
        requests.check_13_nothing_is_sent_twice,
    ),
    _row(
        14,
        "Every intent is terminal, or UNKNOWN and young, or escalated",
        requests.check_14_intents_are_resolved,
        production=True,
    ),
    _row(
        15,
        "Tokens strictly rise; nothing is sent with an older one",
        requests.check_15_tokens_rise,
        production=True,
    ),
    _row(
        16,
        "A manager changes a position only as owner or by rank, as judged under the lease",
        authority.check_16_only_as_owner_or_by_rank,
        production=True,
    ),
    _row(
        17,
        "While DTMS is defensive, no lower manager's change commits",
        authority.check_17_nobody_acts_while_dtms_defends,
        production=True,
    ),
    _row(
        18,
        "Only legal transitions; replaying the journal rebuilds every row",
        history.check_18_the_journal_rebuilds_the_states,
    ),
    _row(
        19,
        "No exposure is added on stale, crossed, NaN or wide-spread data",
        exposure.check_19_adds_on_sound_data,
        Need.REQUESTS,
    ),
    _row(20, "The kill switch holds across restarts", requests.check_20_the_halt_holds, production=True),
    _row(21, "Monitor restarts ≤ 3 per hour, counted durably", history.check_21_few_restarts),
    Invariant(
        number=22,
        text="Wall-clock jumps of ± 1 day change no decision",
        tests=("tests/invariants/test_wall_clock.py::test_a_jump_of_the_wall_clock_changes_no_decision",),
    ),
    _row(
        23,
        "Once faults stop, store and broker converge within 60 s",
        existence.check_23_store_and_broker_agree,
        Need.CALM,
    ),
    Invariant(
        number=24,
        text="Recovery run twice equals once",
        tests=("tests/execute/test_restart.py::test_recovering_twice_is_recovering_once",),
    ),
    _row(25, "Everything was on the expected account", existence.check_25_expected_account, production=True),
    Invariant(
        number=26,
        text="After a store error, no 2xx before re-verification",
        tests=(
            "tests/store/test_store_failures.py::test_nothing_is_acknowledged_or_read_while_the_file_cannot_be_verified",
            "tests/server/test_guarding.py::test_a_store_that_does_not_answer_is_not_ready_and_tells_no_path",
        ),
    ),
    Invariant(
        number=27,
        text="No secret in any output",
        tests=(
            "tests/config/test_config_sources.py::test_no_secret_is_ever_shown",
            "tests/config/test_logs.py::test_secrets_are_masked_at_any_depth",
        ),
    ),
    Invariant(
        number=28,
        text="An unauthorised call changes nothing and reveals nothing",
        tests=(
            "tests/server/test_guarding.py::test_a_foreign_host_is_refused",
            "tests/server/test_guarding.py::test_a_foreign_origin_is_refused",
        ),
    ),
    _row(29, "A tightening never waits for an exposure-adding action", requests.check_29_tightening_never_waits),
    _row(30, "No position has two managers that act as its owner", managers.check_30_one_owner, production=True),
    _row(
        31,
        "What a manager holds has a position, or evidence of its end",
        managers.check_31_what_is_held_is_there,
        production=True,
    ),
    _row(32, "A plan fires at most once", managers.check_32_a_plan_fires_once, production=True),
    _row(
        33,
        "What an execution opened belongs to a manager",
        managers.check_33_what_was_opened_has_a_manager,
        production=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Which invariants were judged, which could not be for want of knowledge, and what breaks them."""

    judged: tuple[int, ...]
    skipped: tuple[int, ...]
    violations: tuple[Violation, ...]


def known(world: World) -> frozenset[Need]:
    """Return what a world tells beyond deals, positions and the store."""
    has = {
        Need.REQUESTS: world.ledger.requests is not None,
        Need.LEVELS: world.ledger.levels is not None,
        Need.LOOKS: world.looks is not None,
        Need.CALM: world.calm_since_ms is not None,
    }
    return frozenset(need for need, is_known in has.items() if is_known)


def judge(world: World, invariants: Iterable[Invariant] = INVARIANTS) -> Judgement:
    """Run every check that this world tells enough for."""
    has, found = known(world), list[Violation]()
    judged: list[int] = []
    skipped: list[int] = []
    for row in invariants:
        if row.check is None or not row.needs <= has:
            skipped.append(row.number)
            continue
        judged.append(row.number)
        found += row.check(world)
    return Judgement(judged=tuple(judged), skipped=tuple(skipped), violations=_once(found))


def _once(found: Sequence[Violation]) -> tuple[Violation, ...]:
    return tuple({violation.key: violation for violation in found}.values())


AUDITED: tuple[Invariant, ...] = tuple(row for row in INVARIANTS if row.production)
"""What is audited while dtms runs."""
