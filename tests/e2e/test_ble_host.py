"""A computer beside a lab, over Bluetooth as the user's would be: it finds the relay, and frames cross it."""

import asyncio
import tempfile
import time
from collections.abc import Iterator

import pytest
from relays import DEADLINE_S, open_console, wait_links

from bitrelay import ports
from bitrelay.ble.connections import Connections
from bitrelay.ble.discovery import Discovery
from bitrelay.ble.session import LocalNode
from bitrelay.ble.sighting import Services
from bitrelay.ble.survey import lab_adapter
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from shared_protocol import versions
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


@pytest.mark.requirement("BLE-10", "DSC-22")
async def test_a_computer_finds_a_relay_and_exchanges_frames_with_a_phone_behind_it() -> None:
    async with Lab(HUB) as lab:
        await lab.ready()
        async with await open_console(lab.boards["hub"]) as console:
            await wait_links(console, 1, lambda link: link["state"] == "ready")
        (radio,) = ports.virtual_radios()
        async with lab_adapter(radio) as adapter, asyncio.timeout(DEADLINE_S):
            discovery = Discovery(adapter)
            both = Services.BITCHAT | Services.BITCRAPS
            while not (peers := [peer for peer in discovery.peers if peer.services == both]):
                await discovery.scan(0.5)
            (hub,) = peers
            assert hub.beacon is not None and hub.beacon.version == (1, 4)
            assert (hub.beacon.capabilities, hub.beacon.free_links) == (2, 3)
            connections = Connections(discovery, LocalNode(b"computer"))
            session = await connections.connect(hub.number)
            assert (session.terms.version, session.terms.mode) == ((1, 4, 0), versions.FULL)
            now_ms = time.time_ns() // 1_000_000
            out = encode(TYPE_MESSAGE, 7, now_ms, b"computer", b"to the phone")
            await session.link.send(out)
            arrival = await lab.phones["alice"].wait_for(lambda one: b"to the phone" in one.frame, DEADLINE_S)
            assert arrival.frame == out[:TTL] + bytes((6,)) + out[TTL + 1 :]
            await lab.phones["alice"].send(encode(TYPE_MESSAGE, 7, now_ms, b"alice   ", b"to the computer"))
            while b"to the computer" not in (frame := await session.link.receive()):
                pass
            assert frame[TTL] == 6
            await connections.close()
