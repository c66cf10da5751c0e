"""What was found out, as values that can be kept, read again and turned into the ways of a broker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dtms.domain.broker_ways import UNPROVEN, BrokerWays, Proven, SymbolWays
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Json
from dtms.domain.market import Filling
from dtms.ports.store import Kept, KeptKind, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer; ``proven_ms`` is UTC of the machine's clock."""

    name: str
    value: Json
    evidence: str
    """What was seen, in words."""
    proven_ms: int

    def as_json(self) -> dict[str, Json]:
        return {"name": self.name, "value": self.value, "evidence": self.evidence, "proven_ms": self.proven_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that one run found out."""

    server: str
    login: int
    symbol: str
    build: int
    at_ms: int
    findings: tuple[Finding, ...]
    failures: tuple[str, ...] = ()
    """Experiments that could not be finished, and why."""
    left: tuple[int, ...] = ()
    """Tickets of the probe's own positions that could not be closed."""
    is_clean: bool = True
    """Whether it was seen, twice, that nothing of the probe is left."""

    @property
    def is_complete(self) -> bool:
        return not self.failures and self.is_clean

    def value(self, name: str, otherwise: Json = None) -> Json:
        """Return what was found under a name."""
        return next((one.value for one in self.findings if one.name == name), otherwise)

    def as_json(self) -> dict[str, Json]:
        return {
            "server": self.server,
            "login": self.login,
            "symbol": self.symbol,
            "build": self.build,
            "at_ms": self.at_ms,
            "findings": [one.as_json() for one in self.findings],
            "failures": list(self.failures),
            "left": list(self.left),
            "is_clean": self.is_clean,
        }


def key_of(server: str, login: int) -> str:
    """Return the key under which findings are kept."""
    return f"{server}:{login}"


def ways_of(report: Report, before: BrokerWays = UNPROVEN) -> BrokerWays:
    """Turn findings into ways; what was not found out this time stays as it was before."""
    known = replace(
        before,
        comment_on_open=_flag(report, "comment.open.accepted", before.comment_on_open),
        comment_on_close=_flag(report, "comment.close.accepted", before.comment_on_close),
        comment_chars=_whole(report, "comment.chars_kept", before.comment_chars),
        magic_kept=_flag(report, "magic.kept", before.magic_kept),
        lag_ms=_whole(report, "lag.ms_p99", before.lag_ms),
    )
    return replace(known, symbols={**before.symbols, report.symbol: _symbol_ways(report, before.of(report.symbol))})


def _symbol_ways(report: Report, before: SymbolWays) -> SymbolWays:
    accepted = report.value("filling.accepted")
    fillings = tuple(f for f in Filling if str(f) in accepted) if isinstance(accepted, list) else before.fillings
    return SymbolWays(
        stops_points_min=_whole(report, "stops.hidden_points", before.stops_points_min), fillings=fillings
    )


def _flag(report: Report, name: str, otherwise: bool) -> bool:
    value = report.value(name)
    return value if isinstance(value, bool) else otherwise


def _whole(report: Report, name: str, otherwise: int) -> int:
    value = report.value(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def kept_of(report: Report, before: BrokerWays) -> Kept:
    """Make what is kept of a run."""
    body = {**report.as_json(), "ways": ways_of(report, before).as_json()}
    return Kept(kind=KeptKind.PROBE, key=key_of(report.server, report.login), body=body, at_ms=report.at_ms)


def proven_in(kept: Iterable[Kept]) -> Proven | None:
    """Read what the newest of some kept values proves, or None."""
    found = [one for one in kept if isinstance(one.body.get("ways"), Mapping)]
    if not found:
        return None
    newest = max(found, key=lambda one: one.at_ms)
    ways, build = newest.body["ways"], newest.body.get("build")
    assert isinstance(ways, Mapping)
    return Proven(ways=BrokerWays.from_json(ways), build=build if isinstance(build, int) else 0, at_ms=newest.at_ms)


async def recall(store: Store, server: str, login: int) -> Proven | None:
    """Read what was proven of an account; None when nothing was, or the store cannot be read now."""
    try:
        return proven_in(await store.kept(KeptKind.PROBE, key_of(server, login)))
    except StoreFailed:
        return None
