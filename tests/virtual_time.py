"""Virtual time for tests: ``run_virtual`` runs a coroutine on a loop that jumps from timer to timer."""

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import Deadlock, VirtualLoop, run_virtual

__all__ = ["Deadlock", "LoopClock", "VirtualLoop", "run_virtual"]
