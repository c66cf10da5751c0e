"""Read the configuration from its sources, check all of it, and remember where each value came from."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from dtms.config.check import from_json, from_text, masked, refusal, unknown
from dtms.config.keys import ENVIRONMENT, READ_ELSEWHERE, REFUSED, SECRETS, is_reloadable
from dtms.config.leaves import build, leaves, sections
from dtms.config.model import Config, Entry, Given
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import Json
from dtms.settings import Settings

DEFAULT_PATH: Final = Path("config") / "dtms_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A checked value and its source."""

    value: Any
    source: str


def load_from_process(
    overrides: Mapping[str, str], path: Path | None = None, defaults: Mapping[str, Json] | None = None
) -> Config:
    """Load with this process's environment; ``path`` None is the default file, which may be absent."""
    ours = {k: v for k, v in os.environ.items() if k.startswith("DTMS_") or k in ENVIRONMENT}
    return load(Given(path=path, required=path is not None, environ=ours, overrides=overrides, defaults=defaults or {}))


def load(given: Given) -> Config:
    """Read and check every source.

    Raises:
        Misconfigured: with one message that names key, value, rule and source.
    """
    origins = {key: Origin(value=leaf.default, source="default") for key, leaf in leaves().items()}
    origins |= _from_tree(given.defaults, "default of this command")
    origins |= _from_file(given)
    origins |= _from_environment(given.environ)
    origins |= _from_overrides(given.overrides)
    return _assemble(origins, given)


def _from_file(given: Given) -> dict[str, Origin]:
    path = given.path or DEFAULT_PATH
    source = path.as_posix()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if given.required:
            raise Misconfigured(f"{source}: there is no such configuration file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{source}: the configuration file cannot be read: {error}") from None
    return _from_tree(_parse(text, source), source)


def _parse(text: str, source: str) -> Mapping[str, Json]:
    def refuse_constant(name: str) -> float:
        raise Misconfigured(f"{source}: {name} is not a number that a setting can have")

    def refuse_twice(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        names = [name for name, _ in pairs]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise Misconfigured(f"{source}: the key {twice!r} stands there twice")
        return dict(pairs)

    try:
        tree = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_twice)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{source}: not valid JSON: {error}") from None
    if not isinstance(tree, dict):
        raise Misconfigured(f"{source}: must be a JSON object of sections")
    return tree


def _from_tree(tree: Mapping[str, Json], source: str) -> dict[str, Origin]:
    known = leaves()
    return {
        key: Origin(value=from_json(known[key], value, source), source=source)
        for key, value in _flatten(tree, "", known, source)
    }


def _flatten(tree: Mapping[str, Json], prefix: str, known: Iterable[str], source: str) -> Iterator[tuple[str, Json]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in known:
            yield key, value
        elif not any(k.startswith(f"{key}.") for k in known):
            raise unknown(key, [*known, *sections()], source)
        elif isinstance(value, dict):
            yield from _flatten(value, f"{key}.", known, source)
        else:
            raise refusal(key, value, "must be an object of settings", source)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Origin]:
    found: dict[str, Origin] = {}
    for name, text in environ.items():
        source = f"environment {name}"
        if not text.strip():
            continue  # set to nothing is not set, as shells and compose files leave it
        if name in REFUSED:
            raise Misconfigured(f"{name}: {REFUSED[name]}")
        if name in ENVIRONMENT:
            key = ENVIRONMENT[name]
            found[key] = Origin(value=from_text(leaves()[key], text, source), source=source)
        elif name.startswith("DTMS_") and name not in READ_ELSEWHERE:
            raise unknown(name, ENVIRONMENT, "environment", "variable")
    return found


def _from_overrides(overrides: Mapping[str, str]) -> dict[str, Origin]:
    found: dict[str, Origin] = {}
    for key, text in overrides.items():
        if key not in leaves():
            raise unknown(key, leaves(), "command line")
        found[key] = Origin(value=from_text(leaves()[key], text, "command line"), source="command line")
    return found


def _assemble(origins: Mapping[str, Origin], given: Given) -> Config:
    values = {key: origin.value for key, origin in origins.items()}
    built = {name: _section(name, values, origins) for name in sections()}
    settings = Settings(**{f.name: built.pop(f.name) for f in fields(Settings)})
    alone = {key: value for key, value in values.items() if "." not in key}
    return Config(**built, **alone, settings=settings, entries=_entries(origins), given=given)


def _section(name: str, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> Any:
    try:
        return build(values, name)
    except Misconfigured as error:
        # The rule spans several keys: show those that were set by somebody.
        was_set = [
            f"{key} = {json.dumps(origin.value, default=str)} (from {origin.source})"
            for key, origin in origins.items()
            if key.startswith(f"{name}.") and origin.source != "default"
        ]
        raise Misconfigured(f"{error}; set are {', '.join(was_set)}") from None


def _entries(origins: Mapping[str, Origin]) -> tuple[Entry, ...]:
    known = leaves()
    return tuple(
        Entry(
            key=key,
            value=_json(key, known[key].adapter().dump_python(origin.value, mode="json")),
            source=origin.source,
            secret=key in SECRETS,
            reloadable=is_reloadable(key),
        )
        for key, origin in origins.items()
    )


def _json(key: str, value: Json) -> Json:
    # A secret stays as it is, so that a change of it is noticed; ``Entry.shown`` masks it.
    return value if key in SECRETS else masked(key, value)  # type: ignore[return-value]
