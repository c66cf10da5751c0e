"""The OpenAPI 3.1 document: what FastAPI knows of the routes, the bodies and answers of the table, and examples.

The examples are made by the read models themselves from a sample trade, so they cannot fall behind them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dtms.server.examples import error_example
from dtms.server.forms import FORM
from dtms.server.idempotency import PATTERN

if TYPE_CHECKING:
    from dtms.server.app import App
    from dtms.server.rows import Row

_REF: Final = "#/components/schemas/{model}"


def describe(app: "App") -> dict[str, Any]:
    """Return the document."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        openapi_version="3.1.0",
    )
    models = {m for row in app.rows for m in (row.answer, row.body, row.form, *row.others.values()) if m is not None}
    _, schemas = models_json_schema([(m, "validation") for m in sorted(models, key=_name)], ref_template=_REF)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components |= schemas["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for row in app.rows:
        if row.answer is not None:
            _complete(document["paths"][row.path][row.method.lower()], row, app.examples())
    return document


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _complete(operation: dict[str, Any], row: "Row", examples: Mapping[str, Any]) -> None:
    sample = examples.get(f"{row.method} {row.path}", examples.get(row.path))
    responses = operation["responses"]
    if row.answer is not None:
        responses["200"] = {"description": "Done.", "content": _content(row.answer, sample)}
    for status, model in row.others.items():
        content = _content(model, examples.get(f"{row.path} {status}", sample))
        responses[str(status)] = {"description": _DESCRIPTIONS[str(status)], "content": content}
    if row.body is not None:
        operation["requestBody"] = {"required": True, "content": _request(row, examples)}
        operation.setdefault("parameters", []).append(_KEY)
    for status, response in responses.items():
        if int(status) >= 300:
            response["description"] = _DESCRIPTIONS.get(status, "Refused.")
            response["content"]["application/json"]["example"] = error_example(int(status))


def _request(row: "Row", examples: Mapping[str, Any]) -> dict[str, Any]:
    assert row.body is not None
    content = _content(
        row.body, examples.get(f"{row.method} {row.path} request", examples.get(f"{row.path} request", {}))
    )
    if row.form is not None:
        content |= _content(row.form, examples[f"{row.path} form"], FORM)
    return content


def _content(model: type[BaseModel], example: Any, kind: str = "application/json") -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=_name(model))}}
    if example is not None:
        content["example"] = example
    return {kind: content}


_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Answers the same request for 24 hours as it was answered when it was done.",
    "schema": {"type": "string", "pattern": PATTERN},
}
_DESCRIPTIONS: Final = {
    "202": "Waits for its position; not yet a trade.",
    "207": "The registrations differ in how they ended.",
    "400": "The body is not JSON in UTF-8.",
    "403": "A foreign Host or Origin.",
    "404": "Not registered, or not at the broker.",
    "409": "Owned by another manager, contradicting what is known, or another body under the same Idempotency-Key.",
    "413": "The body is larger than this route takes.",
    "415": "The Content-Type is not one that this route takes.",
    "422": "A field breaks its rule; one entry per field.",
    "500": "Something went wrong inside, or initialisation failed.",
    "503": "Not ready; ask again after Retry-After.",
}
