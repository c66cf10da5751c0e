"""Every invariant that can be judged holds over every recorded window, by the terminal's own books."""

import pytest
from tests.invariants.worlds import played_world, require_sound
from tests.replay.windows import RECORDED, SHIPPED, Window, played


@pytest.mark.parametrize("window", [*SHIPPED, *RECORDED], ids=lambda window: window.title)
def test_a_recorded_window_keeps_every_invariant(window: Window) -> None:
    """Each window, from the registration to its end."""
    require_sound(played_world(played(window)))
