"""Connections over several transports, under one set of limits (rows LIM-08, LIM-10, LIM-22 to LIM-24).

The sequence of a connect: blacklist, circuit breaker of the address, limits and the record of the attempt, connect
within a deadline, maps and counts, Connected; on failure Failed. What comes in gets its place before the handshake if
its transport has this manager as its gate, else when it is up.

Near its limits a node takes known peers only; when all places are taken, a known peer gets that of the stranger who
came last.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import BitrelayError, DeviceTimeout, LimitReached, NotConnected, TransportClosed, WrongAddress
from .address import Address
from .arrivals import Arrivals
from .blacklist import Blacklist
from .circuit_breaker import BreakerLimits, CircuitBreaker
from .limits import Admission, ConnectionStatistics, Limit, Place, source_of
from .pool import Pool, PoolLimits
from .transport import SEND_TIMEOUT_S, Connected, DataReceived, Disconnected, Ended, Event, Failed, Transport

if TYPE_CHECKING:
    from ..identity.proof import PowIdentity

_log = logging.getLogger(__name__)

PENDING_S: Final = 30.0
"""How long a connection may take to come about (row LIM-24)."""
HANG_UP_S: Final = 5.0
_MOST_BREAKERS = 1024


@dataclass(slots=True, eq=False)
class _Link:
    peer: bytes
    transport: str
    address: Address
    place: Place | None
    connections: int = 1
    """While one replaces another there are two for a moment."""


@dataclass(frozen=True, slots=True)
class _Borrowed:
    link: _Link
    made: bool
    """For the pool, which may end it; others are somebody else's."""


