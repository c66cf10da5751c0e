"""Structured logs: JSON lines, or console form on a terminal; the libraries' loggers go the same way.

Fields: ``time, level, event, logger, service`` and, where they apply, ``correlation_id, ticket, symbol, action``.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_SECRET_NAMES: Final = re.compile(r"secret|password|token|api_?key|authorization|webhook", re.IGNORECASE)
_NOT_SECRET: Final = frozenset({"fencing_token", "lease_token"})
_URL_PASSWORD: Final = re.compile(r"(://[^/:@\s]*:)[^@/\s]+@")
_QUIET: Final = ("uvicorn.access", "httpx", "httpcore", "alembic")

Event = MutableMapping[str, Any]


def configure(level: str, form: str, service: str) -> None:
    """Route all logging of this process to standard error.

    Args:
        form: ``json``, ``console``, or ``auto`` (console form when standard error is a terminal).
        service: the name that every line carries.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _named(service),
        mask,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    _route_root(shared, console=console)
    set_level(level)


def set_level(level: str) -> None:
    """Change what is logged from now on."""
    logging.getLogger().setLevel(level.upper())


def _route_root(shared: list[structlog.typing.Processor], *, console: bool) -> None:
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_colour, *last],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _named(service: str) -> structlog.typing.Processor:
    def name(_: Any, __: str, event: Event) -> Event:
        event.setdefault("service", service)
        return event

    return name


def mask(_: Any, __: str, event: Event) -> Event:
    """Hide values whose names say that they are secret, and passwords inside URLs, at any depth."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: str, value: Any) -> Any:
    if value is not None and _SECRET_NAMES.search(key) and key not in _NOT_SECRET:
        return "********"
    if isinstance(value, dict):
        return {k: _masked(str(k), v) for k, v in value.items()}
    if isinstance(value, str):
        return _URL_PASSWORD.sub(r"\1********@", value)
    return value


def _without_colour(_: Any, __: str, event: Event) -> Event:
    event.pop("color_message", None)  # uvicorn's second spelling of the same line
    return event
