"""Installations of real programs, ended whatever a test does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.program.running import Site, market

MakeSite = Callable[..., Site]

MONDAY = "2017-10-02T07:00Z"


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Make installations; by default the market of an ordinary Monday, at real speed."""
    made: list[Site] = []

    def make(terminal: dict[str, Any] | None = None, **settings: Any) -> Site:
        site = Site(tmp_path / f"site{len(made)}", terminal or market(MONDAY), **settings)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture(scope="package")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that is ready on a market at real speed, shared by tests that leave it as ready as they found it."""
    site = Site(tmp_path_factory.mktemp("calm"), market(MONDAY))
    try:
        site.start()
        yield site
    finally:
        site.close()
