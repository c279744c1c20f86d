"""One facade over all transports: a peer is connected over several, and messages find their way (resolution E17).

Above the connection manager, which makes and counts connections, every peer has a channel (`peer_channel`): it numbers
messages, selects a transport for each, and sends what is unacknowledged over another when that one is cut. What comes
is merged into one stream of events. Both ends must use a coordinator: docs/protocol.md, "Delivery".
"""

import asyncio
import logging
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import BitrelayError, NotConnected, TransportClosed, WrongAddress
from ..watched_task import watched
from .address import Address
from .connection_manager import PENDING_S, ConnectionManager
from .control_frame import Data, decode
from .fair_queue import Traffic
from .limits import ConnectionStatistics
from .metrics import Metrics
from .peer_channel import ChannelConfig, PeerChannel
from .selector import TransportType
from .transport import (
    SEND_TIMEOUT_S,
    Connected,
    DataReceived,
    Disconnected,
    Ended,
    Event,
    Failed,
    Statistics,
    Transport,
)

_log = logging.getLogger(__name__)

MOST_EVENTS: Final = 1024
"""Beside messages, which their channels bound. When so many wait for the reader, more are dropped and counted."""
MOST_UNREAD_BYTES: Final = 64 * 1024 * 1024
"""Of messages of all peers that wait for the reader. When there are so many, what comes is dropped and sent again."""
MOST_ABSENT: Final = 256
"""Peers without a connection whose numbers are remembered; of more, the one gone for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Row EXE-02: all are pinged every interval_s; who misses timeout_s so often in a row is dropped.

    round_trips: an answer may also take so many usual round trips. insists: a ping that is missed is followed by the
    next at once, so that who has vanished is dropped within misses * timeout_s from when that is suspected.
    """

    interval_s: float = 10.0
    timeout_s: float = 5.0
    misses: int = 3
    round_trips: float = 0.0
    insists: bool = False


@dataclass(frozen=True, slots=True)
class TransportUp:
    """A peer is connected over one more transport."""

    peer_id: bytes
    transport: str
    address: Address
    inbound: bool


@dataclass(frozen=True, slots=True)
class TransportDown:
    """It is no longer connected over this one. remaining: those over which it still is."""

    peer_id: bytes
    transport: str
    reason: Ended
    remaining: tuple[str, ...]


CoordinatorEvent = TransportUp | TransportDown | DataReceived | Failed


@dataclass(frozen=True, slots=True)
class CoordinatorStatistics:
    """connections: row LIM-11. transports: what each counts. failure_rate: of the messages and pings sent over each
    (row EXE-03). events: counts by what happened, drops by reason among them."""

    connections: ConnectionStatistics
    transports: dict[str, Statistics]
    failure_rate: dict[str, float]
    events: Counter[str]


