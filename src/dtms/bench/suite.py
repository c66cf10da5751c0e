"""The benchmarks by name, and running them."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from rich.console import Console

from dtms.bench import report
from dtms.bench.acts import measure_acts
from dtms.bench.figures import Figure
from dtms.bench.leases import measure_leases
from dtms.bench.machine import describe
from dtms.bench.managers import measure_managers
from dtms.bench.measure import CannotMeasure
from dtms.bench.passes import measure_passes, measure_views
from dtms.bench.plans import measure_plans
from dtms.bench.queries import measure_queries
from dtms.bench.recovery import measure_recovery
from dtms.bench.registration import measure_registration
from dtms.bench.storage import measure_store
from dtms.bench.terminals import measure_looks, measure_replay, measure_steps
from dtms.domain.errors import Misconfigured

Say = Callable[[str], None]
Measure = Callable[[Say], Iterator[Figure]]

BENCHES: Mapping[str, Measure] = {
    "views": measure_views,
    "passes": measure_passes,
    "managers": measure_managers,
    "plans": measure_plans,
    "leases": measure_leases,
    "acts": measure_acts,
    "store": measure_store,
    "registration": measure_registration,
    "queries": measure_queries,
    "terminal": measure_steps,
    "gateway": measure_looks,
    "replay": measure_replay,
    "recovery": measure_recovery,
}


def run(as_json: bool, only: Sequence[str] = ()) -> int:
    """Measure, report, and return 1 when a limit was missed or something could not be measured.

    Raises:
        Misconfigured: when ``only`` names what there is not.
    """
    unknown = [name for name in only if name not in BENCHES]
    if unknown:
        raise Misconfigured(f"no benchmark is named {unknown[0]!r}; there are {', '.join(BENCHES)}")
    # What the engine logs in a replay is not what was asked for, and writing it would be measured.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    machine = describe()
    figures, failures = measure([name for name in BENCHES if not only or name in only], BENCHES, _say)
    if as_json:
        sys.stdout.write(report.as_json(machine, figures, failures) + "\n")
    else:
        console = Console() if sys.stdout.isatty() else Console(width=160)
        report.show(console, machine, figures, failures)
    return 1 if failures else 0


def measure(names: Sequence[str], benches: Mapping[str, Measure], say: Say) -> tuple[list[Figure], list[str]]:
    """Carry benchmarks out one after another; one that fails leaves the others alone."""
    figures: list[Figure] = []
    failures: list[str] = []
    for name in names:
        try:
            figures += benches[name](say)
        except CannotMeasure as error:
            failures.append(f"{name}: could not be measured: {error}")
    return figures, failures + [report.missed(figure) for figure in figures if not figure.is_within]


def _say(told: str) -> None:
    sys.stderr.write(f"bench: {told}\n")
    sys.stderr.flush()
