"""The configuration file's JSON schema, made from the same leaves, bounds and secrets that the loader checks with."""

from typing import Any

from dtms.config.keys import SECRETS, is_reloadable, range_of
from dtms.config.leaves import Leaf, leaves


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the configuration file."""
    root = _object("dtms configuration")
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for leaf in leaves().values():
        node = root
        *path, name = leaf.key.split(".")
        for part in path:
            node = node["properties"].setdefault(part, _object(part))
        node["properties"][name] = _leaf_schema(leaf)
    return root


def _object(title: str) -> dict[str, Any]:
    return {"title": title, "type": "object", "additionalProperties": False, "properties": {}}


def _leaf_schema(leaf: Leaf) -> dict[str, Any]:
    made = leaf.adapter().json_schema()
    _bound(leaf.key, made)
    if leaf.key not in SECRETS:
        made["default"] = leaf.adapter().dump_python(leaf.default, mode="json")
    made["description"] = "Reloads while running." if is_reloadable(leaf.key) else "Needs a restart."
    return made


def _bound(key: str, node: dict[str, Any]) -> None:
    bounds = range_of(key)
    if bounds is None:
        return
    for part in [node, *node.get("anyOf", []), *([node["items"]] if "items" in node else [])]:
        if part.get("type") in ("integer", "number"):
            part |= {"minimum": bounds.low, "maximum": bounds.high}
