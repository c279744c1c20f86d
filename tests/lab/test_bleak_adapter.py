"""bleak's own calls on the virtual radio do what they do on a real one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakDeviceNotFoundError, BleakError

from bitrelay.lab.bleak_adapter import VirtualAdapter, adapter_of
from bitrelay.lab.phone import CHARACTERISTIC_UUID, SERVICE_UUID, Phone
from bitrelay.lab.radio import Radio

DEADLINE_S = 30.0


@pytest.fixture
async def radio() -> AsyncIterator[Radio]:
    radio = Radio(seed=1, air_speed=10.0)
    yield radio
    radio.close()


@pytest.fixture
async def phone(radio: Radio) -> AsyncIterator[Phone]:
    phone = Phone("alice", radio, dials=False, announce=False)
    await phone.start()
    yield phone
    await phone.stop()


@pytest.fixture
async def adapter(radio: Radio) -> AsyncIterator[VirtualAdapter]:
    async with adapter_of(radio.add("computer", "F0:00:00:00:00:01")) as adapter:
        yield adapter


async def test_a_client_finds_an_address_by_itself(adapter: VirtualAdapter, phone: Phone) -> None:
    gone = asyncio.Event()
    client = BleakClient(phone.identity.address, lambda _client: gone.set(), backend=adapter.client)
    async with asyncio.timeout(DEADLINE_S), client:
        assert client.is_connected and client.mtu_size == 517
        service = client.services.get_service(SERVICE_UUID)
        assert service is not None
        characteristic = service.get_characteristic(CHARACTERISTIC_UUID)
        assert characteristic is not None
        assert sorted(characteristic.properties) == ["notify", "read", "write", "write-without-response"]
        assert characteristic.max_write_without_response_size == 514
        assert await client.read_gatt_char(characteristic) == b""
        (descriptor,) = characteristic.descriptors
        assert await client.read_gatt_descriptor(descriptor) == b"\0\0"
        heard: asyncio.Queue[bytearray] = asyncio.Queue()
        await client.start_notify(characteristic, lambda _sender, value: heard.put_nowait(value))
        (link,) = await phone.wait_links(1, DEADLINE_S)
        assert await link.send(b"to the computer")
        assert await heard.get() == b"to the computer"
        await client.write_gatt_char(characteristic, b"to the phone", response=True)
        await client.write_gatt_char(characteristic, b"and without", response=False)
        await client.stop_notify(characteristic)
        assert not link.is_open
        assert link.received == 2
    assert gone.is_set() and not client.is_connected
    with pytest.raises(BleakError):
        await client.start_notify(characteristic, lambda _sender, _value: None)


async def test_an_address_that_is_not_there_is_not_found(adapter: VirtualAdapter, phone: Phone) -> None:
    client = BleakClient("F0:00:00:00:00:99", backend=adapter.client, timeout=0.3)
    with pytest.raises(BleakDeviceNotFoundError):
        await client.connect()


async def test_a_connection_that_breaks_ends_what_waits_for_it(radio: Radio, adapter: VirtualAdapter) -> None:
    phone = Phone("bob", radio, dials=False, announce=False)
    await phone.start()
    gone = asyncio.Event()
    found = await BleakScanner.find_device_by_address(phone.identity.address, DEADLINE_S, backend=adapter.scanner)
    assert found is not None
    client = BleakClient(found, lambda _client: gone.set(), backend=adapter.client)
    await client.connect()
    radio.jam("computer", "bob")
    with pytest.raises(BleakError):
        async with asyncio.timeout(DEADLINE_S):
            await client.read_gatt_char(CHARACTERISTIC_UUID)
    assert gone.is_set() and not client.is_connected
    await phone.stop()


async def test_a_call_that_is_given_up_leaves_the_adapter_free(adapter: VirtualAdapter, phone: Phone) -> None:
    found = await BleakScanner.find_device_by_address(phone.identity.address, DEADLINE_S, backend=adapter.scanner)
    assert found is not None
    phone.controller.le_legacy_advertiser.stop()
    client = BleakClient(found, backend=adapter.client, timeout=0.2)
    with pytest.raises(TimeoutError):
        await client.connect()
    call = asyncio.ensure_future(BleakClient(found, backend=adapter.client).connect())
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    phone.controller.le_legacy_advertiser.start()
    async with asyncio.timeout(DEADLINE_S), BleakClient(found, backend=adapter.client) as again:
        assert again.is_connected