class ConnectionManager:
    """Makes, counts and ends connections; a peer may have one over each transport.

    on_event: called with a transport's name and what happened there, in order; it must not block. is_known: whether a
    peer is a known good one (`limits.is_known_good`). Call everything in one event loop, whose time is used. It is also
    the gate (`admit`, `known`, `left`) that transports ask about what comes in.
    """

    def __init__(
        self,
        on_event: Callable[[str, Event], None],
        *,
        is_known: Callable[[bytes], bool] = lambda peer: False,
        admission: Admission | None = None,
        blacklist: Blacklist | None = None,
        breaker: BreakerLimits = BreakerLimits(),
        pool: PoolLimits = PoolLimits(),
    ) -> None:
        self.admission = Admission() if admission is None else admission
        self.blacklist = Blacklist() if blacklist is None else blacklist
        self.pool: Pool[Address, _Borrowed] = Pool(self._borrow, self._give_back, self._is_up, pool)
        self._on_event = on_event
        self._is_known = is_known
        self._breaker_limits = breaker
        self._breakers: OrderedDict[Address, CircuitBreaker] = OrderedDict()
        self._transports: dict[str, Transport] = {}
        self._links: dict[tuple[bytes, str], _Link] = {}
        self._arrivals = Arrivals(self.admission, PENDING_S)
        self._dialling: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def transports(self) -> dict[str, Transport]:
        return dict(self._transports)

    def register(self, transport: Transport, name: str) -> None:
        """Use a transport from now on, and close it in the end."""
        if self._closed:
            raise TransportClosed("the connection manager was closed")
        if name in self._transports:
            raise ValueError(f"there is a transport {name} already")
        if not self._readers:
            self._readers.append(asyncio.create_task(self.pool.look_after()))
        self._transports[name] = transport
        self._readers.append(asyncio.create_task(self._read(name, transport)))

    def transports_of(self, peer: bytes) -> tuple[str, ...]:
        """The names of those that it is connected over, in the order of their registration."""
        return tuple(name for name in self._transports if (peer, name) in self._links)

    def statistics(self) -> ConnectionStatistics:
        now = asyncio.get_running_loop().time()
        self._arrivals.forget_late(now)
        return self.admission.statistics(now)

    async def connect(self, address: Address, *, peer: bytes | None = None, timeout: float = PENDING_S) -> bytes:
        """Connect over the first transport that takes the address; the peer's PeerId. peer: who it must be.

        Raises LimitReached, and what `Transport.connect` raises.
        """
        return (await self._connect(address, peer, timeout)).link.peer

    @asynccontextmanager
    async def using(self, address: Address) -> AsyncIterator[bytes]:
        """A connection out of the pool for the time of the block; its PeerId. Raises what `connect` raises."""
        async with self.pool.use(address) as borrowed:
            yield borrowed.link.peer

    async def send(self, peer: bytes, name: str, data: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        """Send over one transport. Raises what `Transport.send` raises."""
        if (peer, name) not in self._links:
            raise NotConnected("there is no connection with it", device=peer.hex())
        await self._transports[name].send(peer, data, timeout=timeout)

    async def disconnect(self, peer: bytes, name: str | None = None) -> None:
        """Hang up, over one transport or over all; gives up after HANG_UP_S. Harmless if there is no connection."""
        names = self.transports_of(peer) if name is None else (name,)
        await asyncio.gather(*(self._hang_up(peer, each) for each in names if each in self._transports))

    def misbehaved(self, peer: bytes, name: str) -> None:
        """Note that a peer broke the protocol; too often, and it is hung up on and left out for a time."""
        link = self._links.get((peer, name))
        if link is None:
            return
        now = asyncio.get_running_loop().time()
        # Both are noted: its address, since ids are cheap, and itself, since it may come from elsewhere.
        listed = [self.blacklist.fault(source, now) for source in (source_of(link.address), peer.hex())]
        if any(listed):
            for each in self.transports_of(peer):
                self._do(self._hang_up(peer, each))

    def admit(self, address: Address) -> None:
        """Whether a connection from there may begin its handshake; then it has a place. Raises LimitReached."""
        now = asyncio.get_running_loop().time()
        self._arrivals.forget_late(now)
        banned_s = self.blacklist.left_s(source_of(address), now)
        if banned_s:
            raise self.admission.refuse(Limit.BLACKLIST, address, banned_s)
        self._arrivals.add(address, self._place(address, now, None, outbound=False), now)

    def known(self, peer: "PowIdentity", address: Address, inbound: bool) -> None:
        """A handshake has shown who is there. Raises LimitReached if there is no place for it."""
        now = asyncio.get_running_loop().time()
        self._demand_good(peer.peer_id, address, now)
        place = self._arrivals.get(address) if inbound else None
        if place is not None:
            self.admission.proven(place, self._knows(peer.peer_id))

    def left(self, address: Address) -> None:
        """What was admitted from there has ended: once for each. Of what is up the transport's event tells."""
        self._arrivals.left(address)

    async def close(self) -> None:
        """Hang up on everybody and close the transports."""
        self._closed = True
        await self.pool.close()
        await asyncio.gather(*(_close(transport) for transport in self._transports.values()))
        tasks = [*self._readers, *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._readers.clear()
        for name in list(self._transports):
            self._transport_ended(name)

    async def _connect(self, address: Address, peer: bytes | None, timeout: float) -> _Borrowed:
        name, transport = self._transport_for(address)
        now = asyncio.get_running_loop().time()
        known = peer is not None and self._knows(peer)
        if peer is not None:
            self._demand_good(peer, address, now)
        banned_s = self.blacklist.left_s(source_of(address), now)
        if banned_s and not known:
            raise self.admission.refuse(Limit.BLACKLIST, address, banned_s)
        breaker = self._breaker(address)
        if not breaker.allow(now):
            raise self.admission.refuse(Limit.CIRCUIT, address, breaker.retry_s(now))
        try:
            place = self._place(address, now, peer if known else None, outbound=True)
        except LimitReached:
            breaker.abandoned(now)
            raise
        loop = asyncio.get_running_loop()
        self._dialling[name] += 1
        try:
            async with asyncio.timeout(min(timeout, PENDING_S)):
                found = await transport.connect(address, expected=peer, timeout=min(timeout, PENDING_S))
                link, made = await self._settle(found, name, place)
        except TimeoutError:
            error = DeviceTimeout("no connection within the deadline", device=str(address))
            raise self._connect_failed(breaker, place, peer, name, error) from None
        except BitrelayError as failed:
            raise self._connect_failed(breaker, place, peer, name, failed) from None
        except BaseException:
            breaker.abandoned(loop.time())
            self.admission.release(place)
            raise
        finally:
            self._dialling[name] -= 1
            self._place_orphans(name)
        breaker.succeeded(loop.time())
        return _Borrowed(link, made)

    async def _settle(self, peer: bytes, name: str, place: Place) -> tuple[_Link, bool]:
        # The reader makes the link when it comes to the event: events alone tell what is up. Whether this is made anew.
        while (link := self._links.get((peer, name))) is None:
            transport = self._transports.get(name)
            if transport is None or not transport.is_connected(peer):
                raise NotConnected("it hung up at once", device=peer.hex())
            self._changed.clear()
            await self._changed.wait()
        if link.place is not None:
            self.admission.release(place)
            return link, False
        self.admission.proven(place, self._knows(peer))
        link.place = place
        return link, True

    def _connect_failed(
        self, breaker: CircuitBreaker, place: Place, peer: bytes | None, name: str, error: BitrelayError
    ) -> BitrelayError:
        now = asyncio.get_running_loop().time()
        self.admission.release(place)
        if isinstance(error, LimitReached | TransportClosed):
            breaker.abandoned(now)
        else:
            breaker.failed(now)
        self._on_event(name, Failed(peer, error))
        return error

    def _place(self, address: Address, now: float, known_peer: bytes | None, *, outbound: bool) -> Place:
        try:
            return self.admission.admit(address, now, peer=known_peer, outbound=outbound)
        except LimitReached as refused:
            known = known_peer is not None or self.admission.is_known_source(address)
            if refused.limit != Limit.TOTAL or not known or not self._make_room():
                raise
            return self.admission.admit(address, now, peer=known_peer, outbound=outbound)

    def _make_room(self) -> bool:
        place = self.admission.newest_stranger
        if place is None:
            return False
        self.admission.release(place)
        for link in self._links.values():
            if link.place is place:
                self._do(self._hang_up(link.peer, link.transport))
        return True

    async def _read(self, name: str, transport: Transport) -> None:
        try:
            while True:
                self._happened(name, await transport.next_event())
        except TransportClosed:
            pass
        except Exception:
            # One transport's fault must not end the others.
            _log.exception("Transport %s has failed", name)
        self._transport_ended(name)

    def _happened(self, name: str, event: Event) -> None:
        match event:
            case Connected():
                self._up(name, event)
            case Disconnected():
                self._down(name, event)
            case DataReceived(peer, _):
                if (peer, name) in self._links:
                    self._on_event(name, event)
            case Failed():
                self._on_event(name, event)

    def _up(self, name: str, event: Connected) -> None:
        now = asyncio.get_running_loop().time()
        link = self._links.get((event.peer_id, name))
        place = self._arrivals.take(event.address) if event.inbound else None
        if link is not None:
            link.connections += 1
            link.address = event.address
            if place is not None:
                if link.place is not None:
                    self.admission.release(link.place)
                link.place = place
            return
        try:
            self._demand_good(event.peer_id, event.address, now)
            # What has ended meanwhile needs no place any more, and its messages are still to be had.
            is_up = self._transports[name].is_connected(event.peer_id)
            if is_up and (event.inbound or not self._dialling[name]):
                place = self._proven_place(event, place, now)
        except LimitReached as refused:
            if place is not None:
                self.admission.release(place)
            self._on_event(name, Failed(event.peer_id, refused))
            self._do(self._hang_up(event.peer_id, name))
            return
        self._links[event.peer_id, name] = _Link(event.peer_id, name, event.address, place)
        self._changed.set()
        self._on_event(name, event)

    def _proven_place(self, event: Connected, place: Place | None, now: float) -> Place:
        known = self._knows(event.peer_id)
        if place is None:
            place = self._place(event.address, now, event.peer_id if known else None, outbound=not event.inbound)
        self.admission.proven(place, known)
        return place

    def _down(self, name: str, event: Disconnected) -> None:
        link = self._links.get((event.peer_id, name))
        if link is None:
            return
        link.connections -= 1
        if link.connections == 0:
            self._drop(link, event.reason)

    def _drop(self, link: _Link, reason: Ended) -> None:
        del self._links[link.peer, link.transport]
        if link.place is not None:
            self.admission.release(link.place)
        self._changed.set()
        self._on_event(link.transport, Disconnected(link.peer, reason))

    def _transport_ended(self, name: str) -> None:
        for link in [link for link in self._links.values() if link.transport == name]:
            self._drop(link, Ended.CLOSED)
        self._transports.pop(name, None)
        self._changed.set()

    def _place_orphans(self, name: str) -> None:
        # What came up for a connect that was given up meanwhile has no place yet.
        if self._dialling[name]:
            return
        now = asyncio.get_running_loop().time()
        for link in [link for link in self._links.values() if link.transport == name and link.place is None]:
            try:
                link.place = self._proven_place(Connected(link.peer, link.address), None, now)
            except LimitReached:
                self._do(self._hang_up(link.peer, name))

    def _transport_for(self, address: Address) -> tuple[str, Transport]:
        for name, transport in self._transports.items():
            if isinstance(address, transport.accepts):
                return name, transport
        raise WrongAddress(f"no transport takes {address}")

    def _breaker(self, address: Address) -> CircuitBreaker:
        breaker = self._breakers.setdefault(address, CircuitBreaker(self._breaker_limits))
        self._breakers.move_to_end(address)
        if len(self._breakers) > _MOST_BREAKERS:
            self._breakers.popitem(last=False)
        return breaker

    def _demand_good(self, peer: bytes, address: Address, now: float) -> None:
        banned_s = self.blacklist.left_s(peer.hex(), now)
        if banned_s:
            raise self.admission.refuse(Limit.BLACKLIST, address, banned_s)

    def _knows(self, peer: bytes) -> bool:
        try:
            return self._is_known(peer)
        except BitrelayError as error:
            _log.warning("Whether a peer is known could not be told: %s", error)
            return False

    async def _hang_up(self, peer: bytes, name: str) -> None:
        transport = self._transports.get(name)
        if transport is None:
            return
        try:
            async with asyncio.timeout(HANG_UP_S):
                await transport.disconnect(peer)
        except (BitrelayError, TimeoutError) as error:
            _log.info("Hanging up on %s over %s failed: %s", peer.hex(), name, error)

    def _do(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _borrow(self, address: Address, timeout: float) -> _Borrowed:
        return await self._connect(address, None, timeout)

    async def _give_back(self, borrowed: _Borrowed) -> None:
        if borrowed.made and self._is_up(borrowed):
            await self._hang_up(borrowed.link.peer, borrowed.link.transport)

    def _is_up(self, borrowed: _Borrowed) -> bool:
        return self._links.get((borrowed.link.peer, borrowed.link.transport)) is borrowed.link


async def _close(transport: Transport) -> None:
    try:
        async with asyncio.timeout(HANG_UP_S):
            await transport.close()
    except (BitrelayError, TimeoutError) as error:
        _log.warning("A transport did not close: %s", error)
