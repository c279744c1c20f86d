"""Computers of other processes on a lab's radio: each connection to the socket is an adapter, and goes with it."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError
from bumble import hci

from bitrelay.ble.adapter import Adapter
from bitrelay.ble.clock import SystemClock
from bitrelay.ble.discovery import Discovery
from bitrelay.errors import NoBluetooth
from bitrelay.lab.bleak_adapter import VirtualAdapter, adapter_at
from bitrelay.lab.hci_server import MAX_COMPUTERS, HciServer
from bitrelay.lab.phone import Phone
from bitrelay.lab.radio import Radio

DEADLINE_S = 30.0


@pytest.fixture
async def radio() -> AsyncIterator[Radio]:
    radio = Radio(seed=1)
    yield radio
    radio.close()


@pytest.fixture
async def server(radio: Radio) -> AsyncIterator[HciServer]:
    server = HciServer(radio)
    yield server
    await server.close()


async def until_empty(server: HciServer) -> None:
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while server.computers:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def hears(adapter: VirtualAdapter, phone: Phone) -> bool:
    address = phone.identity.address
    return await BleakScanner.find_device_by_address(address, DEADLINE_S, backend=adapter.scanner) is not None


async def test_two_computers_hear_a_phone_and_leave_nothing(radio: Radio, server: HciServer, tmp_path: Path) -> None:
    socket = await server.open(tmp_path)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    phone = Phone("alice", radio, dials=False)
    await phone.start()
    async with adapter_at(socket, "one") as one, adapter_at(socket, "two") as two:
        assert len(server.computers) == 2
        assert await asyncio.gather(hears(one, phone), hears(two, phone)) == [True, True]
    await until_empty(server)
    # Its name and address are free for the next one.
    async with adapter_at(socket, "three") as three:
        assert await hears(three, phone)
    await phone.stop()
    await server.close()
    assert not socket.exists()
    with pytest.raises(NoBluetooth):
        async with adapter_at(socket, "late"):
            pass


async def test_there_is_room_for_so_many_and_no_more(server: HciServer, tmp_path: Path) -> None:
    socket = await server.open(tmp_path)
    writers = [(await asyncio.open_unix_connection(socket))[1] for _ in range(MAX_COMPUTERS)]
    with pytest.raises(NoBluetooth, match="no room"):
        async with adapter_at(socket, "one too many", timeout=2.0):
            pass
    await hang_up(writers[0])
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while len(server.computers) == MAX_COMPUTERS:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)
    async with adapter_at(socket, "next"):
        pass
    for writer in writers:
        await hang_up(writer)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff", bytes(9), b"\x01\x03\x0c\x05abcde", b"\x01\xff\xff\x00", b"\x02\xff\xff\xff\xff" + bytes(70000),
     b"\x04\x0e\x01\x00"],
)  # fmt: skip
async def test_garbage_stops_neither_the_radio_nor_the_others(
    radio: Radio, server: HciServer, tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await server.open(tmp_path)
    phone = Phone("alice", radio, dials=False)
    await phone.start()
    _, writer = await asyncio.open_unix_connection(socket)
    writer.write(garbage)
    await writer.drain()
    async with adapter_at(socket, "good") as good:
        assert await hears(good, phone)
    await hang_up(writer)
    await until_empty(server)
    await phone.stop()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_lab_that_ends_is_no_surprise_to_a_computer_that_scans(
    radio: Radio, server: HciServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await server.open(tmp_path)
    phone = Phone("alice", radio, dials=False)
    await phone.start()
    with pytest.raises(BleakError):
        async with adapter_at(socket, "one") as one, BleakScanner(backend=one.scanner) as scanner:
            async for _device, _advertisement in scanner.advertisement_data():
                break
            await server.close()
            await until_empty(server)
            await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.exc_info]
    await phone.stop()


class During(SystemClock):
    """A clock on which something happens during a scan; then it goes on until it is cancelled, or is over."""

    def __init__(self, act: Callable[[], None], *, is_endless: bool = False) -> None:
        self.act = act
        self.is_endless = is_endless
        self.has_acted = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.act()
        self.has_acted.set()
        if self.is_endless:
            await asyncio.Event().wait()


def stop(server: HciServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stopped process does: its sockets take what comes, and nothing is answered."""
    for computer in server.computers.values():
        monkeypatch.setattr(computer, "data_received", lambda _data: None)


def discovery_on(virtual: VirtualAdapter, clock: SystemClock) -> Discovery:
    adapter = Adapter(virtual.name, virtual.scanner, virtual.client)
    return Discovery(adapter, clock=clock, start_timeout_s=0.2, stop_timeout_s=0.2)


async def test_a_lab_that_stops_answering_costs_a_scan_no_more_than_its_deadlines(
    server: HciServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await server.open(tmp_path)
    async with asyncio.timeout(DEADLINE_S), adapter_at(socket, "one") as one:
        discovery = discovery_on(one, During(lambda: stop(server, monkeypatch)))
        for _ in ("it stops during a scan", "it has stopped"):
            with pytest.raises(NoBluetooth, match="one does not answer: nothing for 0.2 s") as caught:
                await discovery.scan()
            assert caught.value.hint
    async with asyncio.timeout(DEADLINE_S):
        monkeypatch.setattr("bitrelay.lab.hci_server._Computer.data_received", lambda _computer, _data: None)
        with pytest.raises(NoBluetooth, match="does not answer"):
            async with adapter_at(socket, "late", timeout=0.2):
                pass


async def test_a_scan_that_is_cancelled_ends_as_such_though_the_lab_has_stopped(
    server: HciServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await server.open(tmp_path)
    async with asyncio.timeout(DEADLINE_S), adapter_at(socket, "one") as one:
        clock = During(lambda: stop(server, monkeypatch), is_endless=True)
        running = asyncio.ensure_future(discovery_on(one, clock).run())
        await clock.has_acted.wait()
        running.cancel()
        await asyncio.wait({running}, timeout=DEADLINE_S / 2)
        assert running.cancelled()


async def test_an_adapter_closes_in_time_though_the_lab_has_stopped(
    radio: Radio, server: HciServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await server.open(tmp_path)
    phones = [Phone(name, radio, dials=False) for name in ("alice", "bob", "carol")]
    async with asyncio.timeout(DEADLINE_S):
        async with adapter_at(socket, "one") as one:
            ended: list[BleakClient] = []
            for phone in phones:
                await phone.start()
            for phone in phones[:2]:
                await BleakClient(phone.identity.address, ended.append, backend=one.client).connect()
            stop(server, monkeypatch)
            # One that is being connected meanwhile is given up as well.
            device = hci.Address(phones[2].identity.address, hci.AddressType.PUBLIC_DEVICE)
            last = BLEDevice(phones[2].identity.address, None, device)
            start = time.monotonic()
            with pytest.raises(TimeoutError):
                await BleakClient(last, timeout=0.2, backend=one.client).connect()
            assert time.monotonic() - start < 0.2 + 2.0
            start = time.monotonic()
        assert time.monotonic() - start < 2.0
        assert len(ended) == 2 and not one.clients
        for phone in phones:
            await phone.stop()
