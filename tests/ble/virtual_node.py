"""A BitCraps node made of Bumble: the service, the advertisement, and what the test lets it say."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from bleak.exc import BleakGATTProtocolErrorCode
from bumble import att
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from bitrelay.ble.link import NOTIFY_UUID, WRITE_UUID
from bitrelay.ble.sighting import BITCRAPS_SERVICE
from bitrelay.lab.phone_identity import PhoneIdentity
from bitrelay.lab.radio import Radio
from shared_protocol import beacon, hello
from shared_protocol.frame import TYPE_HELLO, Header, encode

SERVICE = UUID(BITCRAPS_SERVICE)
DEADLINE_S = 30.0
# A value that a node refuses.
UNWANTED = b"unwanted"


async def until(question: Callable[[], object]) -> None:
    """Wait for something that tells nobody when it happens."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while not question():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)


def advertisement(*structures: tuple[int, bytes]) -> bytes:
    return bytes(AdvertisingData(list(structures)))


class VirtualNode:
    """greeting is the payload it answers a hello with, None for silence; announces itself then if announces.

    It says hello as greets_as, by default as itself. relayed is what it passes on, as it came, before it answers.
    """

    def __init__(
        self,
        name: str,
        radio: Radio,
        number: int,
        *,
        position: tuple[float, float] = (1.0, 0.0),
        beacon_data: bytes | None = None,
        greeting: bytes | None = b"",
        announces: bool = True,
        greets_as: bytes | None = None,
        relayed: Sequence[bytes] = (),
        address: str | None = None,
        max_links: int = 4,
        load: int = 10,
        free_links: int = 3,
        with_service: bool = True,
        interval_ms: float = 20,
    ) -> None:
        self.name = name
        self.radio = radio
        self.identity = PhoneIdentity(name)
        self.on_air_id = self.identity.peer_id
        self.address = address or f"F0:F1:F2:F3:F6:{number:02X}"
        self.controller = radio.add(name, self.address, position, max_links)
        self.written: asyncio.Queue[bytes] = asyncio.Queue()
        self.connections: list[Connection] = []
        self.subscribed = asyncio.Event()
        self._announces = announces
        self._greets_as = greets_as or self.on_air_id
        self.relayed = relayed
        self.greeting = hello.encode(on_air_id=self.on_air_id) if greeting == b"" else greeting
        if beacon_data is None:
            beacon_data = beacon.encode(1, 4, beacon.MESH_ROUTING, self.on_air_id, load, free_links)
        self.data = advertisement(
            (AdvertisingData.FLAGS, b"\x06"),
            (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(SERVICE)),
        )
        self.response = advertisement((AdvertisingData.SERVICE_DATA_128_BIT_UUID, bytes(SERVICE) + beacon_data))
        self._with_service = with_service
        self._interval_ms = interval_ms
        self._tasks: set[asyncio.Task[None]] = set()
        self.device: Any = None
        self.notify: Any = None

    async def start(self) -> None:
        self.device = Device(self.name, host=Host(self.controller, AsyncPipeSink(self.controller)))
        properties = Characteristic.Properties
        write = Characteristic(
            WRITE_UUID,
            properties.WRITE | properties.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=self._written),
        )
        self.notify = Characteristic(NOTIFY_UUID, properties.NOTIFY, Characteristic.READABLE, b"")
        self.notify.on("subscription", lambda _connection, on, _indicate: self.subscribed.set() if on else None)
        if self._with_service:
            self.device.add_service(Service(SERVICE, [write, self.notify]))
        self.device.on("connection", self._connected)
        await self.device.power_on()
        await self.advertise()

    async def advertise(self) -> None:
        self.device.scan_response_data = self.response
        await self.device.start_advertising(
            advertising_data=self.data,
            own_address_type=0,
            advertising_interval_min=self._interval_ms,
            advertising_interval_max=self._interval_ms,
        )

    def move(self, x: float, y: float = 0.0) -> None:
        self.radio.move(self.name, x, y)

    async def say(self, value: bytes) -> None:
        """Notify everybody who is subscribed."""
        await self.device.notify_subscribers(self.notify, value)

    async def next_written(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.written.get()

    def _connected(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.on("disconnection", lambda _reason: self.connections.remove(connection))
        self._task(self.advertise())

    def _written(self, _connection: Connection, value: bytes) -> None:
        if value == UNWANTED:
            raise att.ATT_Error(BleakGATTProtocolErrorCode.VALUE_NOT_ALLOWED)
        header = Header()
        if header.parse(value, len(value)) > 0 and header.type == TYPE_HELLO:
            self._task(self._greet())
        self.written.put_nowait(bytes(value))

    async def _greet(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        for frame in self.relayed:
            await self.say(frame)
        if self.greeting is not None:
            await self.say(encode(TYPE_HELLO, hello.TTL, now_ms, self._greets_as, self.greeting))
        if self._announces:
            await self.say(self.identity.announce(now_ms))

    def _task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
