"""A plan and a kill -9 around its send: it fires once (the long form goes through every step)."""

from pathlib import Path

from tests.arbitration.plan_kills import run


def test_a_plan_fires_once_when_its_program_is_killed_around_the_send(tmp_path: Path) -> None:
    assert run(tmp_path, ["sent:1:after"], lambda _: None) == 1
