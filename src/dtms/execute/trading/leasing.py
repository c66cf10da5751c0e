"""Leases for programs that are not part of dtms: the same rows, tokens and refusals, over HTTP.

A lease is given for 15 s and renewed with its token, for a minute at most, and not while DTMS is defensive: DTMS
changes no state under another's lease, not even to a defensive one, and must not wait for ever. Two programs of one
name are told apart; the second is refused while the first one's lease lives.
"""

import re
from contextlib import suppress

from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone, StoreFailed
from dtms.domain.facts import Json
from dtms.domain.owners import Asker, Standing, lease_key
from dtms.domain.position import Position
from dtms.execute.trading import endings
from dtms.execute.trading.asking import manager_word, outside_holder, outside_name
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.service import Code, Leased, TradingRefused
from dtms.execute.trading.whose import Known, known
from dtms.ports.store import Lease

LEASE_S = 15.0
RENEWED_S = 60.0
"""How long after it was given a lease is renewed."""
_NAME = re.compile(r"[A-Za-z0-9._:@-]{1,64}")


class Leasing:
    """Gives, renews and takes back outside leases."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk
        self._given_s: dict[tuple[str, int], float] = {}
        """By key and token, when a lease was given, or first renewed, by this process."""

    async def lease(self, ticket: int, holder: str, token: int | None) -> Leased:
        """Give a ticket's lease, or with its token renew it.

        Raises:
            TradingRefused: when another has it, the token's lease is over, or it is not to be had.
            BrokerUnavailable: when the position or the gateway cannot be asked; nothing was given.
        """
        _require_name(holder)
        at = await known(self._desk, await self._desk.position(ticket))
        at.require_own()
        if token is not None:
            return await self._renewed(at, holder, token)
        number = await self._desk.carrier.next_number()
        try:
            lease, standing = await self._granted(at, outside_holder(holder, number))
        except LeaseHeld as error:
            raise endings.lease_held(error) from None
        self._note(lease)
        return self._leased(at.position, holder, lease, standing)

    async def release(self, ticket: int, holder: str, token: int) -> None:
        """Take a lease back from its holder, after what is on its way under it; nothing happens when it is over."""
        _require_name(holder)
        key = await self._key_of(ticket)
        async with self._desk.turns.of(key):
            lease = await self._desk.store.lease(key)
            if lease is not None and lease.token == token and outside_name(lease.holder) == holder:
                await self._desk.store.release(lease)

    async def _granted(self, at: Known, holder: str) -> tuple[Lease, Standing]:
        """Grant it and announce its token; what cannot be announced is given back."""
        store = self._desk.store
        grant = await self._desk.leases.when_free(lambda: store.grant(at.key, holder, LEASE_S, ticket=at.ticket))
        try:
            await self._desk.broker.announce(grant.lease.key, grant.lease.token)
        except (BrokerUnavailable, PermissionGone) as error:
            with suppress(StoreFailed):  # it runs out by itself
                await store.release(grant.lease)
            if isinstance(error, PermissionGone):
                raise LeaseHeld(at.key, "a later holder", grant.lease.token) from error
            raise
        return grant.lease, grant.standing

    async def _renewed(self, at: Known, holder: str, token: int) -> Leased:
        lease = await self._desk.store.lease(at.key)
        if lease is None or lease.token != token or outside_name(lease.holder) != holder:
            raise _lost(at.key, token, lease)
        standing = await self._desk.store.standing(at.ticket)
        if standing.state is not None and standing.state.is_defensive:
            told = f"DTMS is defensive ({standing.state.value}): it waits for this lease, which is not renewed."
            details: dict[str, Json] = {"ticket": at.ticket, "dtms_state": standing.state.value}
            raise TradingRefused(Code.OWNED, told, details | {"rule": "dtms_defensive"})
        self._require_young(lease)
        renewed = await self._desk.store.renew(lease, LEASE_S)
        if renewed is None:
            raise _lost(at.key, token, await self._desk.store.lease(at.key))
        return self._leased(at.position, holder, renewed, standing)

    def _note(self, lease: Lease) -> float:
        """Remember since when a lease is held, as far as is known here; forget those that are long over."""
        now_s, named = self._desk.clock.machine_s(), (lease.key, lease.token)
        if named not in self._given_s:
            over_s = now_s - RENEWED_S - LEASE_S
            self._given_s = {one: at_s for one, at_s in self._given_s.items() if at_s > over_s}
        return self._given_s.setdefault(named, now_s)

    def _require_young(self, lease: Lease) -> None:
        """See that a lease is not held so long that DTMS waits for ever.

        Raises:
            TradingRefused: when it was renewed for as long as one may.
        """
        held_s = self._desk.clock.machine_s() - self._note(lease)
        if held_s > RENEWED_S:
            told = (
                f"The lease with token {lease.token} is held for {held_s:.0f} s: give it back, so that others can act."
            )
            details: dict[str, Json] = {"key": lease.key, "held_s": round(held_s), "rule": "lease_too_long"}
            raise TradingRefused(Code.LEASE_HELD, told, details)

    def _leased(self, position: Position, holder: str, lease: Lease, standing: Standing) -> Leased:
        left_s = lease.expires_s - self._desk.clock.machine_s()
        return Leased(
            ticket=position.ticket,
            holder=holder,
            token=lease.token,
            expires_ms=self._desk.clock.wall_ms() + int(left_s * 1000),
            managed_by=endings.owner_word(standing),
            breakeven=standing.breakeven,
            dtms_state=standing.state,
            current_stop=position.stop,
        )

    async def _key_of(self, ticket: int) -> str:
        """Return the key of a ticket's lease, also of a position that is closed meanwhile."""
        position = (await self._desk.broker.positions([ticket])).get(ticket)
        if position is not None:
            return (await known(self._desk, position)).key
        standing = await self._desk.store.standing(ticket)
        owned = standing.ownership or standing.trade
        margin_mode = (await self._desk.broker.account()).margin_mode
        return lease_key(ticket, owned.symbol if owned is not None else "", margin_mode)


def _require_name(holder: str) -> None:
    """See that a holder's name can be kept, and is not that of the one program that is DTMS."""
    if _NAME.fullmatch(holder) is None:
        told = "holder must be 1 to 64 letters, digits or any of . _ : @ -"
        raise TradingRefused(Code.INVALID, told, {"field": "holder", "rule": "holder"})
    if manager_word(holder) == Asker.DTMS.value:
        told = "DTMS acts in its own server alone: no other program can hold a lease in its name."
        raise TradingRefused(Code.INVALID, told, {"field": "holder", "rule": "holder"})


def _lost(key: str, token: int, now: Lease | None) -> TradingRefused:
    holder = now.holder if now is not None else None
    told = f"The lease with token {token} is over" + (f", and held by {holder}." if holder else ".")
    return TradingRefused(Code.LEASE_HELD, told, {"key": key, "holder": holder, "rule": "lease_lost"})
