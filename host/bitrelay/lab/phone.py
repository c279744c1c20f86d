"""A virtual phone: it speaks the bitchat service as the apps do, in both roles at once (bitchat protocol, section 1).

A phone is an endpoint here: it sends, receives and announces itself, and relays nothing. Between two addresses there is
one link, as on the air: a phone does not dial a peer that has dialled it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bumble import hci
from bumble.core import UUID, AdvertisingData, ProtocolError
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from shared_protocol.frame import Header, is_broadcast

from .phone_dialler import Dialler
from .phone_identity import PhoneIdentity, announced_id
from .phone_link import PhoneLink, Role
from .phone_profile import PROFILES
from .radio import Radio
from .waiting import News, deadline

SERVICE_UUID = "F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C"
CHARACTERISTIC_UUID = "A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D"
MTU = 517

_SERVICE = UUID(SERVICE_UUID)

_ADVERTISING_INTERVAL_MS = 150.0
_CANCEL_AGAIN_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """A frame that reached a phone, the whole value that carried it, when (monotonic seconds) and on which link."""

    frame: bytes
    value: bytes
    at: float
    link: PhoneLink


class Phone:
    """One phone; it is on the radio's map at once and on the air after start().

    platform is "ios" or "android"; pace shortens what only waits (see PhoneProfile.hurried).

    announce=False keeps it from announcing itself; dials and advertises say which of its two roles it plays.
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
    ) -> None:
        self.name = name
        self.profile = PROFILES[platform].hurried(pace)
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
            self._task(self._announce_at_intervals())

    async def stop(self) -> None:
        """Switch Bluetooth off without a word to anybody."""
        if self._device is None:
            return
        device, self._device = self._device, None
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

        A directed frame goes only to its recipient if that is known to be at the end of a link. Otherwise every frame
        goes once to each peer: on one link to a known one, on every link whose peer never announced itself.
        """
        links = self._links_for(frame)
        return sum(await asyncio.gather(*(link.send(frame) for link in links)))

    async def announce(self) -> int:
        """Announce itself now; returns on how many links."""
        return await self.send(self.identity.announce(time.time_ns() // 1_000_000))

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

    async def wait_links(self, count: int, timeout: float) -> list[PhoneLink]:
        """Wait until at least `count` links can be sent on. Raises DeviceTimeout."""
        async with deadline(timeout, self.name, f"has not {count} links"):
            while len(self.open_links) < count:
                await self._news.wait()
        return self.open_links

    # --- links ---

    def _links_for(self, frame: bytes) -> list[PhoneLink]:
        header = Header()
        recipient = None
        if header.parse(frame, len(frame)) > 0 and not is_broadcast(frame, header):
            recipient = frame[header.recipient_at : header.recipient_at + 8]
        chosen: dict[bytes, PhoneLink] = {}
        unknown = []
        # Its own write link first: that is the one iOS prefers to a peer that has both.
        for link in sorted(self.open_links, key=lambda link: link.role is not Role.CENTRAL):
            if link.peer_id is None:
                unknown.append(link)
            else:
                chosen.setdefault(link.peer_id, link)
        if recipient in chosen:
            return [chosen[recipient]]
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
        if self._announces:
            self._task(self._announce_on(link), until=link)

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

    def _value_arrived(self, link: PhoneLink, value: bytes, frames: list[bytes]) -> None:
        now = time.monotonic()
        for frame in frames:
            arrival = Arrival(frame, value, now, link)
            peer_id = announced_id(frame, validated=self.profile.platform == "android")
            if peer_id is not None and link.peer_id is None:
                link.peer_id = peer_id
            self.received.append(arrival)
            if self.on_frame:
                self.on_frame(arrival)
        self._news.tell()

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

    # --- announcing ---

    async def _announce_on(self, link: PhoneLink) -> None:
        await asyncio.sleep(self.profile.announce_delay_s)
        link.post(self.identity.announce(time.time_ns() // 1_000_000))

    async def _announce_at_intervals(self) -> None:
        while True:
            if any(link.peer_id for link in self.links):
                jitter = self.profile.announce_jitter_s
                await asyncio.sleep(self.profile.announce_every_s + self._random.uniform(-jitter, jitter))
            elif self.profile.announce_alone_s is not None:
                await asyncio.sleep(self.profile.announce_alone_s)
            else:
                await self._news.wait()
                continue
            await self.announce()

    # --- tasks ---

    def _task(self, work: Coroutine[Any, Any, None], until: PhoneLink | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if until is not None:
            until.connection.on("disconnection", lambda _reason: task.cancel())
