"""One route as a row: method, path, when it answers, what it takes and what it returns."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from dtms import wire
from dtms.server.access import Access

Endpoint = Callable[..., Awaitable[Response]]
Models = type[BaseModel] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One route; ``answer`` None keeps it out of the documentation."""

    method: str
    path: str
    endpoint: Endpoint
    access: Access
    answer: Models = None
    body: Models = None
    errors: tuple[int, ...] = ()
    form: Models = None
    """The same request as a form, where it may come as one."""
    others: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    """Answers of other 2xx."""

    @property
    def responses(self) -> dict[int | str, dict[str, Any]]:
        changes = (400, 409, 415, 422) if self.body else ()
        gate = () if self.access is Access.ALWAYS else (503,)
        codes = sorted({403, 413, *changes, *gate, *self.errors})
        models = {**self.others, **dict.fromkeys(codes, wire.ErrorAnswer)}
        return {code: {"model": model} for code, model in models.items()}
