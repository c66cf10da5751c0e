"""Configuration: the only reader of environment and files.

Precedence is command line > environment > ``config/dtms_config.json`` > defaults. Names and defaults are declared
once, in the frozen dataclasses of ``settings.py`` and ``config/model.py``; what else is known of a key stands in
``config/keys.py``.
"""

from dtms.config.load import DEFAULT_PATH, load, load_from_process
from dtms.config.model import Config, Entry, Given
from dtms.config.reload import Reload, reload
from dtms.config.schema import schema
from dtms.config.secret import terminal_secret

__all__ = [
    "DEFAULT_PATH",
    "Config",
    "Entry",
    "Given",
    "Reload",
    "load",
    "load_from_process",
    "reload",
    "schema",
    "terminal_secret",
]
