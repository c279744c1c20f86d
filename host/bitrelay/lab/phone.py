"""A virtual phone: it speaks the bitchat service as the apps do, in both roles at once (bitchat protocol, section 1).

A phone is an endpoint here: it sends, receives and announces itself, and relays nothing. Between two addresses there is
one link, as on the air: a phone does not dial a peer that has dialled it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from bumble import hci
from bumble.core import UUID, AdvertisingData, ProtocolError
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from shared_protocol.frame import MAX_TTL, TYPE_PING, TYPE_PONG, Header, encode, is_broadcast

from .phone_announcer import Announcer
from .phone_dialler import Dialler
from .phone_identity import MAX_NEIGHBORS, PhoneIdentity
from .phone_link import PhoneLink, Role
from .phone_peers import PeerTable, PeerView, Refusal, Verdict
from .phone_ping import PingAnswer, Pinger
from .phone_profile import PROFILES, RULES
from .phone_topology import Topology
from .radio import Radio
from .waiting import News, deadline

SERVICE_UUID = "F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C"
CHARACTERISTIC_UUID = "A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D"
MTU = 517

_SERVICE = UUID(SERVICE_UUID)

# A relay greets a phone that has not subscribed yet; a phone's stack drops that without a word.
logging.getLogger("bumble.gatt_client").addFilter(lambda record: "no subscriber" not in record.getMessage())

_ADVERTISING_INTERVAL_MS = 150.0
_CANCEL_AGAIN_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """A frame that reached a phone, the whole value that carried it, when (monotonic seconds) and on which link.

    refusal is why the app did nothing with it; None if it took it.
    """

    frame: bytes
    value: bytes
    at: float
    link: PhoneLink
    refusal: Refusal | None = None


class Phone:
    """One phone; it is on the radio's map at once and on the air after start().

    platform is "ios" or "android"; pace shortens what the app waits for on a new link, its first announce included (see
    PhoneProfile.hurried), announce_pace the intervals between announces (see AppRules.hurried). clock_offset_s is by
    how many seconds its clock is ahead.

    announce=False keeps it from announcing itself; dials and advertises say which of its two roles it plays.

    What has arrived is in `received`, whatever the app makes of it; peers is what it makes of it. What it knew of peers
    and their keys it knows after stop() and start(), too.
    """

    def __init__(
        self,
        name: str,
        radio: Radio,
        *,
        platform: str = "ios",
        position: tuple[float, float] | None = None,
        seed: int = 0,
        announce: bool = True,
        dials: bool = True,
        advertises: bool = True,
        pace: float = 1.0,
        announce_pace: float = 1.0,
        clock_offset_s: float = 0.0,
    ) -> None:
        self.name = name
        self.profile = PROFILES[platform].hurried(pace)
        self.rules = RULES[platform].hurried(announce_pace)
        self.clock_offset_s = clock_offset_s
        self.identity = PhoneIdentity(name, seed)
        self.links: list[PhoneLink] = []
        self.received: list[Arrival] = []
        self.on_frame: Callable[[Arrival], None] | None = None
        self.controller = radio.add(name, self.identity.address, position, self.profile.max_links, random_address=True)
        self._announces = announce
        self._dials = dials
        self._advertises = advertises
        self._random = random.Random(f"{name}/{seed}")
        self._device: Any = None
        self._characteristic: Any = None
        self._dialler: Dialler | None = None
        self._announcer: Announcer | None = None
        self._peers = PeerTable(self.rules, self.identity.peer_id, lambda: self.links)
        self._topology = Topology(self.rules)
        self._pinger = Pinger(self._random, self.rules.replies, self._send_to)
        self._news = News()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        """Whether its Bluetooth is switched on."""
        return self._device is not None

    @property
    def open_links(self) -> list[PhoneLink]:
        """The links frames can be sent on."""
        return [link for link in self.links if link.is_open]

    @property
    def peers(self) -> dict[bytes, PeerView]:
        """Whom the app knows at the moment, by id."""
        return self._peers.views(time.monotonic())

    @property
    def refusals(self) -> dict[Refusal, int]:
        """How many frames its app did nothing with, by reason."""
        return dict(self._peers.refusals)

    def now_ms(self) -> int:
        """What this phone takes the time to be: Unix milliseconds."""
        return time.time_ns() // 1_000_000 + round(self.clock_offset_s * 1000)

    async def start(self) -> None:
        """Switch Bluetooth on. Harmless when it is."""
        if self._device is not None:
            return
        address = hci.Address(self.identity.address, hci.Address.RANDOM_DEVICE_ADDRESS)
        self._device = Device(self.name, address, host=Host(self.controller, AsyncPipeSink(self.controller)))
        self._device.connect_own_address_type = hci.OwnAddressType.RANDOM
        self._add_service()
        self._device.on("connection", self._connected)
        await self._device.power_on()
        if self._advertises:
            await self._advertise()
        if self._dials:
            self._dialler = Dialler(self._device, bytes(_SERVICE), self.profile, lambda: self.links)
            self._task(self._dialler.run())
        if self._announces:
            self.start_announcing()

    def start_announcing(self) -> None:
        """Announce itself from now on as its app does, though it was told not to. Harmless when it does."""
        if self._announcer:
            return
        self._announcer = Announcer(self.rules, self.profile, self._random, self.announce, self._count_direct)
        self._task(self._announcer.run())
        for link in self.links:
            if link.ready.is_set():
                self._task(self._announcer.on(link), until=link)

    async def stop(self) -> None:
        """Switch Bluetooth off without a word to anybody."""
        if self._device is None:
            return
        device, self._device = self._device, None
        self._announcer = None
        self.controller.power_off()
        self.controller.set_packet_sink(None)
        tasks = list(self._tasks)
        # Bumble waits with wait_for(), which before Python 3.12 loses a cancellation that comes with the answer.
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self.links:
            link.close()
        self.links.clear()
        device.remove_all_listeners()

    async def send(self, frame: bytes) -> int:
        """Send a frame as the app does and wait until the air has taken it; returns on how many links it went out.

        A directed frame goes only to its first hop, or else to its recipient, if that is known to be at the end of a
        link. Otherwise every frame goes once to each peer: on one link to a known one, on every link whose peer never
        announced itself.
        """
        links = self._links_for(frame)
        return sum(await asyncio.gather(*(link.send(frame) for link in links)))

    async def announce(self) -> int:
        """Announce itself now; returns on how many links."""
        direct = self._peers.direct_ids(time.monotonic())[:MAX_NEIGHBORS]
        if self._announcer:
            self._announcer.announced(direct)
        return await self.send(self.identity.announce(self.now_ms(), direct, self.rules))

    def route_to(self, peer_id: bytes) -> tuple[bytes, ...] | None:
        """The hops on the way to a peer that its app would write into a frame: none to a neighbor; None for no way."""
        now = time.monotonic()
        return self._topology.route(self.identity.peer_id, self._peers.direct_ids(now), peer_id, now)

    async def send_routed(self, recipient: bytes, payload_type: int, payload: bytes, route: Sequence[bytes]) -> int:
        """Send a signed version-2 frame of this type along these hops; returns on how many links it went out."""
        frame = encode(
            payload_type,
            MAX_TTL,
            self.now_ms(),
            self.identity.peer_id,
            payload,
            version=2,
            recipient=recipient,
            route=tuple(route),
        )
        return await self.send(self.identity.signed(frame))

    async def ping(self, peer_id: bytes, timeout: float = 10.0) -> PingAnswer:
        """Ping a peer and wait for its answer. Raises DeviceTimeout."""
        async with deadline(timeout, self.name, f"no answer to a ping from {peer_id.hex()}"):
            return await self._pinger.ping(peer_id)

    async def wait_for(self, wanted: Callable[[Arrival], bool], timeout: float, start: int = 0) -> Arrival:
        """The first frame that arrived, from the start-th on, for which `wanted` is true. Raises DeviceTimeout."""
        async with deadline(timeout, self.name, "the frame waited for did not arrive"):
            at = start
            while True:
                for arrival in self.received[at:]:
                    at += 1
                    if wanted(arrival):
                        return arrival
                await self._news.wait()

    async def wait_until(self, question: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until the answer is yes; it is asked whenever something came or a link changed. Raises DeviceTimeout."""
        async with deadline(timeout, self.name, what):
            while not question():
                await self._news.wait()

    async def wait_links(self, count: int, timeout: float) -> list[PhoneLink]:
        """Wait until at least `count` links can be sent on. Raises DeviceTimeout."""
        await self.wait_until(lambda: len(self.open_links) >= count, timeout, f"has not {count} links")
        return self.open_links

    async def wait_peer(self, peer_id: bytes, timeout: float, direct: bool = True) -> PeerView:
        """Wait until a peer is known for sure, and with `direct` at the end of a link. Raises DeviceTimeout."""

        def is_listed() -> bool:
            peer = self.peers.get(peer_id)
            return peer is not None and peer.verified and (peer.is_direct or not direct)

        await self.wait_until(is_listed, timeout, f"does not list {peer_id.hex()}")
        return self.peers[peer_id]

    # --- links ---

    def _links_for(self, frame: bytes) -> list[PhoneLink]:
        header = Header()
        receivers = []
        if header.parse(frame, len(frame)) > 0 and not is_broadcast(frame, header):
            if header.route_count:
                receivers.append(frame[header.route_at : header.route_at + 8])
            receivers.append(frame[header.recipient_at : header.recipient_at + 8])
        chosen: dict[bytes, PhoneLink] = {}
        unknown = []
        # Its own write link first: that is the one iOS prefers to a peer that has both.
        for link in sorted(self.open_links, key=lambda link: link.role is not Role.CENTRAL):
            if link.peer_id is None:
                unknown.append(link)
            else:
                chosen.setdefault(link.peer_id, link)
        for receiver in receivers:
            if receiver in chosen:
                return [chosen[receiver]]
        return [*chosen.values(), *unknown]

    def _connected(self, connection: Connection) -> None:
        is_central = connection.role == hci.Role.CENTRAL
        link = PhoneLink(connection, Role.CENTRAL if is_central else Role.PERIPHERAL, self.profile, self._value_arrived)
        self.links.append(link)
        connection.on("disconnection", lambda reason: self._disconnected(link, reason))
        if self._dialler:
            self._task(self._dialler.connected(connection.peer_address, link.role))
        if is_central:
            self._task(self._set_up(link), until=link)
            return
        link.handle = self._characteristic.handle
        if self._advertises:
            self._task(self._advertise())

    def _disconnected(self, link: PhoneLink, reason: int) -> None:
        link.close(reason)
        if link in self.links:
            self.links.remove(link)
        if self._dialler:
            self._dialler.disconnected(link.connection.peer_address)
        if self._announcer:
            self._announcer.peers_changed()
        self._news.tell()

    async def _set_up(self, link: PhoneLink) -> None:
        # Section 1.3 (iOS, where the stack agrees on an MTU by itself) and 1.4 (Android).
        try:
            await asyncio.sleep(self.profile.mtu_delay_s)
            client = link.connection.gatt_client
            await client.request_mtu(MTU)
            services = await client.discover_service(_SERVICE)
            if not services:
                await link.disconnect()
                return
            characteristics = await services[0].discover_characteristics([UUID(CHARACTERISTIC_UUID)])
            if not characteristics:
                return  # the apps leave such a link idle
            link.handle = characteristics[0].handle
            await characteristics[0].subscribe(link.take)
            await asyncio.sleep(self.profile.ready_delay_s)
        except (ProtocolError, TimeoutError, hci.HCI_Error):
            await link.disconnect()
            return
        self._opened(link)

    def _opened(self, link: PhoneLink) -> None:
        link.ready.set()
        self._news.tell()
        if self._announcer:
            self._task(self._announcer.on(link), until=link)

    def _subscribed(self, connection: Connection, notify: bool, _indicate: bool) -> None:
        for link in self.links:
            if link.connection is connection:
                is_additive = self.profile.platform == "android" and notify
                link.subscriptions = link.subscriptions + 1 if is_additive else int(notify)
                if notify and not link.ready.is_set():
                    self._opened(link)
                elif not notify:
                    link.ready.clear()

    def _written(self, connection: Connection, value: bytes) -> None:
        for link in self.links:
            if link.connection is connection:
                link.take(value)

    # --- what arrives ---

    def _value_arrived(self, link: PhoneLink, value: bytes, frames: list[bytes]) -> None:
        now = time.monotonic()
        for frame in frames:
            verdict = self._peers.hear(frame, link, now, self.now_ms())
            arrival = Arrival(frame, value, now, link, verdict.refusal)
            self.received.append(arrival)
            if verdict.refusal is None:
                self._take(frame, verdict, link, now)
            if self.on_frame:
                self.on_frame(arrival)
        self._news.tell()

    def _take(self, frame: bytes, verdict: Verdict, link: PhoneLink, now: float) -> None:
        header = Header()
        header.parse(frame, len(frame))
        sender = verdict.sender
        if self._announcer:
            self._announcer.traffic_at = now
        if header.version == 2:
            self._topology.sent_v2(sender, now)
        if verdict.announce:
            if verdict.announce.neighbors is not None:  # one that lists nobody does not take back what was listed
                self._topology.claim(sender, verdict.announce.neighbors, now)
            if self._announcer:
                self._announcer.peers_changed()
                self._task(self._announcer.answer(sender, verdict.is_new))
        elif header.type in (TYPE_PING, TYPE_PONG) and frame[header.recipient_at :].startswith(self.identity.peer_id):
            payload = frame[header.payload_at : header.payload_at + header.payload_len]
            self._task(self._pinger.hear(header.type, header.ttl, sender, payload, link, now))

    async def _send_to(self, kind: int, recipient: bytes, payload: bytes) -> int:
        return await self.send(
            encode(kind, MAX_TTL, self.now_ms(), self.identity.peer_id, payload, recipient=recipient)
        )

    def _count_direct(self) -> int:
        return len(self._peers.direct_ids(time.monotonic()))

    # --- being found ---

    def _add_service(self) -> None:
        properties = Characteristic.Properties
        self._characteristic = Characteristic(
            CHARACTERISTIC_UUID,
            properties.READ | properties.WRITE | properties.WRITE_WITHOUT_RESPONSE | properties.NOTIFY,
            Characteristic.READABLE | Characteristic.WRITEABLE,
            CharacteristicValue(read=lambda _connection: b"", write=self._written),
        )
        self._characteristic.on("subscription", self._subscribed)
        self._device.add_service(Service(SERVICE_UUID, [self._characteristic]))

    async def _advertise(self) -> None:
        data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.FLAGS, b"\x06"),
                    (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(_SERVICE)),
                ]
            )
        )
        try:
            await self._device.start_advertising(
                advertising_data=data,
                advertising_interval_min=_ADVERTISING_INTERVAL_MS,
                advertising_interval_max=_ADVERTISING_INTERVAL_MS,
            )
        except hci.HCI_Error:
            pass  # a full controller refuses; the next link that ends starts it again

    # --- tasks ---

    def _task(self, work: Coroutine[Any, Any, None], until: PhoneLink | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if until is not None:
            until.connection.on("disconnection", lambda _reason: task.cancel())
