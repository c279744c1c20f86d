"""bleak's client on a Bumble host."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import CharacteristicPropertyName, gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble import att, hci
from bumble.device import Connection

from .bleak_errors import BUMBLE_ERRORS, bleak_errors
from .bleak_scanner import uuid_text

if TYPE_CHECKING:
    from .bleak_adapter import VirtualAdapter

MTU = 517
_ATT_HEADER = 3
# For the radio of a lab in another process, which may have stopped. Less than what callers give an adapter to hang up.
_HANG_UP_S = 1.5


class VirtualClient(BaseBleakClient):
    """One connection of the adapter. It asks for an MTU of 517 by itself, as BlueZ and macOS do."""

    adapter: ClassVar["VirtualAdapter"]

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        services: set[str] | None = None,
        **_platform: Any,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._target = getattr(address_or_ble_device, "details", None)
        self._wanted = services
        self._connection: Connection | None = None
        self._gone = asyncio.Event()

    @property
    def name(self) -> str:
        return self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        return int(self._connection.att_mtu) if self._connection else att.ATT_DEFAULT_MTU

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_options: Any) -> None:
        if self._connection is not None:
            raise BleakError("the client is connected already")
        self.adapter.demand()
        target = self._target or await self._search()
        async with asyncio.timeout(self._timeout):
            # A controller makes one connection at a time.
            async with self.adapter.dialling:
                connection = await self._dial(target)
            self._connection = connection
            self._gone.clear()
            self.adapter.clients.add(self)
            connection.on("disconnection", self._ended)
            try:
                with bleak_errors():
                    await connection.gatt_client.request_mtu(MTU)
                    self.services = await self._discover(connection)
            except BaseException:
                await self.disconnect()
                raise

    async def disconnect(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await connection.disconnect(hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR)
                await self._gone.wait()
        except (*BUMBLE_ERRORS, TimeoutError):
            self._ended(0)  # it has just ended by itself, or the adapter has, or that answers no more

    async def pair(self, *_args: Any, **_options: Any) -> None:
        raise NotImplementedError("the virtual adapter does not pair")

    async def unpair(self) -> None:
        raise NotImplementedError("the virtual adapter does not pair")

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_options: Any) -> bytearray:
        with bleak_errors():
            return bytearray(await self._open().gatt_client.read_value(characteristic.obj))

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **_options: Any) -> bytearray:
        with bleak_errors():
            return bytearray(await self._open().gatt_client.read_value(descriptor.obj))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        connection = self._open()
        with bleak_errors():
            await connection.gatt_client.write_value(characteristic.obj, bytes(data), with_response=response)
            queue = None if response else connection.device.host.get_data_packet_queue(connection.handle)
            if queue is not None:
                try:
                    # What came before has left, as far as a stack can know: no sender runs ahead of the air.
                    await queue.drain(connection.handle)
                except ValueError:
                    pass  # the connection has just gone

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        with bleak_errors():
            await self._open().gatt_client.write_value(descriptor.obj, bytes(data), with_response=True)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_options: Any
    ) -> None:
        self._open()
        with bleak_errors():
            await characteristic.obj.subscribe(lambda value: callback(bytearray(value)))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self._open()
        with bleak_errors():
            await characteristic.obj.unsubscribe(force=True)

    def _open(self) -> Connection:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection

    def _ended(self, _reason: int) -> None:
        if self._connection is None:
            return
        self._connection = None
        self.services = None
        self.adapter.clients.discard(self)
        self._gone.set()
        if self._disconnected_callback:
            self._disconnected_callback()

    async def _dial(self, target: hci.Address) -> Connection:
        device = self.adapter.device
        call = asyncio.get_running_loop().create_task(
            device.connect(target, own_address_type=hci.OwnAddressType.PUBLIC, timeout=None)
        )
        try:
            with bleak_errors():
                connection: Connection = await asyncio.shield(call)
                return connection
        except asyncio.CancelledError:
            # The controller goes on calling until it is told; it may have got through meanwhile.
            with suppress(TimeoutError):
                async with asyncio.timeout(_HANG_UP_S):
                    with suppress(*BUMBLE_ERRORS):
                        await device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
                    with suppress(*BUMBLE_ERRORS):
                        await (await call).disconnect()
            call.cancel()
            raise

    async def _search(self) -> hci.Address:
        # As BlueZ does with an address it has never seen.
        scanner = self.adapter.scanner(None, None, "active")  # type: ignore[call-arg]
        found: asyncio.Future[hci.Address] = asyncio.get_running_loop().create_future()

        def heard(device: BLEDevice, _advertisement: object) -> None:
            if device.address.lower() == self.address.lower() and not found.done():
                found.set_result(device.details)

        scanner.register_detection_callback(heard)
        await scanner.start()
        try:
            async with asyncio.timeout(self._timeout):
                return await found
        except TimeoutError:
            raise BleakDeviceNotFoundError(self.address, f"{self.address} was not found") from None
        finally:
            await scanner.stop()

    async def _discover(self, connection: Connection) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for proxy in await connection.gatt_client.discover_services():
            service = BleakGATTService(proxy, proxy.handle, uuid_text(proxy.uuid.to_bytes()))
            if self._wanted is not None and service.uuid not in self._wanted:
                continue
            found.add_service(service)
            for each in await proxy.discover_characteristics():
                properties: list[CharacteristicPropertyName] = list(gatt_char_props_to_strs(int(each.properties)))
                uuid = uuid_text(each.uuid.to_bytes())
                characteristic = BleakGATTCharacteristic(
                    each, each.handle, uuid, properties, lambda: self.mtu_size - _ATT_HEADER, service
                )
                found.add_characteristic(characteristic)
                for descriptor in await each.discover_descriptors():
                    kind = uuid_text(descriptor.type.to_bytes())
                    found.add_descriptor(BleakGATTDescriptor(descriptor, descriptor.handle, kind, characteristic))
        return found
