"""The virtual radio, seen through two Bumble hosts that know nothing of it."""

import asyncio
import contextlib

import pytest
from bumble import core, hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Device, Peer
from bumble.gatt import Characteristic, Service
from bumble.hci import Address
from bumble.host import Host

from bitrelay.lab.radio import Radio

SERVICE = UUID("F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
CHARACTERISTIC = UUID("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")
DEADLINE_S = 8
TIMEOUTS = (TimeoutError, core.TimeoutError)


def within(awaitable):
    return asyncio.wait_for(awaitable, DEADLINE_S)


@pytest.fixture
async def radio():
    radio = Radio(seed=1)
    yield radio
    radio.close()


async def power_on(radio, name, address, **options):
    controller = radio.add(name, address, random_address=True, **options)
    device = Device(name=name, address=Address(address), host=Host(controller, controller))
    device.config.le_simultaneous_enabled = False
    await device.power_on()
    return device


class Peripheral:
    """A device with one characteristic that can be written and notified."""

    def __init__(self, device):
        self.device = device
        self.written = asyncio.Queue()
        self.characteristic = Characteristic(
            CHARACTERISTIC,
            Characteristic.Properties.WRITE
            | Characteristic.Properties.WRITE_WITHOUT_RESPONSE
            | Characteristic.Properties.NOTIFY,
            Characteristic.WRITEABLE,
            b"",
        )
        self.characteristic.on("write", lambda _connection, value: self.written.put_nowait(bytes(value)))
        device.add_service(Service(SERVICE, [self.characteristic]))

    async def advertise(self, interval_ms=30):
        data = bytes(
            AdvertisingData([(AdvertisingData.FLAGS, b"\x06"), (AdvertisingData.MANUFACTURER_SPECIFIC_DATA, b"xyz")])
        )
        self.device.scan_response_data = bytes(AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, b"there")]))
        await self.device.start_advertising(
            advertising_data=data, advertising_interval_min=interval_ms, advertising_interval_max=interval_ms
        )


async def pair_of_devices(radio):
    central = await power_on(radio, "a", "F0:00:00:00:00:01")
    peripheral = Peripheral(await power_on(radio, "b", "F0:00:00:00:00:02"))
    await peripheral.advertise()
    return central, peripheral


async def first_reports(device, count, **options):
    reports = asyncio.Queue()
    device.on("advertisement", reports.put_nowait)
    await device.start_scanning(filter_duplicates=False, **options)
    found = [await within(reports.get()) for _ in range(count)]
    await device.stop_scanning()
    return found


async def test_a_scanner_hears_data_scan_response_and_level(radio):
    central, peripheral = await pair_of_devices(radio)
    radio.connect_edge("a", "b", rssi=-71)
    (report,) = await first_reports(central, 1, active=True)
    assert report.rssi == -71
    assert report.data.get(AdvertisingData.MANUFACTURER_SPECIFIC_DATA) is not None
    assert report.data.get(AdvertisingData.COMPLETE_LOCAL_NAME) == "there"
    assert report.is_connectable


async def test_a_link_carries_writes_and_notifications_of_512_bytes(radio):
    central, peripheral = await pair_of_devices(radio)
    connection = await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    peer = Peer(connection)
    assert await within(peer.request_mtu(517)) == 517
    await within(peer.discover_services())
    await within(peer.discover_characteristics())
    (remote,) = peer.get_characteristics_by_uuid(CHARACTERISTIC)
    notified = asyncio.Queue()
    await within(remote.subscribe(lambda value: notified.put_nowait(bytes(value))))
    await remote.write_value(bytes(range(256)) * 2, with_response=False)
    assert await within(peripheral.written.get()) == bytes(range(256)) * 2
    await peripheral.device.notify_subscribers(peripheral.characteristic, b"n" * 512)
    assert await within(notified.get()) == b"n" * 512
    await within(connection.disconnect())


async def test_a_jammed_link_dies_of_its_supervision_timeout_at_both_ends(radio):
    central, peripheral = await pair_of_devices(radio)
    connection = await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    ends = [connection, next(iter(peripheral.device.connections.values()))]
    reasons = [asyncio.get_running_loop().create_future() for _ in ends]
    for end, reason in zip(ends, reasons, strict=True):
        end.on("disconnection", reason.set_result)
    started = asyncio.get_running_loop().time()
    radio.jam("a", "b")
    assert await within(asyncio.gather(*reasons)) == [hci.HCI_CONNECTION_TIMEOUT_ERROR] * 2
    waited = asyncio.get_running_loop().time() - started
    assert waited >= connection.parameters.supervision_timeout / 1000 * 0.9


