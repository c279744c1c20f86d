"""Relays as peers of a computer: frames go into their mesh, and what they hear comes out."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
from relays import DEADLINE_S, on_air_id, open_console, wait_links

from bitrelay import ports
from bitrelay.ble.session import LocalNode
from bitrelay.ble.survey import lab_adapter
from bitrelay.errors import BadData, HandshakeFailed, NotConnected, WrongAddress
from bitrelay.lab.lab import Lab
from bitrelay.lab.phone import Phone
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.transports.address import Bluetooth, Serial, Tcp
from bitrelay.transports.relay_transport import BleTransport, RelayTransport, SerialTransport
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Event
from shared_protocol.frame import TTL, TYPE_MESSAGE, encode

HUB = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=(PhoneSpec("alice", announce=False),),
    edges=(Edge("alice", "hub"),),
)


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield


def message(sender: bytes, text: bytes) -> bytes:
    return encode(TYPE_MESSAGE, 7, time.time_ns() // 1_000_000, sender, text)


async def until(transport: RelayTransport, wanted: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        while not wanted(event := await transport.next_event()):
            pass
        return event


async def exchange(transport: RelayTransport, peer: bytes, alice: Phone) -> None:
    """One frame each way, between the transport's user and a phone behind the relay."""
    out = message(b"computer", b"to the phone by " + type(transport).__name__.encode())
    await transport.send(peer, out)
    arrival = await alice.wait_for(lambda one: b"to the phone by" in one.frame and one.frame[3:] == out[3:], DEADLINE_S)
    assert arrival.frame[:TTL] == out[:TTL]
    back = message(b"alice   ", b"to the computer")
    await alice.send(back)

    def is_it(event: Event) -> bool:
        return isinstance(event, DataReceived) and event.data[3:] == back[3:] and event.peer_id == peer

    await until(transport, is_it)
    with pytest.raises(BadData):
        await transport.send(peer, bytes(513))


@pytest.mark.requirement("TRN-01")
async def test_a_computer_is_in_the_mesh_by_cable_and_by_bluetooth() -> None:
    async with Lab(HUB) as lab:
        await lab.ready()
        hub, alice = lab.boards["hub"], lab.phones["alice"]
        await on_air_id(hub)
        async with await open_console(hub) as console:
            peer = bytes(console.info["peer_id"])
            address = bytes(console.info["address"]).hex(":").upper()
            await wait_links(console, 1, lambda link: link["state"] == "ready")

        serial = SerialTransport()
        try:
            with pytest.raises(WrongAddress):
                await serial.connect(Tcp("127.0.0.1", 1))
            with pytest.raises(HandshakeFailed):
                await serial.connect(Serial(hub.port), expected=bytes(32))
            assert await serial.connect(Serial(hub.port), expected=peer) == peer
            assert await serial.next_event() == Connected(peer, Serial(hub.port))
            await exchange(serial, peer, alice)
            assert serial.connected_peers() == (peer,)
            await serial.disconnect(peer)
            await until(serial, Disconnected(peer, Ended.LOCAL).__eq__)
            with pytest.raises(NotConnected):
                await serial.send(peer, b"x")
        finally:
            await serial.close()

        (radio,) = ports.virtual_radios()
        async with lab_adapter(radio) as adapter:
            ble = BleTransport(adapter, lambda: LocalNode(b"computer"))
            try:
                assert await ble.connect(Bluetooth(address), expected=peer) == peer
                assert await ble.next_event() == Connected(peer, Bluetooth(address))
                await exchange(ble, peer, alice)
                await hub.kill()
                await until(ble, Disconnected(peer, Ended.LOST).__eq__)
                assert not ble.is_connected(peer)
            finally:
                await ble.close()
