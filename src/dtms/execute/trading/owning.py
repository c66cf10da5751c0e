"""Claims, releases and hand-overs of positions, by compare-and-set on the owner that the caller knows.

| who asks | may change the owner of |
| --- | --- |
| a person, with override | anything |
| a program | what nobody owns |
| a program | what the position watcher gave DTMS: while HEALTHY, without a hedge or re-added position |
| a program | what the manager owns as which it is judged, unless DTMS is defensive |

What DTMS is to have is registered there: the owner changes when DTMS has taken it. What DTMS has is let go there too,
by disabling the trade, unless another manager takes it.
"""

from dataclasses import dataclass

from dtms.decide.authority import refuse
from dtms.domain.errors import ChangedMeanwhile, LeaseHeld, PermissionGone
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Ownership, Standing
from dtms.domain.trade import Owner, State
from dtms.execute.trading import endings
from dtms.execute.trading.asking import Asking, asking
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.opening import require_strategy
from dtms.execute.trading.registry import Registry
from dtms.execute.trading.service import Changed, Code, OwnerChange, TradingRefused
from dtms.execute.trading.whose import Known, known
from dtms.ports.store import Authority, Kept, KeptKind, Lease, Unit

TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A change of owner, and the position that it is about."""

    change: OwnerChange
    at: Known
    by: Asking
    account: tuple[int, str]


class Owning:
    """Changes owners, one compare-and-set at a time."""

    def __init__(self, desk: TradingDesk, registry: Registry) -> None:
        self._desk = desk
        self._registry = registry

    async def change(self, change: OwnerChange) -> Changed:
        """Change the owner of a position.

        Raises:
            TradingRefused: when the owner is not the one expected, the caller has no say, or another has the lease for
                as long as one may wait.
        """
        at = await known(self._desk, await self._desk.position(change.ticket))
        at.require_own()
        by = await asking(self._desk, at.key, lease_token=change.lease_token, override=change.override)
        account = await self._desk.broker.account()
        wanted = _Wanted(change=change, at=at, by=by, account=(account.login, account.server))
        try:
            if by.under is not None:
                async with self._desk.turns.of(at.key):
                    return await self._following(wanted, by.under)
            # Held from the look to the commit: DTMS could turn defensive in between, or a request be on its way.
            async with self._desk.leases.held(at.key, at.ticket) as held:
                return await self._following(wanted, held.lease)
        except LeaseHeld as error:
            raise endings.lease_held(error) from None

    async def _following(self, wanted: _Wanted, under: Lease) -> Changed:
        """Judge anew when the entry changed in between: then its owner is most often not the one expected any more.

        Raises:
            TradingRefused: when it changes again and again, or the lease that it is done under was lost.
        """
        for _ in range(TRIES):
            try:
                return await self._attempt(wanted, under)
            except ChangedMeanwhile:
                continue
            except PermissionGone as error:
                details: dict[str, Json] = {"key": wanted.at.key, "rule": "lease_lost"}
                raise TradingRefused(Code.LEASE_HELD, f"{error}.", details) from error
        told = f"Position {wanted.change.ticket} changes hands just now; ask again."
        raise TradingRefused(Code.CONFLICT, told, {"ticket": wanted.change.ticket, "rule": "owner_changed"})

    async def _attempt(self, wanted: _Wanted, under: Lease) -> Changed:
        """Judge by what is true under the lease, and commit only while it is held."""
        change, standing = wanted.change, await self._desk.store.standing(wanted.at.ticket)
        before = endings.owner_word(standing)
        _require_expected(change, before)
        if before == change.to.value:
            return Changed(before=before, entry=await self._registry.entry_of(standing))
        _require_say(wanted.by, standing)
        row, letter = self._written(wanted, standing)
        unit = Unit(
            ownership=() if row is None else (row,),
            keep=() if letter is None else (letter,),
            # What was on its way to DTMS before would take the position back from whom it is given to now.
            forget=() if row is None else ((KeptKind.REGISTRATION, str(wanted.at.ticket)),),
            facts=(told := self._told(wanted, before),),
            authority=Authority(key=under.key, holder=under.holder, token=under.token),
        )
        await self._desk.store.commit(unit)
        self._desk.journal.tell((told,))
        if letter is not None:
            self._desk.letters.take(letter)
        if row is not None:
            self._desk.letters.drop(wanted.at.ticket)
            self._desk.taker.changed_hands(row)
        self._registry.forget(wanted.at.ticket)
        entry = await self._registry.entry(wanted.at.ticket, fresh=True)
        return Changed(before=before, entry=entry, queued=letter is not None)

    def _written(self, wanted: _Wanted, standing: Standing) -> tuple[Ownership | None, Kept | None]:
        """Return what is written: the registry's entry, or a registration with DTMS.

        Raises:
            TradingRefused: for the Universal manager without a strategy, and for a release of what DTMS has.
        """
        to, position = wanted.change.to, wanted.at.position
        if to is Owner.DTMS:
            takes_over = standing.owner is not Owner.NOBODY
            body: dict[str, Json] = {"symbol": position.symbol, "direction": position.side.direction}
            return None, self._desk.letters.letter(wanted.at.ticket, body | {"takeover": takes_over})
        if to is Owner.NOBODY and standing.owner is Owner.DTMS:
            told = f"DTMS has trade {wanted.at.ticket}: disable it at the DTMS server to release it."
            raise TradingRefused(Code.CONFLICT, told, {"ticket": wanted.at.ticket, "rule": "disable_at_dtms"})
        return _row(wanted, standing, self._desk.clock.market_ms()), None

    def _told(self, wanted: _Wanted, before: str) -> Fact:
        change, position = wanted.change, wanted.at.position
        to = change.to.value
        told = f"owner: from {before or 'nobody'} to {to or 'nobody'}, asked by {wanted.by.asker.value}"
        details: dict[str, Json] = {
            "from": before,
            "to": to,
            "asker": wanted.by.asker.value,
            "override": change.override,
            "strategy_type": change.strategy_type,
        }
        return self._desk.fact(
            FactKind.OWNER_CHANGED, told, wanted.at.ticket, position.symbol, details, change.correlation_id
        )


def _require_expected(change: OwnerChange, before: str) -> None:
    if before != change.expected:
        told = f"Position {change.ticket} is managed by {before or 'nobody'}, not by {change.expected or 'nobody'}."
        details: dict[str, Json] = {"managed_by": before, "expected": change.expected, "ticket": change.ticket}
        raise TradingRefused(Code.CONFLICT, told, details | {"rule": "owner_changed"})


def _require_say(by: Asking, standing: Standing) -> None:
    """See that the caller may change the owner, by the table above.

    Raises:
        TradingRefused: naming the owner.
    """
    if by.is_person or standing.owner is Owner.NOBODY or _yields(standing):
        return
    owner = endings.owner_word(standing)
    told = f"Position {standing.ticket} is managed by {owner}."
    if standing.owner is not None and standing.owner is by.asker.manager:
        denied = refuse(by.asker, standing.owner, standing.state, breakeven=False)
        if denied is None:
            return
        told = f"Position {standing.ticket} cannot change hands now: {denied.reason}."
    state = standing.state.value if standing.state is not None else None
    details: dict[str, Json] = {"ticket": standing.ticket, "managed_by": owner, "dtms_state": state}
    raise TradingRefused(Code.OWNED, told, details | {"rule": "owned_by_other_manager"})


def _yields(standing: Standing) -> bool:
    """Answer whether DTMS gives a trade up to a claim: the watcher registered it, and nothing came of it yet."""
    trade = standing.defended
    if trade is None or standing.owner is not Owner.DTMS:
        return False
    return trade.by_watcher and trade.state is State.HEALTHY and not trade.members


def _row(wanted: _Wanted, standing: Standing, now_ms: int) -> Ownership:
    """Return the registry's entry under the new owner."""
    change, position, before = wanted.change, wanted.at.position, standing.ownership
    strategy = change.strategy_type or (before.strategy_type if before is not None else None)
    if change.to is Owner.UNIVERSAL:
        if strategy is None:
            told = "The Universal manager needs a strategy_type."
            raise TradingRefused(Code.INVALID, told, {"field": "strategy_type", "rule": "no_strategy"})
        require_strategy(strategy)
    login, server = wanted.account
    return Ownership(
        ticket=wanted.at.ticket,
        identifier=position.identifier,
        login=login,
        server=server,
        symbol=position.symbol,
        side=position.side,
        owner=change.to.value,
        strategy_type=strategy if change.to is Owner.UNIVERSAL else None,
        breakeven=before is not None and before.breakeven,
        mode=before.mode if before is not None else None,
        since_ms=now_ms,
        version=before.version + 1 if before is not None else 0,
    )
