"""The machine that figures were taken on: without it they say nothing."""

import os
import platform
from collections.abc import Mapping

from dtms import __version__
from dtms.domain.facts import Json


def describe() -> Mapping[str, Json]:
    """Tell what may explain a figure: processors, the load of others, versions."""
    return {
        "dtms": __version__,
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        # Windows has no such figure.
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
