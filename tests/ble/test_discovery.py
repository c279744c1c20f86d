"""Scanning on the virtual radio: real advertisements, by plain bleak, into the table of peers."""

import asyncio
import math
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError
from bumble.core import AdvertisingData
from virtual_node import DEADLINE_S, SERVICE, VirtualNode, advertisement, until

from bitrelay.ble.adapter import Adapter
from bitrelay.ble.clock import SystemClock
from bitrelay.ble.discovery import Discovery
from bitrelay.ble.events import DiscoveryError, Event, PeerDisconnected, PeerDiscovered, PeerRangeChanged
from bitrelay.ble.peers import DiscoveredPeer
from bitrelay.ble.sighting import Rejection, Services
from bitrelay.errors import DeviceError, ExitCode, NoBluetooth
from bitrelay.lab.phone import Phone
from bitrelay.lab.radio import Radio

MakeNode = Callable[..., Awaitable[VirtualNode]]


class ScanUntil(SystemClock):
    """A clock on which a scan lasts until a condition holds, and the pause between two no time."""

    def __init__(self, is_enough: Callable[[], bool], ahead_s: float = 0.0) -> None:
        self.is_enough = is_enough
        self.ahead_s = ahead_s
        self.slept: list[float] = []

    def now(self) -> float:
        return super().now() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        if seconds > 1.0:
            await until(self.is_enough)


async def scan_until(discovery: Discovery, is_enough: Callable[[], bool]) -> None:
    discovery.clock = ScanUntil(is_enough)
    await discovery.scan()


def peer_of(discovery: Discovery, node: VirtualNode) -> DiscoveredPeer:
    (peer,) = [peer for peer in discovery.peers if peer.on_air_id == node.on_air_id]
    return peer


@pytest.mark.requirement("BLE-07", "DSC-07", "DSC-09", "DSC-15")
async def test_each_node_is_found_once_with_what_it_tells_of_itself(adapter: Adapter, make_node: MakeNode) -> None:
    near, far = await make_node("near", load=42, free_links=1), await make_node("far", position=(10.0, 0.0))
    events: list[Event] = []
    discovery = Discovery(adapter, on_event=events.append)
    await scan_until(discovery, lambda: sum(peer.sightings for peer in discovery.peers) >= 10)
    assert sorted(type(event).__name__ for event in events) == ["PeerDiscovered", "PeerDiscovered"]
    peer = peer_of(discovery, near)
    assert peer.beacon is not None
    assert (peer.beacon.version, peer.beacon.capabilities) == ((1, 4), 0x02)
    assert (peer.beacon.load, peer.beacon.free_links) == (42, 1)
    assert (peer.device_address, peer.services, peer.is_connected) == (near.address, Services.BITCRAPS, False)
    assert (peer.rssi, peer_of(discovery, far).rssi) == (-40, -60)
    assert peer.distance == pytest.approx(10 ** (-19 / 20), rel=1e-6)
    assert peer_of(discovery, far).distance == pytest.approx(10 ** (1 / 20), rel=1e-6)
    assert peer.first_seen <= peer.last_seen and peer.connection_attempts == 0


