"""Links over plain bleak to a node on the virtual radio: hello, identity, frames, and how links end."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakGATTProtocolError, BleakGATTProtocolErrorCode
from virtual_node import DEADLINE_S, UNWANTED, VirtualNode, until

from bitrelay.ble.adapter import Adapter
from bitrelay.ble.clock import SystemClock
from bitrelay.ble.events import DisconnectReason
from bitrelay.ble.link import CONNECT_TIMEOUT_S, MAX_QUEUED, WRITE_UUID, BleLink
from bitrelay.ble.session import LocalNode, Session
from bitrelay.errors import BadData, DeviceLost, DeviceTimeout, IncompatiblePeer, NotARelay, PeerError
from bitrelay.identity.greeting import UNKNOWN, Terms
from bitrelay.identity.keys import IdentityKeys, peer_id_of
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.record import to_record
from bitrelay.lab.phone_identity import PhoneIdentity
from bitrelay.lab.radio import Radio
from shared_protocol import hello, identity_record, versions
from shared_protocol.frame import MAX_TTL, TYPE_HELLO, TYPE_IDENTITY, TYPE_MESSAGE, Header, encode
from tests.identity.conftest import NOW, challenge, identity, keys  # noqa: F401

MakeNode = Callable[..., Awaitable[VirtualNode]]
NODE = LocalNode(b"computer")


async def device_of(adapter: Adapter, node: VirtualNode) -> BLEDevice:
    found = await BleakScanner.find_device_by_address(node.address, DEADLINE_S, backend=adapter.scanner)
    assert found is not None
    return found


class RecordTime(SystemClock):
    """The time at which the mined identity's record holds."""

    def unix_ms(self) -> int:
        return (NOW + 20) * 1000


async def session_with(
    adapter: Adapter, node: VirtualNode, clock: SystemClock | None = None, **options: object
) -> Session:
    return await Session.open(
        await device_of(adapter, node),
        adapter,
        NODE,
        clock or SystemClock(),
        **options,  # type: ignore[arg-type]
    )


def stolen_record(node: VirtualNode, identity: PowIdentity, keys: IdentityKeys) -> bytes:  # noqa: F811
    """A packet with an identity record that says the node's Noise key, which is public, and is signed by other keys."""
    own = identity_record.parse(to_record(identity, keys))
    assert own is not None
    body = own["body"]
    assert isinstance(body, bytes) and keys.noise_key in body
    body = body.replace(keys.noise_key, node.identity.noise_key)
    record = identity_record.encode(body, keys.sign(identity_record.signed_part(body)))
    return encode(TYPE_IDENTITY, hello.TTL, 0, node.on_air_id, record)


def message(text: bytes, size: int = 0) -> bytes:
    return encode(TYPE_MESSAGE, MAX_TTL, 1_700_000_000_000, b"somebody", text.ljust(size - 22, b"."))


