"""What transports over the internet have in common: peers by PeerId over a medium's pipes, each made secure.

Bounds, and what happens at them: of handshakes that come to us, HandshakeRate says how many may begin (more are
refused), and `max_handshakes` may be under way, the medium's own included (the oldest gives way: an honest one takes a
few round trips, one that only holds the place takes all it gets); of connections there are `max_connections` (new ones
are refused). `refused` counts by reason.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import (
    BadData,
    BitrelayError,
    DeviceLost,
    DeviceTimeout,
    HandshakeFailed,
    HandshakeFault,
    LimitReached,
    MessageRefused,
    NotConnected,
    TransportClosed,
)
from ..identity.handshake_limit import HandshakeLimiter, HandshakeRate
from ..identity.local import LocalIdentity
from .address import Address
from .agreement import MAX_SIZE, Numbers, Ready, stays
from .channel import MAX_MESSAGE, Channel, Kind, secure
from .event_queue import CAPACITY, EventQueue
from .gate import Gate, OpenGate
from .limits import source_of
from .link import Link, Patience
from .pipe import Admission, Medium, Pipe
from .transport import CONNECT_TIMEOUT_S, SEND_TIMEOUT_S, Ended, Event, Failed, Transport

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

HANDSHAKES: Final = HandshakeRate(per_source_per_min=60, per_min=6000, sources=4096)
"""A handshake takes a millisecond or two here; how many a stranger may ask for is the gate's matter."""


@dataclass(frozen=True)
class Limits:
    """base: the least difficulty of a peer's proof of work, in bits. events: how many wait for their reader."""

    base: int = DIFFICULTY_BASE
    handshake_s: float = 10.0
    handshakes: HandshakeRate = HANDSHAKES
    max_handshakes: int = 512
    max_connections: int = 1024
    events: int = CAPACITY
    patience: Patience = field(default_factory=Patience)