async def test_a_jam_shorter_than_the_timeout_only_delays(radio):
    central, peripheral = await pair_of_devices(radio)
    connection = await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    peer = Peer(connection)
    radio.jam("a", "b")
    request = asyncio.create_task(peer.request_mtu(100))
    await asyncio.wait([request], timeout=0.2)
    assert not request.done()
    radio.jam("a", "b", on=False)
    assert await within(request) == 100


async def test_nobody_connects_to_what_it_cannot_hear(radio):
    central, _peripheral = await pair_of_devices(radio)
    radio.move("b", 500, 0)
    assert radio.rssi("a", "b") is None
    with pytest.raises(TIMEOUTS):
        await central.connect(Address("F0:00:00:00:00:02"), timeout=0.3)
    radio.move("b", 5, 0)
    assert await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))


async def test_a_full_node_is_deaf_to_one_more(radio):
    peripheral = Peripheral(await power_on(radio, "b", "F0:00:00:00:00:02", max_links=1))
    first = await power_on(radio, "a", "F0:00:00:00:00:01")
    second = await power_on(radio, "c", "F0:00:00:00:00:03")
    await peripheral.advertise()
    kept = await within(first.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    await peripheral.advertise()
    with pytest.raises(TIMEOUTS):
        await second.connect(Address("F0:00:00:00:00:02"), timeout=0.3)
    assert kept.handle in first.connections
    await within(kept.disconnect())
    assert await within(second.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))


async def test_a_node_that_is_removed_says_nothing(radio):
    central, _peripheral = await pair_of_devices(radio)
    connection = await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    reason = asyncio.get_running_loop().create_future()
    connection.on("disconnection", reason.set_result)
    radio.remove("b")
    assert await within(reason) == hci.HCI_CONNECTION_TIMEOUT_ERROR


async def test_loss_delays_data_but_loses_none(radio):
    central, peripheral = await pair_of_devices(radio)
    connection = await within(central.connect(Address("F0:00:00:00:00:02"), timeout=DEADLINE_S))
    radio.set_loss(0.4)
    peer = Peer(connection)
    await within(peer.request_mtu(200))
    await within(peer.discover_services())
    await within(peer.discover_characteristics())
    (remote,) = peer.get_characteristics_by_uuid(CHARACTERISTIC)
    for number in range(30):
        await remote.write_value(bytes([number]) * 150, with_response=False)
    assert [(await within(peripheral.written.get()))[0] for _ in range(30)] == list(range(30))


async def test_a_host_behind_a_pty_is_a_host_like_any_other(radio):
    from bumble.transport.serial import open_serial_transport

    peripheral = Peripheral(await power_on(radio, "b", "F0:00:00:00:00:02"))
    await peripheral.advertise()
    path = radio.attach_pty(radio.add("p", "F0:00:00:00:00:09"))
    transport = await open_serial_transport(path)
    try:
        device = Device.with_hci(
            "p", Address("F0:00:00:00:00:09", Address.PUBLIC_DEVICE_ADDRESS), transport.source, transport.sink
        )
        await within(device.power_on())
        connection = await within(
            device.connect(Address("F0:00:00:00:00:02"), own_address_type=hci.OwnAddressType.PUBLIC, timeout=DEADLINE_S)
        )
        peer = Peer(connection)
        assert await within(peer.request_mtu(517)) == 517
        await within(peer.discover_services())
        assert any(service.uuid == SERVICE for service in peer.services)
    finally:
        with contextlib.suppress(Exception):
            await transport.close()


def test_distance_and_edges_decide_who_hears_whom():
    async def levels():
        radio = Radio()
        radio.add("a", "F0:00:00:00:00:01", (0, 0))
        radio.add("b", "F0:00:00:00:00:02", (10, 0))
        radio.add("c", "F0:00:00:00:00:03", (200, 0))
        by_distance = radio.rssi("a", "b"), radio.rssi("a", "c")
        radio.connect_edge("a", "c", -80)
        by_edge = radio.rssi("a", "b"), radio.rssi("c", "a")
        radio.disconnect_edge("a", "c")
        none_left = radio.rssi("a", "c")
        radio.close()
        return by_distance, by_edge, none_left

    assert asyncio.run(levels()) == ((-67.0, None), (None, -80), None)