@pytest.mark.requirement("BLE-08", "BLE-10")
async def test_a_hello_is_exchanged_and_the_peer_says_who_it_is(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    session = await session_with(adapter, node, expected_id=node.on_air_id)
    written = await node.next_written()
    header = Header()
    assert header.parse(written, len(written)) == len(written)
    assert (header.type, header.ttl) == (TYPE_HELLO, 1)
    assert hello.parse(written[header.payload_at :]) == hello.parse(hello.encode(on_air_id=NODE.on_air_id))
    features = versions.features_of((1, 4, 0))
    assert session.terms == Terms((1, 4, 0), features, versions.FULL, (1, 4, 0), node.on_air_id)
    claim = await session.heard_claim(DEADLINE_S)
    assert claim is not None
    assert (claim.on_air_id, claim.noise_key) == (node.on_air_id, node.identity.noise_key)
    assert claim.peer_id == peer_id_of(node.identity.signing_key)
    await session.link.close()


async def test_a_peer_without_a_hello_is_an_older_one(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=None, announces=False)
    session = await session_with(adapter, node, hello_timeout=0.3)
    assert session.terms == UNKNOWN
    assert await session.heard_claim(0.1) is None
    # It is heard out whenever it comes.
    await node.say(encode(TYPE_HELLO, 1, 0, node.on_air_id, hello.encode((1, 2, 0))))
    await until(lambda: session.terms.mode != versions.LEGACY)
    assert session.terms.version == (1, 2, 0)
    await session.link.close()


async def test_a_peer_of_another_major_version_is_left(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=hello.encode((2, 0, 0), (2, 0, 0)))
    with pytest.raises(IncompatiblePeer, match="version 2.0.0"):
        await session_with(adapter, node)
    await until_left(node)


@pytest.mark.requirement("BLE-08")
@pytest.mark.parametrize("claims", [True, False])
async def test_a_peer_that_is_not_the_advertised_one_is_left(
    adapter: Adapter, make_node: MakeNode, claims: bool
) -> None:
    greeting = hello.encode(on_air_id=b"somebody" if claims else None)
    node = await make_node("node", greeting=greeting, greets_as=b"somebody")
    with pytest.raises(PeerError, match="not the one"):
        await session_with(adapter, node, expected_id=b"expected")
    await until_left(node)


async def test_a_wrong_peer_that_says_hello_late_is_left_then(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=None, announces=False)
    session = await session_with(adapter, node, expected_id=node.on_air_id, hello_timeout=0.1)
    await node.say(encode(TYPE_HELLO, hello.TTL, 0, b"somebody", hello.encode()))
    async with asyncio.timeout(DEADLINE_S):
        await session.link.closed.wait()
    assert (session.link.reason, session.claim) == (DisconnectReason.WRONG_PEER, None)


@pytest.mark.requirement("BLE-08")
@pytest.mark.parametrize("early", [True, False], ids=["before the hello", "after it"])
@pytest.mark.parametrize("advertised", [True, False])
async def test_what_others_signed_and_a_relay_passed_on_neither_ends_a_link_nor_counts(
    adapter: Adapter,
    make_node: MakeNode,
    keys: IdentityKeys,  # noqa: F811
    identity: PowIdentity,  # noqa: F811
    early: bool,
    advertised: bool,
) -> None:
    others = [
        encode(TYPE_IDENTITY, hello.TTL, 0, keys.on_air_id, to_record(identity, keys)),
        PhoneIdentity("other").announce(RecordTime().unix_ms()),
    ]
    node = await make_node("node", announces=False, relayed=others if early else ())
    expected = node.on_air_id if advertised else None
    session = await session_with(adapter, node, RecordTime(), expected_id=expected)
    if not early:
        for frame in others:
            await node.say(frame)
    for frame in others:
        assert await received(session.link) == frame
    assert session.link.is_open and session.claim is None
    # The peer's own still does.
    await node.say(node.identity.announce(RecordTime().unix_ms()))
    claim = await session.heard_claim(DEADLINE_S)
    assert claim is not None and claim.on_air_id == node.on_air_id
    assert (session.link.is_open, session.link.reason) == (True, None)
    await session.link.close()


@pytest.mark.requirement("BLE-08")
@pytest.mark.parametrize("early", [True, False], ids=["before the hello", "after it"])
async def test_a_record_signed_by_others_for_the_peers_noise_key_does_not_count(
    adapter: Adapter,
    make_node: MakeNode,
    keys: IdentityKeys,  # noqa: F811
    identity: PowIdentity,  # noqa: F811
    early: bool,
) -> None:
    own_id = peer_id_of(PhoneIdentity("node").signing_key)
    greeting = hello.encode(on_air_id=PhoneIdentity("node").peer_id, peer_id=own_id)
    node = await make_node("node", greeting=greeting, announces=False)
    stolen = stolen_record(node, identity, keys)
    if early:
        node.relayed = [stolen]
    session = await session_with(adapter, node, RecordTime(), expected_id=node.on_air_id)
    if not early:
        await node.say(stolen)
    assert await received(session.link) == stolen
    assert session.link.is_open and session.claim is None
    await node.say(node.identity.announce(RecordTime().unix_ms()))
    claim = await session.heard_claim(DEADLINE_S)
    assert claim is not None and claim.peer_id == own_id
    await session.link.close()


async def test_beacons_and_later_hellos_reach_whoever_receives(adapter: Adapter, make_node: MakeNode) -> None:
    beacon = encode(TYPE_HELLO, MAX_TTL, 0, b"somebody", hello.encode((1, 0, 0)), version=2)
    near_beacon = encode(TYPE_HELLO, hello.TTL, 0, b"somebody", hello.encode((1, 0, 0)), version=2)
    node = await make_node("node", announces=False, relayed=[beacon, near_beacon])
    session = await session_with(adapter, node, expected_id=node.on_air_id)
    later = encode(TYPE_HELLO, hello.TTL, 0, node.on_air_id, hello.encode((1, 2, 0)))
    await node.say(later)
    assert [await received(session.link) for _ in range(3)] == [beacon, near_beacon, later]
    assert session.link.is_open and session.terms.version == (1, 4, 0)
    await session.link.close()


@pytest.mark.requirement("BLE-08")
async def test_an_id_of_zeros_counts_as_none(adapter: Adapter, make_node: MakeNode) -> None:
    greeting = hello.encode(on_air_id=bytes(8), peer_id=bytes(32))
    node = await make_node("node", greeting=greeting, greets_as=bytes(8), announces=False)
    session = await session_with(adapter, node, expected_id=node.on_air_id)
    assert (session.claimed_id, session.claim, session.terms.mode) == (None, None, versions.FULL)
    await session.link.close()


async def test_forged_old_and_far_announces_claim_nothing(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=hello.encode(), announces=False)
    session = await session_with(adapter, node)
    now_ms = time.time_ns() // 1_000_000
    good = node.identity.announce(now_ms)
    forged = bytearray(good)
    forged[-1] ^= 1
    relayed = good[:2] + bytes((MAX_TTL - 1,)) + good[3:]
    for frame in (bytes(forged), relayed, node.identity.announce(now_ms - 700_000)):
        await node.say(frame)
        assert await received(session.link) == frame
    assert session.claim is None
    await node.say(good)
    assert await session.heard_claim(DEADLINE_S) is not None
    await session.link.close()


@pytest.mark.requirement("BLE-03", "BLE-04", "BLE-05")
async def test_frames_of_up_to_512_bytes_cross_both_ways_one_per_value(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=None, announces=False)
    link = await BleLink.open(await device_of(adapter, node), adapter)
    for size in (30, 200, 512):
        frame = message(b"out", size)
        assert len(frame) == size
        await link.send(frame)
        assert await node.next_written() == frame
        await node.say(message(b"in", size))
        assert await received(link) == message(b"in", size)
    with pytest.raises(BadData):
        await link.send(bytes(513))
    with pytest.raises(BadData):
        await link.send(b"")
    assert (link.sent, link.received) == (3, 3)
    assert link.bytes_out == link.bytes_in == 30 + 200 + 512
    await link.close()
    with pytest.raises(DeviceLost):
        await link.send(message(b"late"))
    with pytest.raises(DeviceLost):
        await link.receive()


async def test_what_is_no_frame_is_counted_and_a_flood_is_bounded(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", greeting=None, announces=False)
    link = await BleLink.open(await device_of(adapter, node), adapter)
    for value in (b"", b"\x01", b"\xff" * 100, message(b"cut", 100)[:-1]):
        await node.say(value)
    for number in range(MAX_QUEUED + 10):
        await node.say(message(b"%d" % number))
    await until(lambda: link.received == MAX_QUEUED + 10)
    assert (link.malformed, link.dropped) == (4, 10)
    assert await received(link) == message(b"10")
    await link.close()


@pytest.mark.requirement("BLE-09")
async def test_a_link_tells_why_it_ended(radio: Radio, adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    session = await session_with(adapter, node)
    await session.link.close()
    assert session.link.reason is DisconnectReason.USER_REQUESTED
    await until_left(node)
    session = await session_with(adapter, node)
    reader = asyncio.ensure_future(drained(session.link))
    node.controller.power_off()
    async with asyncio.timeout(DEADLINE_S):
        await session.link.closed.wait()
        with pytest.raises(DeviceLost):
            await reader
    assert session.link.reason is DisconnectReason.LINK_LOST


async def test_a_device_without_the_service_is_no_relay(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node", with_service=False)
    with pytest.raises(NotARelay):
        await session_with(adapter, node)
    await until_left(node)


async def test_a_peers_refusal_has_its_code(adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    async with BleakClient(await device_of(adapter, node), backend=adapter.client) as client:
        with pytest.raises(BleakGATTProtocolError) as caught:
            await client.write_gatt_char(WRITE_UUID, UNWANTED, response=True)
    assert caught.value.code is BleakGATTProtocolErrorCode.VALUE_NOT_ALLOWED


@pytest.mark.requirement("DSC-03")
async def test_a_device_that_does_not_answer_is_given_up(radio: Radio, adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    device = await device_of(adapter, node)
    node.controller.power_off()
    assert CONNECT_TIMEOUT_S == 30.0
    with pytest.raises(DeviceTimeout):
        await Session.open(device, adapter, NODE, SystemClock(), timeout=0.3)
    # The adapter is free for the next.
    other = await make_node("other")
    session = await session_with(adapter, other)
    await session.link.close()


async def received(link: BleLink) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await link.receive()


async def drained(link: BleLink) -> None:
    while True:
        await link.receive()


async def until_left(node: VirtualNode) -> None:
    await until(lambda: not node.connections)
