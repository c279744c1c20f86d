"""A BitCraps node, as a Bumble host, and phones at one relay: being found, saying hello, hearing each other."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from bumble import hci
from bumble.core import UUID
from bumble.device import Connection, Device, Peer
from bumble.hci import Address
from bumble.host import Host
from relays import DEADLINE_S, check_books, everybody_linked, open_console, quiet_counters, wait_until

from bitrelay.identity.greeting import Greeting
from bitrelay.lab.lab import Lab
from bitrelay.lab.radio import Radio
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from shared_protocol import beacon, frame, hello, versions
from shared_protocol import console as messages

PHONES_SERVICE = bytes.fromhex("f47b5e2d4a9e4c5a9b3f8e1d2c3a4b5c")[::-1]
SERVICE = UUID("12345678-1234-5678-1234-567812345678")
TO_RELAY, FROM_RELAY, HANDSHAKE = (UUID(f"12345678-1234-5678-1234-5678123456{n}") for n in (79, 80, 81))
NODE, NODE_ADDRESS = "node", "F0:00:00:00:00:0B"
NODE_ID = b"the-node"

HUB = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=(PhoneSpec("phone", announce=False), PhoneSpec("other", announce=False)),
    edges=(Edge("phone", "hub"), Edge("other", "hub")),
)

Report = hci.HCI_LE_Advertising_Report_Event


@dataclass(frozen=True)
class Heard:
    """One advertising report."""

    at: float
    kind: int
    data: bytes

    @property
    def is_for_phones(self) -> bool:
        return self.kind == Report.EventType.ADV_IND and PHONES_SERVICE in self.data

    @property
    def is_for_nodes(self) -> bool:
        return self.kind == Report.EventType.ADV_IND and beacon.SERVICE_BYTES in self.data


@dataclass
class Node:
    """A host that speaks the BitCraps service as a central."""

    device: Device
    heard: list[Heard] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    to_relay: Any = None
    handshake: Any = None

    @classmethod
    async def on_air(cls, radio: Radio, near: str) -> Self:
        controller = radio.add(NODE, NODE_ADDRESS, random_address=True)
        radio.connect_edge(NODE, near)
        device = Device(name=NODE, address=Address(NODE_ADDRESS), host=Host(controller, controller))
        device.config.le_simultaneous_enabled = False
        await device.power_on()
        return cls(device)

    async def scan(self, seconds: float) -> None:
        def report(heard: Any) -> None:
            self.heard.append(Heard(time.monotonic(), heard.event_type, bytes(heard.data)))

        self.device.host.on("advertising_report", report)
        await self.device.start_scanning(legacy=True, active=True, filter_duplicates=False)
        await asyncio.sleep(seconds)
        await self.device.stop_scanning()

    async def connect(self, address: bytes) -> Connection:
        connection = await self.device.connect(
            Address(address[::-1], Address.PUBLIC_DEVICE_ADDRESS), timeout=DEADLINE_S
        )
        peer = Peer(connection)
        await peer.request_mtu(517)
        await peer.discover_service(SERVICE)
        found = [characteristic for s in peer.services for characteristic in await s.discover_characteristics()]
        by_uuid = {characteristic.uuid: characteristic for characteristic in found}
        assert set(by_uuid) == {TO_RELAY, FROM_RELAY, HANDSHAKE}
        self.to_relay, self.handshake = by_uuid[TO_RELAY], by_uuid[HANDSHAKE]
        await by_uuid[FROM_RELAY].subscribe(lambda value: self.frames.append(bytes(value)))
        await self.handshake.subscribe(lambda value: self.answers.append(bytes(value)))
        return connection

    async def say(self, value: bytes, with_response: bool = False) -> None:
        await self.to_relay.write_value(value, with_response=with_response)

    def of_type(self, kind: int) -> list[bytes]:
        return [data for data in self.frames if data[frame.TYPE] == kind]


def packet(kind: int, payload: bytes, ttl: int = 7) -> bytes:
    return frame.encode(kind, ttl, time.time_ns() // 1_000_000, NODE_ID, payload)


def hello_of(version: tuple[int, int, int]) -> bytes:
    return packet(frame.TYPE_HELLO, hello.encode(version, (version[0], 0, 0)), ttl=1)


def windows(heard: list[Heard], seconds: float) -> list[list[Heard]]:
    """What is heard in windows of that length, wherever they begin: worst is when one has just missed something."""
    last = heard[-1].at
    starts = [one.at + 1e-6 for one in heard if one.at + seconds < last]
    return [[one for one in heard if start <= one.at < start + seconds] for start in starts]


@pytest.mark.requirement("DSC-14")
@pytest.mark.requirement("DSC-15")
@pytest.mark.requirement("BLE-13")
@pytest.mark.requirement("BLE-02")
async def test_who_scans_for_a_second_finds_the_relay_and_nodes_learn_who_it_is() -> None:
    async with Lab(HUB) as lab:
        await everybody_linked(lab)
        node = await Node.on_air(lab.radio, "hub")
        await node.scan(4.7)
    seconds = windows(node.heard, 1.0)
    assert len(seconds) > 20 and windows(node.heard, 4.0)
    for window in seconds:
        assert sum(one.is_for_phones for one in window) >= 3
    # How turns are shared to the tenth: tests/firmware/board/checks_advertiser.py. One of 0.2 s holds two or three
    # advertisements, so of a single second nothing closer can be said.
    assert sum(one.is_for_phones for one in node.heard) > 2 * sum(one.is_for_nodes for one in node.heard)
    for window in windows(node.heard, 4.0):
        assert sum(one.is_for_nodes for one in window) >= 4
    # A relay that does not announce itself tells phones no id; nodes learn what they need before they connect.
    responses = {one.data for one in node.heard if one.kind == Report.EventType.SCAN_RSP}
    (told,) = {data[:-2] for data in responses if data}
    assert b"" in responses and told[:18] == b"\x1e\x21" + beacon.SERVICE_BYTES
    for data in responses - {b""}:
        major, minor, capabilities, _on_air_id, load, free_links = beacon.parse(data[18:]) or (0,) * 6
        assert (major, minor, capabilities, free_links) == (1, 4, beacon.MESH_ROUTING, 2)
        assert load <= 100


@pytest.mark.requirement("BLE-03")
@pytest.mark.requirement("BLE-04")
@pytest.mark.requirement("BLE-05")
async def test_a_node_says_hello_and_talks_with_phones() -> None:
    async with Lab(HUB) as lab:
        await everybody_linked(lab)
        phone = lab.phones["phone"]
        node = await Node.on_air(lab.radio, "hub")
        async with await open_console(lab.boards["hub"]) as console:
            connection = await node.connect(console.info["address"])
            greeting = Greeting(NODE_ID, version=(1, 2, 0))
            await node.say(greeting.start(0, time.time_ns() // 1_000_000))
            await wait_until(lambda: bool(node.of_type(frame.TYPE_HELLO)), "the hello was not answered")
            (answer,) = node.of_type(frame.TYPE_HELLO)
            terms = greeting.on_frame(answer)
            assert terms is not None and terms.remote == versions.CURRENT and terms.version == (1, 2, 0)
            assert terms.mode == versions.LIMITED

            links = await console.request_list(messages.LINKS)
            assert sorted((link["service"], link.get("mode")) for link in links) == [
                ("bitchat", None),
                ("bitchat", None),
                ("bitcraps", "limited"),
            ]

            # Both ways, with and without response, and nothing comes back to its author.
            for number, with_response in enumerate((False, True)):
                sent = packet(frame.TYPE_MESSAGE, b"from the node %d" % number)
                await node.say(sent, with_response)
                arrival = await phone.wait_for(lambda a, sent=sent: a.frame[3:] == sent[3:], DEADLINE_S)
                assert arrival.frame[frame.TTL] < 7
            sent = packet(frame.TYPE_MESSAGE, b"from the phone")
            assert await phone.send(sent) == 1
            await wait_until(lambda: any(data[3:] == sent[3:] for data in node.frames), "the phone was not heard")
            assert len(node.of_type(frame.TYPE_MESSAGE)) == 1
            # What is said to the node alone, in packets of version 1, is said to nobody else.
            assert not [a for a in phone.received if a.frame[:2] == bytes((1, frame.TYPE_HELLO))]

            await node.handshake.write_value(bytes(32), with_response=True)
            await wait_until(lambda: node.answers == [b"\0"], "the handshake was not answered")

            # A peer of another major is told who we are and let go.
            await connection.disconnect()
            node.frames.clear()
            connection = await node.connect(console.info["address"])
            gone = asyncio.get_running_loop().create_future()
            connection.on("disconnection", gone.set_result)
            await node.say(hello_of((2, 0, 0)))
            await asyncio.wait_for(gone, DEADLINE_S)
            assert node.of_type(frame.TYPE_HELLO)
            check_books(await quiet_counters(console))