class TransportCoordinator:
    """Sends to peers over whatever transport is best, and over another when that fails.

    manager: makes the connection manager, given what to call with its events; transports should have it as their gate.
    epoch: above that of any coordinator this node had before, as Unix milliseconds are. Use it in one event loop, and
    close it.
    """

    def __init__(
        self,
        manager: Callable[[Callable[[str, Event], None]], ConnectionManager] = ConnectionManager,
        *,
        config: ChannelConfig = ChannelConfig(),
        health: HealthCheck = HealthCheck(),
        rng: random.Random | None = None,
        epoch: int | None = None,
    ) -> None:
        self.manager = manager(self._happened)
        self._config = config
        self._health = health
        self._random = rng or random.SystemRandom()
        self._epoch = time.time_ns() // 1_000_000 if epoch is None else epoch
        self._types: dict[str, TransportType] = {}
        self._channels: dict[bytes, PeerChannel] = {}
        self._absent: OrderedDict[bytes, None] = OrderedDict()
        # Messages with the channel they came by.
        self._events: deque[tuple[CoordinatorEvent, PeerChannel | None]] = deque()
        self._other_events = 0
        self._unread_bytes = 0
        self._come = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._carrier = _Carrier(self.manager)
        self._failures: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self._closed = False

    @property
    def peers(self) -> tuple[bytes, ...]:
        """Those that are connected, over whatever transport."""
        return tuple(peer for peer, channel in self._channels.items() if channel.links)

    def transports_of(self, peer: bytes) -> tuple[str, ...]:
        """Over which transports a peer is connected."""
        channel = self._channels.get(peer)
        return tuple(channel.links) if channel else ()

    def metrics(self, peer: bytes) -> dict[str, Metrics]:
        """How well each transport reaches a peer now."""
        channel = self._channels.get(peer)
        now = asyncio.get_running_loop().time()
        return {name: link.metrics(now) for name, link in channel.links.items()} if channel else {}

    def timeouts(self, peer: bytes) -> dict[str, float]:
        """How many seconds each transport to a peer has for an acknowledgement, before another takes its place."""
        channel = self._channels.get(peer)
        now = asyncio.get_running_loop().time()
        return {name: link.wait_s(now) for name, link in channel.links.items()} if channel else {}

    def statistics(self) -> CoordinatorStatistics:
        return CoordinatorStatistics(
            self.manager.statistics(),
            {name: transport.statistics for name, transport in self.manager.transports.items()},
            {name: self._failures[name] / sent for name, sent in self._carrier.sent.items()},
            self._counts.copy(),
        )

    def register_transport(self, transport: Transport, kind: TransportType, name: str | None = None) -> str:
        """Use a transport from now on, and close it in the end; its name, by default that of its addresses."""
        name = name or transport.accepts[0].scheme
        self.manager.register(transport, name)
        self._types[name] = kind
        if not self._started:
            self._started = True
            self._do(self._look_after_health())
        return name

    async def listen(self, address: Address) -> Address:
        """Take connections there, over the first transport that takes it. Raises what `Transport.listen` does."""
        for transport in self.manager.transports.values():
            if isinstance(address, transport.accepts):
                return await transport.listen(address)
        raise WrongAddress(f"no transport takes {address}")

    async def connect(self, address: Address, *, peer: bytes | None = None, timeout: float = PENDING_S) -> bytes:
        """Connect; the peer's PeerId. Raises what `ConnectionManager.connect` raises."""
        return await self.manager.connect(address, peer=peer, timeout=timeout)

    async def disconnect(self, peer: bytes) -> None:
        """Hang up over all transports. Harmless if it is not connected."""
        await self.manager.disconnect(peer)

    async def send(
        self,
        peer: bytes,
        message: bytes,
        *,
        traffic: Traffic = Traffic.INTERACTIVE,
        until_acknowledged: bool = True,
        timeout: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send one message, and wait until the peer has it; or, if that is not asked for, until it is under way.

        A peer gets messages of one class in the order they were sent. After an error it may have the message or not.
        Raises NotConnected if it is connected over no transport or none took the message for long, BadData for one that
        is too long, LimitReached if too much traffic of its class waits, DeviceTimeout.
        """
        channel = self._channels.get(peer)
        if channel is None:
            raise NotConnected("it is connected over no transport", device=peer.hex())
        await channel.send(message, traffic, until_acknowledged=until_acknowledged, timeout=timeout)

    async def flush(self, peer: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        """Wait until a peer has everything. Raises DeviceTimeout, and NotConnected if something was given up."""
        channel = self._channels.get(peer)
        if channel is not None:
            await channel.flush(timeout)

    async def send_batch(
        self,
        messages: Sequence[tuple[bytes, bytes]],
        *,
        traffic: Traffic = Traffic.INTERACTIVE,
        timeout: float = SEND_TIMEOUT_S,
    ) -> list[BitrelayError | None]:
        """Send (peer, message) pairs at once (row LIM-19); for each what went wrong, or None if its peer has it."""
        return await asyncio.gather(*(self._attempt(peer, message, traffic, timeout) for peer, message in messages))

    async def broadcast(
        self,
        message: bytes,
        *,
        without: Collection[bytes] = (),
        traffic: Traffic = Traffic.INTERACTIVE,
        timeout: float = SEND_TIMEOUT_S,
    ) -> dict[bytes, BitrelayError | None]:
        """Send one message to every connected peer (row LIM-14); by peer what went wrong, or None. Never raises."""
        peers = [peer for peer in self.peers if peer not in without]
        results = await self.send_batch([(peer, message) for peer in peers], traffic=traffic, timeout=timeout)
        for peer, error in zip(peers, results, strict=True):
            if error is not None:
                _log.info("A broadcast did not reach %s: %s", peer.hex(), error)
        return dict(zip(peers, results, strict=True))

    async def next_event(self) -> CoordinatorEvent:
        """The next event of all transports and peers; waits for it. Those of one peer come in order.

        Who does not read gets no more messages from peers, which wait then. After close() it gives what is left, then
        raises TransportClosed.
        """
        while not self._events:
            if self._closed:
                raise TransportClosed("the coordinator was closed")
            self._come.clear()
            await self._come.wait()
        event, channel = self._events.popleft()
        if channel is not None and isinstance(event, DataReceived):
            self._unread_bytes -= len(event.data)
            channel.read(event.data)
        else:
            self._other_events -= 1
        return event

    async def check_health(self) -> None:
        """Ping every peer over every transport, and drop those that did not answer again and again (row EXE-02)."""
        channels = list(self._channels.values())
        await asyncio.gather(*(self._check(channel, name) for channel in channels for name in list(channel.links)))

    async def close(self) -> None:
        """Hang up on everybody and close all transports. Harmless when it is closed."""
        if self._closed:
            return
        await self.manager.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closed = TransportClosed("the coordinator was closed")
        await asyncio.gather(*(channel.close(closed) for channel in self._channels.values()))
        self._closed = True
        self._come.set()

    def _happened(self, name: str, event: Event) -> None:
        match event:
            case Connected(peer, address, inbound):
                self._channel(peer).link_up(name, self._types[name])
                self._tell(TransportUp(peer, name, address, inbound))
            case Disconnected(peer, reason):
                channel = self._channel(peer)
                channel.link_down(name)
                self._tell(TransportDown(peer, name, reason, tuple(channel.links)))
                if not channel.links:
                    self._is_absent(peer)
            case DataReceived(peer, data):
                self._received(peer, name, data)
            case Failed():
                self._tell(event)

    def _received(self, peer: bytes, name: str, data: bytes) -> None:
        frame = decode(data)
        if frame is None:
            self._counts["malformed"] += 1
            self.manager.misbehaved(peer, name)
        elif isinstance(frame, Data) and self._unread_bytes >= MOST_UNREAD_BYTES:
            self._counts["no room at all"] += 1
        else:
            self._channel(peer).take(name, frame)

    def _channel(self, peer: bytes) -> PeerChannel:
        self._absent.pop(peer, None)
        channel = self._channels.get(peer)
        if channel is None:
            channel = self._channels[peer] = PeerChannel(
                peer,
                self._carrier,
                self._config,
                epoch=self._epoch,
                rng=self._random,
                counts=self._counts,
                deliver=lambda message: self._deliver(peer, message),
                suspected=lambda name: self._suspected(peer, name),
                given_up=lambda count: self._tell(Failed(peer, NotConnected(f"{count} messages to it were given up"))),
            )
        return channel

    def _is_absent(self, peer: bytes) -> None:
        self._absent[peer] = None
        if len(self._absent) > MOST_ABSENT:
            forgotten, _ = self._absent.popitem(last=False)
            channel = self._channels.pop(forgotten)
            # Should it come back, what it remembers of our numbers must be below. The channel's own number may be what
            # the peer made it: others must not get that, and to the peer itself its acknowledgements name it.
            self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
            self._do(channel.close(NotConnected("it has been gone for long", device=forgotten.hex())))

    def _deliver(self, peer: bytes, message: bytes) -> None:
        self._unread_bytes += len(message)
        self._events.append((DataReceived(peer, message), self._channels[peer]))
        self._come.set()

    def _tell(self, event: CoordinatorEvent) -> None:
        if self._other_events >= MOST_EVENTS:
            self._counts["events dropped"] += 1
            return
        self._other_events += 1
        self._events.append((event, None))
        self._come.set()

    def _suspected(self, peer: bytes, name: str) -> None:
        self._failures[name] += 1
        channel = self._channels.get(peer)
        if channel is not None:
            self._do(self._check(channel, name))

    async def _check(self, channel: PeerChannel, name: str) -> None:
        while not await channel.check(name, self._patience_s(channel, name)):
            self._failures[name] += 1
            link = channel.links.get(name)
            if link is not None and link.misses >= self._health.misses:
                self._counts["unresponsive"] += 1
                await self.manager.disconnect(channel.peer, name)
                return
            if not self._health.insists:
                return

    def _patience_s(self, channel: PeerChannel, name: str) -> float:
        link = channel.links.get(name)
        latency_ms = link.metrics(asyncio.get_running_loop().time()).latency_ms if link is not None else 0.0
        return max(self._health.timeout_s, self._health.round_trips * latency_ms / 1000)

    async def _look_after_health(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A check that waited for an answer does not put off the next.
            due = max(due + self._health.interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
            await self.check_health()

    async def _attempt(self, peer: bytes, message: bytes, traffic: Traffic, timeout: float) -> BitrelayError | None:
        try:
            await self.send(peer, message, traffic=traffic, timeout=timeout)
        except BitrelayError as error:
            return error
        return None

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = watched(work, "A task of the coordinator has failed")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Carrier:
    """The way of a channel's frames. sent: how many over each transport."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.sent: Counter[str] = Counter()
        self._manager = manager

    async def send(self, peer: bytes, name: str, data: bytes, *, timeout: float) -> None:
        self.sent[name] += 1
        await self._manager.send(peer, name, data, timeout=timeout)

    def max_message(self, name: str) -> int:
        transport = self._manager.transports.get(name)
        return transport.max_message if transport else 0
