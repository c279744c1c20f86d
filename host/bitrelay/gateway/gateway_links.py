"""Connections with other gateways: which there are, who counts as reachable, and what comes from them.

Beneath is a `TransportCoordinator`: numbers, acknowledgements, failover, limits for strangers. A gateway can be reached
from its first hello on, until its last connection has ended or it is silent.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from ..errors import BitrelayError, DeviceTimeout, NotConnected, TransportClosed
from ..identity.peer_cache import PeerCache
from ..transports import metrics
from ..transports.address import Address
from ..transports.connection_manager import ConnectionManager
from ..transports.coordinator import HealthCheck, TransportCoordinator, TransportDown, TransportUp
from ..transports.fair_queue import Traffic
from ..transports.gate import Gate
from ..transports.limits import Admission, ConnectionLimits, is_known_good, known_addresses
from ..transports.peer_channel import ChannelConfig
from ..transports.selector import TransportType
from ..transports.token_bucket import TokenBucket
from ..transports.transport import DataReceived, Ended, Failed, Transport
from ..watched_task import watched
from .config import FederationConfig
from .dialing import Dialer
from .exchange import ExchangeEvent, GatewayDown, GatewayUp, GatewayView, MessageCame
from .link_gate import LinkGate
from .message import Hello, decode, encode
from .presence import Presence

_log = logging.getLogger(__name__)

_FAILED: Final = "A task of the gateway's links has failed"

HEARTBEAT_S: Final = 10.0
"""How often we say hello again (row GWY-20)."""
HELLO_S: Final = 10.0
"""For the first hello of a gateway that connects."""
SILENT_S: Final = 30.0
"""Without a word for so long, a gateway is gone (row GWY-20)."""
MOST_HELLOS, HELLOS_PER_S = 10, 1.0
"""At once, and in the long run: what is said more often is not worth the work, and comes again."""
SEND_S: Final = 5.0
"""For a message to be taken."""
MOST_EVENTS: Final = 256
"""That wait for their reader. When there are so many, nothing more is read, and other gateways wait."""
FLUSH_S: Final = 1.0
NO_ROOM: Final = "no room for more strangers"
_PER_ADDRESS, _STRANGER_S, _ANYBODY_S = 8, 10.0, 1.0
_PER_MINUTE: Final = 10
_LEAST_PER_MINUTE: Final = 200
"""So many may come, for each place and in all, that one address cannot use them up."""
_KEPT_FOR_KNOWN, _KEPT_FOR_OUTBOUND, _KEPT_FOR_NEWCOMERS = 5, 10, 10
"""One of so many places each; the last for who has not proved yet that it is no stranger."""
HEALTH: Final = HealthCheck(timeout_s=1.0, misses=2, round_trips=1.5, insists=True)
"""Who leaves two pings unanswered, each for a second or one and a half usual round trips, has vanished."""
CHANNEL: Final = ChannelConfig(linger_s=10.0)
"""What waits for a gateway that is gone is given up soon: others have carried it by then."""

OpenTransport = Callable[[Address, Gate], Transport]


class _Link:
    # A gateway that is connected. hello: None until it has said one; leaving: why we hang up; sending: messages that
    # are being handed over.
    def __init__(self, peer_id: bytes, now: float) -> None:
        self.peer_id = peer_id
        self.hello: Hello | None = None
        self.trusted = False
        self.since = now
        self.heard_at = now
        self.hellos = TokenBucket(MOST_HELLOS, HELLOS_PER_S)
        self.said_at = now
        self.due = asyncio.Event()
        self.leaving: str | None = None
        self.sending: set[asyncio.Timeout] = set()
        self.task: asyncio.Task[None] | None = None


class GatewayLinks:
    """The links of one gateway. own: its PeerId; open_transport: makes the transport for an address, with the gate that
    it is to ask; counts: what happened, by name. changed: called when somebody comes, goes, or says something new.
    """

    def __init__(
        self,
        own: bytes,
        config: FederationConfig,
        open_transport: OpenTransport,
        *,
        cache: PeerCache | None,
        rng: random.Random,
        counts: Counter[str],
        changed: Callable[[], None],
    ) -> None:
        self.bound: tuple[Address, ...] = ()
        """Where we listen."""
        self.gate = LinkGate(own, config, lambda: self._net.manager)
        self._config = config
        self._open = open_transport
        self._cache = cache
        self._counts = counts
        self._changed = changed
        self._hello = Hello("", ())
        self._hello_at = 0.0
        self._net = TransportCoordinator(self._manager(), config=CHANNEL, health=HEALTH, rng=rng)
        self._dialer = Dialer(
            self._connect, lambda peer: bool(self._net.transports_of(peer)), self.gate.trusts, own, rng
        )
        self._links: dict[bytes, _Link] = {}
        self._presence = Presence()
        self._events: asyncio.Queue[ExchangeEvent | None] = asyncio.Queue(MOST_EVENTS)
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self, hello: Hello) -> None:
        """Listen and dial. Raises what `Transport.listen` raises."""
        self._hello, self._hello_at = hello, _now()
        for address in self._config.listen:
            self._demand_transport(address)
            self.bound += (await self._net.listen(address),)
        self._reader = watched(self._read(), _FAILED)
        named: dict[bytes, list[Address]] = {}
        for peer in self._config.peers:
            if peer.peer_id is None:
                self._dialer.keep((peer.address,))
            else:
                named.setdefault(peer.peer_id, []).append(peer.address)
        for peer_id, addresses in named.items():
            self._dialer.keep(addresses, peer_id)

    async def stop(self) -> None:
        """Say what is left to say, for a moment, and hang up. Harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        await self._dialer.close()
        flushes = (self._net.flush(peer, timeout=FLUSH_S) for peer in self._net.peers)
        await asyncio.gather(*flushes, return_exceptions=True)
        await self._net.close()
        tasks = [task for task in (self._reader, *(link.task for link in self._links.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._links.clear()
        while not self._events.empty():
            self._events.get_nowait()
        self._events.put_nowait(None)

    def say(self, hello: Hello) -> None:
        """Say this of ourselves from now on; at once if it is news."""
        news = replace(hello, uptime_s=self._hello.uptime_s) != self._hello
        self._hello, self._hello_at = hello, _now()
        if news:
            for link in self._links.values():
                link.due.set()

    def configure(self, config: FederationConfig) -> None:
        """Go on with other trust; who is not welcome any more is hung up on."""
        self._config = config
        self.gate.configure(config)
        for link in self._links.values():
            link.due.set()

    def offer(self, found: Mapping[bytes, Sequence[Address]]) -> None:
        """Keep links with these, too, until they are offered no more."""
        if not self._stopped:
            self._dialer.offer(found)

    def views(self) -> tuple[GatewayView, ...]:
        """The gateways that can be reached now."""
        return tuple(self._view(link, link.hello) for link in self._links.values() if link.hello is not None)

    def uptime(self, peer_id: bytes) -> float | None:
        """The share of the time in which a gateway could be reached; None if it never could."""
        return self._presence.share(peer_id, _now())

    def latency_ms(self, peer_id: bytes) -> float | None:
        """There and back, None if it was not measured yet."""
        # What is exactly as assumed of a new transport was not.
        found = (each.latency_ms for each in self._net.metrics(peer_id).values())
        return min((ms for ms in found if ms != metrics.INITIAL.latency_ms), default=None)

    def is_silent(self, peer_id: bytes) -> bool:
        """Whether a stranger was dialled in vain so often that others come first."""
        return self._dialer.is_silent(peer_id)

    def troubles(self) -> dict[Address, str]:
        """Why there is no link with a gateway that is to be linked with."""
        return self._dialer.troubles()

    def refused(self) -> Counter[str]:
        """Connections that were refused, by reason."""
        return self.gate.refused + Counter(self._net.statistics().connections.refused)

    async def next_event(self) -> ExchangeEvent:
        """What happened next; waits for it. Raises TransportClosed after stop()."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise TransportClosed("the links of the gateway were closed")
        return event

    async def send(self, peer_id: bytes, data: bytes, traffic: Traffic) -> None:
        """Hand a message over. Raises NotConnected, also if the gateway goes meanwhile, DeviceTimeout, LimitReached."""
        link = self._links.get(peer_id)
        if link is None or link.hello is None:
            raise NotConnected("the gateway cannot be reached", device=peer_id.hex())
        await self._hand_over(link, data, traffic)

    def _manager(self) -> Callable[..., ConnectionManager]:
        config = self._config
        named = [peer.address for peer in config.peers]
        sources = [*(known_addresses(self._cache) if self._cache is not None else ()), *named]
        total = max(config.links, 1)
        limits = ConnectionLimits(
            max_total=total,
            # Before the handshake all that come from one router are alike, and a fleet may be behind one. Whoever is
            # not trusted is hung up on after it, unless the gateway is open to strangers: to that few are let in.
            max_per_address=_PER_ADDRESS if config.is_open else total,
            max_per_minute=max(_PER_MINUTE * total, _LEAST_PER_MINUTE),
            cooldown_s=_STRANGER_S if config.is_open else _ANYBODY_S,
            known_at_once=total,
            kept_for_known=total // _KEPT_FOR_KNOWN,
            kept_for_outbound=total // _KEPT_FOR_OUTBOUND,
        )
        admission = Admission(limits, known_sources=sources)
        return partial(ConnectionManager, is_known=self._is_known, admission=admission)

    def _is_known(self, peer_id: bytes) -> bool:
        return self.gate.trusts(peer_id) or (self._cache is not None and is_known_good(self._cache.get(peer_id)))

    def _demand_transport(self, address: Address) -> None:
        if any(isinstance(address, each.accepts) for each in self._net.manager.transports.values()):
            return
        self._net.register_transport(self._open(address, self.gate), TransportType.INTERNET)

    async def _connect(self, address: Address, peer_id: bytes | None) -> bytes:
        self._demand_transport(address)
        found = await self._net.connect(address, peer=peer_id)
        self.gate.found(found, address)
        return found

    async def _read(self) -> None:
        while True:
            try:
                event = await self._net.next_event()
            except TransportClosed:
                return
            match event:
                case TransportUp(peer_id):
                    self._link(peer_id)
                case TransportDown(peer_id, _, reason, remaining):
                    link = self._links.get(peer_id)
                    if link is not None and not remaining:
                        await self._lost(link, reason)
                case DataReceived(peer_id, data):
                    await self._received(peer_id, data)
                case Failed(peer_id, error):
                    self._counts["failed"] += 1
                    _log.info("A connection with a gateway failed: %s", error)

    def _link(self, peer_id: bytes) -> _Link:
        link = self._links.get(peer_id)
        if link is None:
            link = self._links[peer_id] = _Link(peer_id, _now())
            link.task = watched(self._attend(link), _FAILED)
        return link

    def _has(self, link: _Link) -> bool:
        return self._links.get(link.peer_id) is link

    async def _lost(self, link: _Link, reason: Ended | None) -> None:
        if not self._has(link):
            return
        del self._links[link.peer_id]
        self._changed()
        link.due.set()
        for sending in link.sending:
            if not sending.expired():
                sending.reschedule(_now())
        self._presence.went(link.peer_id, _now())
        self._dialer.lost(link.peer_id)
        if link.hello is not None:
            await self._events.put(GatewayDown(link.peer_id, link.leaving or self._why(link, reason)))

    async def _received(self, peer_id: bytes, data: bytes) -> None:
        link = self._links.get(peer_id)
        if link is None:
            if not self._net.transports_of(peer_id):
                self._counts["from nobody"] += 1
                return
            # That it is there was not told, for too much was to be.
            link = self._link(peer_id)
        link.heard_at = _now()
        message = decode(data)
        if message is None:
            self._counts["malformed"] += 1
            manager = self._net.manager
            for name in self._net.transports_of(peer_id)[:1]:
                manager.misbehaved(peer_id, name)
            if manager.blacklist.left_s(peer_id.hex(), _now()):
                link.leaving = str(Ended.MISBEHAVED)
        elif isinstance(message, Hello):
            await self._greeted(link, message)
        elif link.hello is None:
            self._counts["before its hello"] += 1
        else:
            await self._events.put(MessageCame(peer_id, message))

    async def _greeted(self, link: _Link, hello: Hello) -> None:
        now = _now()
        if not link.hellos.consume(now):
            self._counts["too many hellos"] += 1
            return
        before, link.hello = link.hello, hello
        if before is None:
            self._presence.came(link.peer_id, now)
        elif hello.run != before.run and now - link.said_at > 1.0:
            # It was started anew, and its connection took the place of the old one: it waits for our hello.
            link.due.set()
        if before is None or replace(hello, uptime_s=before.uptime_s) != before:
            await self._tell_up(link, hello)

    async def _attend(self, link: _Link) -> None:
        # Says hello now and then, and sees to it that the other one does.
        if self._is_one_too_many(link):
            link.leaving = NO_ROOM
            self.gate.refused[NO_ROOM] += 1
            await self._net.disconnect(link.peer_id)
        while self._has(link):
            link.due.clear()
            await self._say_hello(link)
            wake_at = link.said_at + HEARTBEAT_S
            if link.hello is None:
                wake_at = min(wake_at, link.since + HELLO_S)
            try:
                async with asyncio.timeout_at(wake_at):
                    await link.due.wait()
            except TimeoutError:
                pass
            if not self._has(link):
                return  # it may be back by now, and is attended to anew
            if not self._net.transports_of(link.peer_id):
                # That it has gone was not told, for too much was to be; or what it said before is still to be read.
                if not self._events.full():
                    await self._lost(link, None)
            elif (why := self._missed(link)) is not None:
                link.leaving = why
                self._counts[why] += 1
                await self._net.disconnect(link.peer_id)
            elif link.hello is not None and link.trusted != self.gate.trusts(link.peer_id):
                await self._tell_up(link, link.hello)

    async def _tell_up(self, link: _Link, hello: Hello) -> None:
        link.trusted = self.gate.trusts(link.peer_id)
        self._changed()
        await self._events.put(GatewayUp(self._view(link, hello)))

    def _why(self, link: _Link, reason: Ended | None) -> str:
        if reason is not Ended.LOCAL:
            return str(reason or Ended.LOST)
        # It is beneath that it was hung up on: for want of answers, or of room, which strangers make for known ones.
        return "it does not answer" if self.gate.trusts(link.peer_id) else "it does not answer, or there is no room"

    def _is_one_too_many(self, link: _Link) -> bool:
        # Strangers leave places in which others, who come from anywhere, can prove that they are trusted.
        total = self._config.links
        most = total - total // _KEPT_FOR_KNOWN - total // _KEPT_FOR_OUTBOUND
        most -= max(total // _KEPT_FOR_NEWCOMERS, 1) if total > 2 else 0
        strangers = [each for each in self._links.values() if not self.gate.trusts(each.peer_id)]
        return link in strangers[most:]

    def _missed(self, link: _Link) -> str | None:
        now = _now()
        if self._events.full():
            # It is we who do not listen.
            link.heard_at = link.since = now
        if link.hello is None and now - link.since >= HELLO_S:
            return "it said no hello"
        if now - link.heard_at >= SILENT_S:
            return "it said nothing for too long"
        if not self.gate.welcomes(link.peer_id):
            return "it is not trusted any more"
        return None

    async def _say_hello(self, link: _Link) -> None:
        now = _now()
        hello = replace(self._hello, uptime_s=self._hello.uptime_s + int(now - self._hello_at))
        link.said_at = now
        try:
            await self._hand_over(link, encode(hello), Traffic.INTERACTIVE)
        except BitrelayError as error:
            _log.info("A hello was not taken by %s: %s", link.peer_id.hex(), error)

    async def _hand_over(self, link: _Link, data: bytes, traffic: Traffic) -> None:
        try:
            async with asyncio.timeout(SEND_S) as deadline:
                link.sending.add(deadline)
                try:
                    await self._net.send(
                        link.peer_id, data, traffic=traffic, until_acknowledged=False, timeout=2 * SEND_S
                    )
                finally:
                    link.sending.discard(deadline)
        except TimeoutError:
            if not self._has(link):
                raise NotConnected("the gateway has gone", device=link.peer_id.hex()) from None
            raise DeviceTimeout("the gateway does not take messages", device=link.peer_id.hex()) from None

    def _view(self, link: _Link, hello: Hello) -> GatewayView:
        uptime = self.uptime(link.peer_id)
        return GatewayView(
            link.peer_id,
            hello,
            self.gate.trusts(link.peer_id),
            self.latency_ms(link.peer_id),
            1.0 if uptime is None else uptime,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