async def test_advertisements_that_are_lost_delay_and_do_no_more(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    radio.set_loss(0.6)
    nodes = [await make_node(f"node{n}") for n in range(3)]
    discovery = Discovery(adapter)
    await scan_until(discovery, lambda: len(discovery.peers) == 3 and discovery.peers.ignored > 0)
    assert {peer.on_air_id for peer in discovery.peers} == {node.on_air_id for node in nodes}
    assert all(peer.beacon for peer in discovery.peers)


async def test_a_node_that_changes_its_address_stays_the_same_peer(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    first = await make_node("node", address="F0:F1:F2:F3:F6:51")
    discovery = Discovery(adapter)
    await scan_until(discovery, lambda: len(discovery.peers) == 1)
    before = peer_of(discovery, first)
    first.controller.power_off()
    radio.remove("node")
    second = await make_node("node", address="F0:F1:F2:F3:F6:52")
    await scan_until(discovery, lambda: peer_of(discovery, second).device_address == second.address)
    after = peer_of(discovery, second)
    assert (len(discovery.peers), after.number, after.first_seen) == (1, before.number, before.first_seen)


async def test_a_phone_is_seen_and_its_service_told(radio: Radio, adapter: Adapter) -> None:
    phone = Phone("alice", radio, position=(2.0, 0.0), dials=False)
    await phone.start()
    discovery = Discovery(adapter)
    await scan_until(discovery, lambda: len(discovery.peers) == 1)
    (peer,) = discovery.peers
    assert (peer.services, peer.on_air_id, peer.beacon) == (Services.BITCHAT, None, None)
    await phone.stop()


@pytest.mark.requirement("DSC-21")
async def test_hostile_advertisements_make_no_peer_and_stop_nothing(adapter: Adapter, make_node: MakeNode) -> None:
    rng = random.Random(7)
    good = await make_node("good")
    bad = await make_node("bad")
    uuids = (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(SERVICE))
    kind = AdvertisingData.SERVICE_DATA_128_BIT_UUID
    responses = [advertisement((kind, bytes(SERVICE) + rng.randbytes(size))) for size in (0, 1, 12)]
    responses += [b"", b"\x00" * 31, b"\xff" * 31, b"\x1f\x21" + bytes(SERVICE), *(rng.randbytes(31) for _ in range(4))]
    discovery = Discovery(adapter, any_name=True)
    for data in (advertisement(uuids), rng.randbytes(31)):
        for response in responses:
            bad.data, bad.response = data, response
            await bad.advertise()
            heard = discovery.rejected.total() + discovery.peers.ignored
            await scan_until(
                discovery, lambda heard=heard: discovery.rejected.total() + discovery.peers.ignored > heard + 1
            )
    assert discovery.rejected[Rejection.MALFORMED] > 0
    assert [peer.on_air_id for peer in discovery.peers] == [good.on_air_id]


@pytest.mark.requirement("DSC-12")
async def test_a_peer_that_comes_nearer_or_goes_away_is_told(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("walker", position=(100.0, 0.0))
    events: list[Event] = []
    discovery = Discovery(adapter, on_event=events.append)
    await scan_until(discovery, lambda: len(discovery.peers) == 1)
    for x in (50.0, 10.0, 2.0, 10.0, 50.0):
        node.move(x)
        target = -40 - 20 * math.log10(x)
        await scan_until(discovery, lambda target=target: abs(peer_of(discovery, node).level - target) < 1)
    told = [event.distance for event in events if isinstance(event, PeerRangeChanged)]
    turn = told.index(min(told))
    assert 0 < turn < len(told) - 1
    assert told[: turn + 1] == sorted(told[: turn + 1], reverse=True)
    assert told[turn:] == sorted(told[turn:])
    # Standing still tells nothing.
    count = len(events)
    seen = peer_of(discovery, node).sightings
    await scan_until(discovery, lambda: peer_of(discovery, node).sightings > seen + 10)
    assert len(events) == count


@pytest.mark.requirement("DSC-01", "DSC-02", "DSC-06", "DSC-11")
async def test_it_scans_four_seconds_in_five_and_forgets_who_is_gone(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    events: list[Event] = []
    discovery = Discovery(adapter, on_event=events.append)
    clock = discovery.clock = ScanUntil(lambda: len(discovery.peers) > 0 or clock.ahead_s > 0)
    running = asyncio.ensure_future(discovery.run())
    await until(lambda: len(clock.slept) >= 4)
    assert clock.slept[:4] == [4.0, 1.0, 4.0, 1.0]
    node.controller.power_off()
    clock.ahead_s = 29.0
    rounds = len(clock.slept)
    await until(lambda: len(clock.slept) >= rounds + 6)
    assert [type(event) for event in events] == [PeerDiscovered]
    clock.ahead_s = 61.0
    await until(lambda: not len(discovery.peers))
    running.cancel()
    assert [type(event) for event in events] == [PeerDiscovered, PeerDisconnected]
    assert isinstance(events[-1], PeerDisconnected) and events[-1].reason == "unseen"


@pytest.mark.requirement("DSC-13")
async def test_a_scan_that_fails_is_told_and_tried_again(adapter: Adapter, make_node: MakeNode) -> None:
    await make_node("node")
    events: list[Event] = []
    discovery = Discovery(adapter, on_event=events.append)
    clock = discovery.clock = ScanUntil(lambda: True)
    other = BleakScanner(backend=adapter.scanner)
    await other.start()
    running = asyncio.ensure_future(discovery.run())
    await until(lambda: len(events) >= 2)
    assert all(isinstance(event, DiscoveryError) and isinstance(event.error, DeviceError) for event in events)
    await other.stop()
    clock.is_enough = lambda: len(discovery.peers) > 0
    await until(lambda: len(discovery.peers))
    running.cancel()
    with pytest.raises(BleakError):
        async with other, BleakScanner(backend=adapter.scanner):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Bluetooth is not reached over D-Bus")
async def test_a_message_bus_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[asyncio.StreamReader] = []
    taken: list[asyncio.StreamWriter] = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        readers.append(reader)
        taken.append(writer)

    bus = tmp_path / "bus"
    server = await asyncio.start_unix_server(take, bus)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={bus}")
    discovery = Discovery(start_timeout_s=0.2)
    for _ in range(2):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(NoBluetooth, match="bluetooth does not answer: nothing for 0.2 s") as caught:
                await discovery.scan(0.0)
        assert caught.value.exit_code is ExitCode.NO_BLUETOOTH and caught.value.hint
    # Each try is one of its own, and leaves nothing open.
    assert len(taken) == 2
    async with asyncio.timeout(DEADLINE_S):
        for reader in readers:
            await reader.read()
            assert reader.at_eof()
    server.close()
    for writer in taken:
        writer.close()