class SecureTransport(Transport):
    """A transport over a medium. own: has our identity, asked for every handshake, since it is refreshed now and then.

    To be made where an event loop runs.
    """

    max_message = MAX_MESSAGE

    def __init__(
        self,
        medium: Medium,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__()
        self.refused: Counter[str] = Counter()
        self._medium = medium
        self._own = own
        self._gate = gate or OpenGate()
        self._limits = limits or Limits()
        self._events = EventQueue(self._limits.events)
        self._limiter = HandshakeLimiter(self._limits.handshakes)
        self._numbers = Numbers()
        self._links: dict[bytes, Link] = {}
        self._said: dict[bytes, Ready] = {}
        # Ended, and that not yet told: a new connection's events come behind theirs.
        self._ending: dict[bytes, Link] = {}
        # By peer: channels of which the other end has yet to say whether they stay.
        self._undecided: dict[bytes, dict[bytes, asyncio.Future[None]]] = {}
        # From being admitted until it is through or has ended, in the order in which they began.
        self._handshakes: dict[Admission, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lives: set[asyncio.Task[None]] = set()
        self._closed = False

    async def listen(self, address: Address) -> Address:
        self.demand(address)
        self._demand_open()
        bound = await self._medium.listen(address, self)
        if self._closed:
            await self._medium.close()
            self._demand_open()
        return bound

    async def connect(
        self, address: Address, *, expected: bytes | None = None, timeout: float = CONNECT_TIMEOUT_S
    ) -> bytes:
        self.demand(address)
        self._demand_open()
        # A task of its own, so that close() can end it.
        dialling = self._begin(self._dial(address, expected, timeout))
        try:
            await asyncio.wait((dialling,))
        finally:
            dialling.cancel()
        if dialling.cancelled():
            raise TransportClosed("the transport was closed")
        try:
            return dialling.result()
        except BitrelayError:
            self.statistics.error_count += 1
            raise

    async def send(self, peer: bytes, data: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        link = self._link(peer)
        if len(data) > self.max_message:
            raise BadData(f"a message has at most {self.max_message} bytes, not {len(data)}")
        try:
            async with asyncio.timeout(timeout):
                await link.send(data)
        except TimeoutError:
            raise DeviceTimeout("the peer does not take what is sent", device=peer.hex()) from None

    async def disconnect(self, peer: bytes) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.end(Ended.LOCAL)
            await link.told.wait()

    def is_connected(self, peer: bytes) -> bool:
        return peer in self._links

    def connected_peers(self) -> Sequence[bytes]:
        return tuple(self._links)

    def address_of(self, peer: bytes) -> Address:
        """Where the peer is reached. Raises NotConnected."""
        return self._link(peer).address

    @property
    def dropped(self) -> Counter[str]:
        """What was not taken, by reason: of the medium's, and events that nobody read in time."""
        return self._medium.dropped + Counter({"events": self._events.dropped})

    async def next_event(self) -> Event:
        return await self._events.get()

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        # A connection's life ends by itself once it has a reason; its goodbye has a deadline.
        for link in tuple(self._links.values()):
            link.end(Ended.CLOSED)
        await asyncio.gather(*self._tasks, *self._lives, return_exceptions=True)
        await self._medium.close()
        self._events.close()

    def admit(self, address: Address) -> Admission:
        """For the medium: whether a connection from there may begin. Raises LimitReached."""
        if self._closed:
            raise LimitReached("the transport was closed", limit="closed")
        try:
            if len(self._links) >= self._limits.max_connections:
                raise LimitReached("there are too many connections", limit="max_connections")
            self._gate.admit(address)
        except LimitReached as error:
            self.refused[error.limit] += 1
            raise

        def left() -> None:
            self._handshakes.pop(admission, None)
            self._gate.left(address)

        admission = Admission(left)
        source = source_of(address)
        if not self._limiter.allow(source, time.monotonic()):
            admission.release()
            self.refused["handshake_rate"] += 1
            raise LimitReached("there were too many handshakes", limit="handshake_rate")
        if len(self._handshakes) >= self._limits.max_handshakes:
            self.refused["max_handshakes"] += 1
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            if oldest.give_way is not None:
                oldest.give_way()
        self._handshakes[admission] = None
        return admission

    def arrived(self, pipe: Pipe, admission: Admission) -> None:
        """For the medium: a pipe came."""
        if self._closed or admission not in self._handshakes:
            pipe.abort()
            admission.release()
            return

        def done(task: asyncio.Task[None]) -> None:
            self._handshakes.pop(admission, None)
            admission.give_way = None
            if task.cancelled():
                # It may never have begun.
                pipe.abort()
                admission.release()

        task = self._begin(self._answer(pipe, admission))
        task.add_done_callback(done)

        def give_way() -> None:
            task.cancel()

        admission.give_way = give_way

    async def _dial(self, address: Address, expected: bytes | None, timeout: float) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                pipe = await self._medium.open(address)
                return await self._establish(pipe, Admission(_nobody_left), initiator=True, expected=expected)
        except DeviceTimeout:
            raise
        except TimeoutError:
            raise DeviceTimeout("no connection within the deadline", device=str(address)) from None

    async def _answer(self, pipe: Pipe, admission: Admission) -> None:
        error: BitrelayError
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                await self._establish(pipe, admission, initiator=False, expected=None)
            return
        except TimeoutError:
            error = HandshakeFailed(HandshakeFault.NO_ANSWER, device=str(pipe.remote))
        except BitrelayError as failure:
            error = failure
        self.statistics.error_count += 1
        self._events.tell(Failed(None, error))

    async def _establish(self, pipe: Pipe, admission: Admission, *, initiator: bool, expected: bytes | None) -> bytes:
        # The pipe is a link's when this is through, or has ended.
        kept = False
        channel: Channel | None = None
        try:
            channel = await secure(pipe, self._own(), initiator=initiator, expected=expected, base=self._limits.base)
            try:
                self._gate.known(channel.identity, pipe.remote, not initiator)
            except LimitReached as error:
                self.refused[error.limit] += 1
                channel.put(Kind.BYE)
                await pipe.close()
                raise
            kept = await self._agree(channel, admission)
            if not kept:
                await self._other_connection(channel.peer_id)
            return channel.peer_id
        except DeviceLost:
            raise HandshakeFailed(HandshakeFault.HUNG_UP, device=str(pipe.remote)) from None
        except MessageRefused:
            raise HandshakeFailed(HandshakeFault.FORGED, device=str(pipe.remote)) from None
        finally:
            if not kept:
                pipe.abort()
                admission.release()
                if channel is not None:
                    channel.forget()

    async def _agree(self, channel: Channel, admission: Admission) -> bool:
        """Whether this connection stays (see `agreement`); then it is registered."""
        peer = channel.peer_id
        if self._own().keys.peer_id < peer:
            said = await self._listen_for(channel, Kind.READY)
            ready = Ready.parse(said)
            if ready is None:
                raise HandshakeFailed(HandshakeFault.OUT_OF_TURN, device=str(channel.pipe.remote))
            existing = self._links.get(peer)
            if existing is not None and stays(existing.channel.id, self._said.get(peer), ready):
                channel.put(Kind.DUPLICATE)
                await channel.pipe.close()
                return False
            self._demand_place(peer)
            channel.put(Kind.KEEP)
            self._register(channel, admission)
            self._said[peer] = ready
            return True
        undecided = self._undecided.setdefault(peer, {})
        held = tuple(undecided) + ((self._links[peer].channel.id,) if peer in self._links else ())
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        undecided[channel.id] = decided
        try:
            channel.put(Kind.READY, self._numbers.ready(held).encode())
            if await self._listen_for(channel, Kind.KEEP, Kind.DUPLICATE) is None:
                return False
            self._demand_place(peer)
            self._register(channel, admission)
            return True
        finally:
            decided.set_result(None)
            del undecided[channel.id]
            if not undecided:
                self._undecided.pop(peer, None)

    async def _listen_for(self, channel: Channel, *wanted: Kind) -> Any:
        # What came with the first kind; None for the second one.
        kind, data = await channel.receive(MAX_SIZE)
        if kind == Kind.BYE:
            raise HandshakeFailed(HandshakeFault.HUNG_UP, device=str(channel.pipe.remote))
        if kind not in wanted:
            raise HandshakeFailed(HandshakeFault.OUT_OF_TURN, device=str(channel.pipe.remote))
        return data if kind == wanted[0] else None

    async def _other_connection(self, peer: bytes) -> None:
        # This one was a duplicate; the one that it duplicates may not yet be known to stay.
        while peer not in self._links:
            undecided = self._undecided.get(peer)
            if not undecided:
                raise HandshakeFailed(HandshakeFault.HUNG_UP, device=peer.hex())
            await asyncio.wait(undecided.values(), return_when=asyncio.FIRST_COMPLETED)

    def _register(self, channel: Channel, admission: Admission) -> None:
        peer = channel.peer_id
        earlier = self._links.get(peer)
        if earlier is not None:
            earlier.end(Ended.REPLACED)
        link = Link(
            channel,
            self._reached_at(channel),
            admission,
            self._events,
            self.statistics,
            self._limits.patience,
            self._unregister,
        )
        self._links[peer] = link
        self.statistics.connection_count = len(self._links)
        life = asyncio.create_task(link.run(self._ending.get(peer)))
        self._lives.add(life)

        def gone(task: asyncio.Task[None]) -> None:
            self._lives.discard(task)
            if self._ending.get(peer) is link:
                del self._ending[peer]
            _tell_fault(task)

        life.add_done_callback(gone)

    def _reached_at(self, channel: Channel) -> Address:
        return channel.pipe.remote

    def _unregister(self, link: Link) -> None:
        if self._links.get(link.peer_id) is link:
            del self._links[link.peer_id]
            self._said.pop(link.peer_id, None)
        self._ending[link.peer_id] = link
        self.statistics.connection_count = len(self._links)

    def _demand_place(self, peer: bytes) -> None:
        if peer not in self._links and len(self._links) >= self._limits.max_connections:
            self.refused["max_connections"] += 1
            raise LimitReached("there are too many connections", limit="max_connections")

    def _link(self, peer: bytes) -> Link:
        link = self._links.get(peer)
        if link is None:
            self._demand_open()
            raise NotConnected("there is no connection with the peer", device=peer.hex())
        return link

    def _demand_open(self) -> None:
        if self._closed:
            raise TransportClosed("the transport was closed")

    def _begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_tell_fault)
        return task


def _nobody_left() -> None:
    pass


def _tell_fault(task: asyncio.Task[Any]) -> None:
    # Else a fault of ours in a task that nobody waits for would pass in silence.
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, BitrelayError):
            _log.error("A task of a transport has failed", exc_info=error)
