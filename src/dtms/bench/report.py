"""What a benchmark run says: a table for people, or JSON."""

import json
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from dtms.bench.figures import Figure
from dtms.domain.facts import Json


def as_json(machine: Mapping[str, Json], figures: Sequence[Figure], failures: Sequence[str]) -> str:
    """Write everything as one JSON object."""
    body = {"machine": machine, "figures": [f.as_json() for f in figures], "failures": list(failures)}
    return json.dumps(body, indent=2)


def show(console: Console, machine: Mapping[str, Json], figures: Sequence[Figure], failures: Sequence[str]) -> None:
    """Print the table, and what missed its limit."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), markup=False)
    table = Table(box=box.SIMPLE)
    for name in ("figure", "median", "lowest", "highest", "unit", "runs", "limit"):
        table.add_column(name, justify="left" if name in ("figure", "unit", "limit") else "right")
    for figure in figures:
        table.add_row(*_row(figure), style=None if figure.is_within else "red")
    console.print(table)
    for failure in failures:
        console.print(f"! {failure}", style="red", markup=False)


def _row(figure: Figure) -> tuple[str, ...]:
    numbers = (_number(value) for value in (figure.median, min(figure.runs), max(figure.runs)))
    limit = "" if figure.limit is None else f"{figure.limit.better.value} {figure.limit.value:g}"
    return figure.name, *numbers, figure.unit, str(len(figure.runs)), limit


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def missed(figure: Figure) -> str:
    """Say in a line which limit was missed, and by what."""
    assert figure.limit is not None
    must = f"must be {figure.limit.better.value} {figure.limit.value:g}"
    return f"{figure.name}: {_number(figure.median)} {figure.unit}, {must}"
