"""The built-in engine: other gateways over connections of our own, secured by Noise (docs/protocol.md, "Between
gateways"). Which gateway a frame goes to is decided here; `gateway_links` has the connections.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import BadData, BitrelayError, LimitReached, NotConnected, TransportClosed, Unreachable
from ..identity.local import LocalIdentity
from ..identity.peer_cache import PeerCache
from ..transports.address import Address, HostAddress
from ..transports.fair_queue import Traffic
from ..transports.open import transport_for
from ..transports.secure_transport import Limits
from .config import FederationConfig, is_name, is_somewhere
from .discovery import Discovery
from .election import elected
from .exchange import Exchange, ExchangeEvent, GatewayView
from .gateway_links import GatewayLinks, OpenTransport
from .gateway_record import GatewayRecord
from .message import FrameMessage, Hello, Message, encode
from .selection import Candidate, Criteria, alike, select
from .stranger_dials import within_reach

_log = logging.getLogger(__name__)

POOL_S: Final = 1.0
"""For how long a choice of gateways for a mesh holds while nobody comes or goes."""
_MOST_POOLS: Final = 1024


class LinkExchange(Exchange):
    """Links with other gateways. own: has our identity, asked for every handshake.

    difficulty: of the proof of work that others must have at least. cache: of known peers, to whom the limits for
    strangers do not apply. find: meshes whose gateways are looked for beside those of ours. uptime: the share of the
    time in which we can be reached, for our record in the DHT. open_transport: what makes transports, if not
    `transport_for`. counts: what happened, by name. Use it in one event loop.
    """

    def __init__(
        self,
        own: Callable[[], LocalIdentity],
        config: FederationConfig,
        *,
        difficulty: int = DIFFICULTY_BASE,
        cache: PeerCache | None = None,
        discovery: Discovery | None = None,
        find: Iterable[str] = (),
        uptime: Callable[[], float] = lambda: 1.0,
        open_transport: OpenTransport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._own = own
        self._config = config
        self._criteria = Criteria(config.max_load, config.min_uptime, config.max_fee)
        self._cache = cache
        self._discovery = discovery
        self._find = tuple(find)
        self._uptime = uptime
        limits = Limits(base=difficulty)
        self._open = open_transport or (lambda address, gate: transport_for(address, own, gate=gate, limits=limits))
        self._random = rng or random.SystemRandom()
        self._hello = Hello("", ())
        self._started: GatewayLinks | None = None
        self._pools: dict[str, tuple[float, tuple[bytes, ...]]] = {}

    # Whether it is open decides on its limits, too.
    live = frozenset({"trust"})

    @property
    def bound(self) -> tuple[Address, ...]:
        """Where it listens."""
        return self._started.bound if self._started is not None else ()

    async def start(self, hello: Hello) -> None:
        """Raises what `Transport.listen` and `PeerCache.get` raise, too, and BadData for a hello that is none."""
        _encoded(hello)
        self._hello = hello
        self._started = GatewayLinks(
            self._own().keys.peer_id,
            self._config,
            self._open,
            cache=self._cache,
            rng=self._random,
            counts=self.counts,
            changed=self._pools.clear,
        )
        try:
            await self._started.start(hello)
        except BaseException:
            await self.stop()
            raise
        if self._discovery is not None:
            self._discovery.start(self, self._criteria, self._config.preference)

    def update(self, hello: Hello) -> None:
        """Raises BadData for a hello that is none."""
        _encoded(hello)
        self._hello = hello
        self._links.say(hello)

    def configure(self, config: FederationConfig) -> None:
        self._config = config
        if self._started is not None:
            self._started.configure(config)

    def gateways(self) -> Sequence[GatewayView]:
        return self._started.views() if self._started is not None else ()

    async def send(self, gateway: bytes, message: Message, traffic: Traffic) -> None:
        """Raises NotConnected, DeviceTimeout, LimitReached for too much traffic of this class, BadData."""
        if self._started is None:
            raise NotConnected("the gateway cannot be reached", device=gateway.hex())
        await self._started.send(gateway, _encoded(message), traffic)

    async def send_to_mesh(
        self, message: FrameMessage, author: bytes, traffic: Traffic, avoid: Collection[bytes] = ()
    ) -> bytes | None:
        """Raises LimitReached, too, for too much traffic of this class, and BadData."""
        data = _encoded(message)
        failed = set(avoid)
        while (gateway := elected(author, self._pool(message.target, failed))) is not None:
            try:
                await self._links.send(gateway, data, traffic)
                return gateway
            except LimitReached:
                raise
            except BitrelayError as error:
                _log.info("A frame was not taken by %s: %s", gateway.hex(), error)
                failed.add(gateway)
        raise Unreachable(f"no gateway can be reached that takes frames for {message.target}")

    async def next_event(self) -> ExchangeEvent:
        if self._started is None:
            raise TransportClosed("the links of the gateway were not opened")
        return await self._started.next_event()

    async def stop(self) -> None:
        if self._discovery is not None:
            await self._discovery.stop()
        if self._started is not None:
            await self._started.stop()

    def troubles(self) -> dict[str, str]:
        """Why there is no link with a gateway that is to be linked with, by its address; and why none is found of
        another mesh that is looked for, by its name."""
        if self._started is None:
            return {}
        own = {mesh.name for mesh in self._hello.meshes}
        sought = self._discovery.troubles if self._discovery is not None else {}
        unfound = {name: why for name, why in sought.items() if name not in own}
        return unfound | {str(at): why for at, why in self._links.troubles().items()}

    def refused(self) -> Counter[str]:
        """Connections that were refused, by reason: "not trusted", or the limit that said no."""
        return self._links.refused() if self._started is not None else Counter()

    def untrusted(self) -> Mapping[bytes, str]:
        if self._started is None:
            return {}
        return {peer_id: str(address) for peer_id, address in self._links.gate.untrusted.items()}

    # --- for discovery ---

    def wanted(self) -> Iterable[str]:
        """Our own meshes, for others that join them, those that they subscribe to by name, and those to be found."""
        meshes = self._hello.meshes
        subscribed = (name for mesh in meshes for name in mesh.subscribe if is_name(name))
        return (*(mesh.name for mesh in meshes), *subscribed, *self._find)

    def candidate(self, peer_id: bytes, record: GatewayRecord) -> Candidate | None:
        """What we measured counts; what nobody could is as the record says."""
        trusted = self._links.gate.trusts(peer_id)
        if not self._links.gate.welcomes(peer_id) or not (trusted or self._dialable(peer_id, record.addresses)):
            return None
        uptime = self._links.uptime(peer_id)
        if uptime is None and self._links.is_silent(peer_id):
            uptime = 0.0
        latency_ms = self._links.latency_ms(peer_id)
        return Candidate(
            peer_id,
            record.load / 100,
            record.uptime if uptime is None else uptime,
            record.fee,
            record.capacity,
            record.latency_ms if latency_ms is None else latency_ms,
            trusted,
        )

    def offer(self, found: Mapping[bytes, Sequence[HostAddress]]) -> None:
        # Who was found a while ago may not be trusted any more.
        self._links.offer(
            {
                peer_id: dialable
                for peer_id, addresses in found.items()
                if self._links.gate.welcomes(peer_id) and (dialable := self._dialable(peer_id, addresses))
            }
        )

    def records(self) -> Mapping[str, GatewayRecord]:
        reached = self._reached()
        latencies = sorted(view.latency_ms for view in self.gateways() if view.latency_ms is not None)
        hello = self._hello
        return {
            mesh.name: GatewayRecord(
                reached,
                mesh.downlink,
                mesh.uplink,
                hello.load,
                hello.fee,
                self._uptime(),
                latencies[len(latencies) // 2] if latencies else None,
                hello.capacity,
                mesh.geohash,
            )
            for mesh in hello.meshes
        }

    def _reached(self) -> tuple[HostAddress, ...]:
        # Where we say that others find us.
        addresses = self._config.announce or tuple(each for each in self._links.bound if is_somewhere(each))
        return tuple(each for each in addresses if isinstance(each, HostAddress))

    def _dialable(self, peer_id: bytes, addresses: Sequence[HostAddress]) -> Sequence[HostAddress]:
        return addresses if self._links.gate.trusts(peer_id) else within_reach(addresses, self._reached())

    # --- which gateway ---

    @property
    def _links(self) -> GatewayLinks:
        # There from the start on.
        assert self._started is not None
        return self._started

    def _pool(self, target: str, failed: Collection[bytes]) -> tuple[bytes, ...]:
        # Those that share the frames for a mesh.
        now = asyncio.get_running_loop().time()
        known = self._pools.get(target)
        if not failed and known is not None and now - known[0] < POOL_S:
            return known[1]
        candidates = [
            _candidate(view)
            for view in self.gateways()
            if view.peer_id not in failed and (mesh := view.hello.mesh(target)) is not None and mesh.downlink
        ]
        selection = select(candidates, self._criteria, self._config.preference)
        self.counts["degraded selections"] += selection.degraded
        pool = tuple(each.peer_id for each in alike(selection.candidates, self._config.preference))
        if not failed:
            if len(self._pools) >= _MOST_POOLS:
                self._pools.clear()
            self._pools[target] = now, pool
        return pool


def _candidate(view: GatewayView) -> Candidate:
    hello = view.hello
    return Candidate(
        view.peer_id, hello.load / 100, view.uptime, hello.fee, hello.capacity, view.latency_ms, view.trusted
    )


def _encoded(message: Message) -> bytes:
    try:
        return encode(message)
    except ValueError as error:
        raise BadData(f"the message cannot be sent: {error}") from None
