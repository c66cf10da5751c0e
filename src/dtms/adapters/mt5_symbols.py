"""The specifications of symbols, kept for a while: a broker changes them now and then, mostly at the change of day."""

from dtms.domain.market import Instrument


class KeptInstruments:
    """Keep each specification for ``age_ms_max`` of market time."""

    def __init__(self, age_ms_max: float) -> None:
        self._age_ms_max = age_ms_max
        self._kept: dict[str, tuple[int, Instrument]] = {}

    def get(self, symbol: str, now_ms: int) -> Instrument | None:
        read_ms, instrument = self._kept.get(symbol, (0, None))
        return instrument if instrument and now_ms - read_ms < self._age_ms_max else None

    def keep(self, instrument: Instrument, now_ms: int) -> None:
        self._kept[instrument.symbol] = now_ms, instrument

    def forget(self, symbol: str) -> None:
        self._kept.pop(symbol, None)
