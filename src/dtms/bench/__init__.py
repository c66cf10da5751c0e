"""The figures of this machine: passes, registrations, queries, store, terminal and replay, against stated limits."""

from collections.abc import Sequence


def run(as_json: bool, only: Sequence[str] = ()) -> int:
    """Measure everything, or what ``only`` names, and report; return 1 when a limit was missed."""
    # The load client lives in this package too, and must start without the rest of it.
    from dtms.bench.suite import run as run_suite

    return run_suite(as_json, only)
