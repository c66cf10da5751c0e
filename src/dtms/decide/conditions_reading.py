"""Reading conditions: data in, conditions out, or every fault by its path in the data with what may have been meant."""

import difflib
from collections.abc import Mapping, Sequence

from dtms.decide.conditions_params import Fault, InvalidConditions, Parameter, Wrong, parameters_of
from dtms.decide.conditions_tree import JOINS, LEAVES, All, AnyOf, Condition, Leaf, LeafKind, Not
from dtms.domain.market import Side

DEPTH_MAX = 8
LEAVES_MAX = 64
_SHOWN_MAX = 60


def parse(data: object, side: Side | None = None, path: str = "conditions") -> Condition:
    """Read conditions; ``side`` is the direction of leaves that name none.

    Raises:
        InvalidConditions: with every fault, each by its path in the data and with near matches.
    """
    if data is None or data == {} or data == []:
        return All(())
    reading = _Parser(side)
    found = reading.condition(data, path, 0)
    if found is None:
        raise InvalidConditions(reading.faults)
    return found


class _Parser:
    """One reading of one tree; every fault is noted, and a part with a fault is None."""

    def __init__(self, side: Side | None) -> None:
        self._side = side
        self._leaves = 0
        self.faults: list[Fault] = []

    def condition(self, data: object, path: str, depth: int) -> Condition | None:
        if depth > DEPTH_MAX:
            self._note(path, f"is nested more than {DEPTH_MAX} deep")
        elif isinstance(data, list):
            return self._join(All, data, path, depth)
        elif not isinstance(data, dict):
            self._note(path, "must be an object with a name, or with one of all, any, not")
        elif "name" in data:
            return self._leaf(data, path)
        elif len(data) == 1 and (join := next(iter(data))) in JOINS:
            return self._joined(join, data[join], f"{path}.{join}", depth)
        else:
            self._note_no_condition([str(key) for key in data], path)
        return None

    def _joined(self, join: str, of: object, path: str, depth: int) -> Condition | None:
        if join == "not":
            inner = self.condition(of, path, depth + 1)
            return None if inner is None else Not(inner)
        if isinstance(of, list):
            return self._join(All if join == "all" else AnyOf, of, path, depth)
        self._note(path, "must be a list of conditions")
        return None

    def _join(self, join: type[All] | type[AnyOf], of: list[object], path: str, depth: int) -> Condition | None:
        if not 0 < len(of) <= LEAVES_MAX:
            self._note(path, f"must have 1 to {LEAVES_MAX} conditions")
            return None
        parts = [self.condition(part, f"{path}[{row}]", depth + 1) for row, part in enumerate(of)]
        sound = tuple(part for part in parts if part is not None)
        return join(sound) if len(sound) == len(parts) else None

    def _note_no_condition(self, keys: Sequence[str], path: str) -> None:
        near = tuple(word for key in keys[:LEAVES_MAX] for word in _near(key, ("name", *JOINS)))
        meant = next((key for key in keys if key in LEAVES), None)
        hint = f': write {{"name": "{meant}", …}}' if meant else ""
        self._note(path, f"must have a name, or exactly one of all, any, not{hint}", near)

    def _leaf(self, data: Mapping[str, object], path: str) -> Leaf | None:
        self._leaves += 1
        if self._leaves == LEAVES_MAX + 1:
            self._note(path, f"is one of more than {LEAVES_MAX} conditions")
        name = data["name"]
        kind = LEAVES.get(name) if isinstance(name, str) else None
        if kind is None or not isinstance(name, str):
            near = _near(name, LEAVES) if isinstance(name, str) else ()
            self._note(f"{path}.name", f"no condition is called {_shown(name)}", near)
            return None
        declared, before = parameters_of(kind.cls), len(self.faults)
        self._note_strangers([key for key in data if key != "name" and key not in declared], declared, path)
        values = self._values(declared, data, path)
        is_sound = len(self.faults) == before and self._leaves <= LEAVES_MAX
        return self._made(name, kind, values, path) if is_sound else None

    def _made(self, name: str, kind: LeafKind, values: Mapping[str, object], path: str) -> Leaf | None:
        try:
            return Leaf(name, kind.cls(**kind.fixed, **values))
        except Wrong as error:
            self._note(path, str(error))
            return None

    def _note_strangers(self, keys: Sequence[str], declared: Mapping[str, Parameter], path: str) -> None:
        message = f"is no parameter of it (there are {', '.join(declared) or 'none'})"
        for key in keys:
            self._note(f"{path}.{str(key)[:_SHOWN_MAX]}", message, _near(str(key), declared))

    def _values(self, declared: Mapping[str, Parameter], data: Mapping[str, object], path: str) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, parameter in declared.items():
            given = data.get(name)
            try:
                if given is not None:
                    values[name] = parameter.rule.read(given)
                elif parameter.is_own_side and self._side is not None:
                    values[name] = self._side
                elif parameter.is_required:
                    self._note(f"{path}.{name}", f"is required: {parameter.rule.told}")
            except Wrong as error:
                self._note(f"{path}.{name}", str(error))
        return values

    def _note(self, path: str, message: str, near: Sequence[str] = ()) -> None:
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        self.faults.append(Fault(path, message + meant, tuple(near)))


def _near(word: str, words: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(word.strip().lower()[:_SHOWN_MAX], list(words), n=3, cutoff=0.6))


def _shown(value: object) -> str:
    return repr(value[:_SHOWN_MAX]) if isinstance(value, str) else f"a {type(value).__name__}"
