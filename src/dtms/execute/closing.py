"""What a trade came to: the deals of every position that it ever had, read when it ends."""

from collections.abc import Sequence

from dtms.decide.recovery import is_fully_told, with_figures
from dtms.domain.actions import IntentState, OpenPosition
from dtms.domain.position import Deal, DealEntry
from dtms.domain.trade import Trade
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store
from dtms.settings import IntentSettings


class Closing:
    """Reads the figures of trades that end."""

    def __init__(self, *, broker: Broker, store: Store, clock: Clock) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock

    async def figures(self, trade: Trade, settings: IntentSettings) -> Trade:
        """Return the trade with its closing price and time, and the money of all its positions.

        Raises:
            BrokerUnavailable: when the deals cannot be read.
        """
        own = await self._own(trade, settings)
        others = [d for i in await self._others(trade) for d in await self._broker.deals(position=i)]
        return with_figures(trade, own, others)

    async def _own(self, trade: Trade, settings: IntentSettings) -> Sequence[Deal]:
        """Read the own position's deals; the last of them may be listed a moment after its position is gone."""
        deals = await self._broker.deals(position=trade.identifier)
        for _ in range(settings.read_back_tries - 1):
            if is_fully_told(deals):
                break
            await self._clock.sleep_machine(settings.read_back_wait_s)
            deals = await self._broker.deals(position=trade.identifier)
        return deals

    async def _others(self, trade: Trade) -> Sequence[int]:
        """Return the identifiers of hedges and re-added positions, those closed long ago too."""
        found = {m.identifier for m in trade.members}
        for intent in await self._store.intents(ticket=trade.ticket):
            if isinstance(intent.action, OpenPosition) and intent.state is IntentState.CONFIRMED:
                magic = self._broker.magic_of(intent.number)
                _, _, deals = await self._broker.find_by_magic(magic, intent.created_ms)
                found |= {d.position_id for d in deals if d.entry is DealEntry.IN}
                if intent.order is not None:  # under which the position began, also where its number was not kept
                    found.add(intent.order)
        return sorted(found - {trade.identifier})
