"""One fresh application per test."""

import pytest
from tests.server.world import World, make_world


@pytest.fixture
def world() -> World:
    return make_world()
