"""The options that commands share, and the configuration that they make."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtms.domain.errors import Misconfigured

if TYPE_CHECKING:
    from dtms.config import Config

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; default config/dtms_config.json.")
]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key.")]


def load(
    path: Path | None,
    sets: list[str] | None,
    options: Mapping[str, object] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> "Config":
    """Load the configuration, with what the command line says on top; what is logged goes to standard error.

    Raises:
        Misconfigured: for a wrong key, value or file.
    """
    from dtms import logs
    from dtms.config import load_from_process

    logs.configure("warning", "auto", "dtms")  # programs that go on running say more, and where
    overrides = dict(pair(text) for text in sets or [])
    overrides |= {key: str(value) for key, value in (options or {}).items() if value is not None}
    return load_from_process(overrides, path, defaults)


def pair(text: str) -> tuple[str, str]:
    """Take KEY=VALUE apart.

    Raises:
        Misconfigured: when it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise Misconfigured(f"--set {text}: must be KEY=VALUE")
    return key.strip(), value
