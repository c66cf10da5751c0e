"""A report in words and as a table."""

import json
from collections.abc import Iterator

from rich import box
from rich.table import Table

from dtms.probe.findings import Report


def table_of(report: Report) -> Table:
    """Lay the findings out."""
    table = Table("finding", "value", "what was seen", box=box.SIMPLE, title_justify="left")
    table.title = f"{report.server}:{report.login}, {report.symbol}, build {report.build}"
    for finding in report.findings:
        table.add_row(finding.name, json.dumps(finding.value), finding.evidence)
    return table


def warnings_of(report: Report) -> Iterator[str]:
    """Say what a person must know before relying on this broker."""
    if not report.is_clean:
        named = ", ".join(map(str, report.left)) or "nobody can tell which"
        yield f"NOT CLEAN: positions of the probe may still be open ({named}): run it again, or close them by hand"
    for failure in report.failures:
        yield f"not found out: {failure}"
    for name, value, told in _SURPRISES:
        if report.value(name) == value:
            yield told


_SURPRISES = (
    ("account.as_declared", False, "the account nets or hedges otherwise than it declares"),
    ("account.hedging_prohibited", True, "opposite positions are prohibited: dtms closes a part instead of hedging"),
    ("account.fifo", True, "positions must be closed first in, first out: dtms closes a part instead of hedging"),
    ("magic.kept", False, "magic numbers come back changed: what became of a lost request is found by content alone"),
    ("none.shown_as", "none", "empty lists look like errors here: dtms would take every one for an outage"),
    ("clock.agrees", False, "fresh quotes do not agree with this machine's clock: set it, then probe again"),
    ("partial.keeps_ticket", False, "a part-closed position changes its ticket"),
)
