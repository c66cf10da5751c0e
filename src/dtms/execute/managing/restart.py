"""Recovery of the main program: memory from the store, matched with the broker, before anything is decided.

What is managed is as it was stored: rules, flags, baselines. Run again it changes nothing.
"""

from dtms.domain.owners import Asker
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Floor
from dtms.execute.managing.loop import Round
from dtms.execute.managing.news import News
from dtms.execute.managing.presence import Presence
from dtms.execute.managing.resolving import Resolving
from dtms.execute.managing.sights import Sights
from dtms.execute.managing.taking import Taking


class Restart:
    """Recovers at every start and after every outage."""

    def __init__(
        self,
        *,
        bench: Bench,
        floor: Floor,
        sights: Sights,
        news: News,
        presence: Presence,
        resolving: Resolving,
        taking: Taking,
        loop: Round,
    ) -> None:
        self._bench = bench
        self._floor = floor
        self._sights = sights
        self._news = news
        self._presence = presence
        self._resolving = resolving
        self._taking = taking
        self._loop = loop

    async def run(self) -> str:
        """Recover, and tell in words what was found.

        Raises:
            BrokerUnavailable: when the broker did not answer; nothing was concluded.
        """
        await self._load()
        self._sights.forget_missing()
        await self._news.read(at_once=True)
        symbols = await self._sights.symbols(self._loop.wants())
        closes = await self._sights.read(symbols)
        look = await self._loop.look(symbols, closes, at_once=True)
        self._sights.judge(symbols)
        still_open = await self._resolving.resolve()
        await self._presence.check(look.snapshot)
        await self._taking.run(look)
        await self._loop.recover(look)
        told = f"{len(self._floor.charges)} managed positions, {len(look.snapshot.positions)} at the broker"
        return told + (f", {still_open} requests to be resolved" if still_open else "")

    async def _load(self) -> None:
        """Believe the store: what is managed, and which requests are open."""
        rows = await self._bench.store.managed()
        keys = {(row.manager, row.ticket) for row in rows}
        for charge in [c for key, c in self._floor.charges.items() if key not in keys]:
            self._floor.drop(charge)
        for row in rows:
            self._floor.add(row).open_intents.clear()
        for intent in await self._bench.store.intents(open_only=True):
            owner = None if intent.asker is Asker.DTMS else intent.asker.manager
            of = None if owner is None else self._floor.charges.get((owner, intent.ticket))
            if of is not None:
                of.open_intents[intent.number] = intent

    async def watch_left_out(self) -> None:
        """Nothing is left out: what could not be taken up is tried again by the loop."""
