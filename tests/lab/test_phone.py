"""Virtual phones speak the bitchat service as the two apps do."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bitrelay.errors import DeviceTimeout
from bitrelay.lab.phone import Phone
from bitrelay.lab.phone_identity import PhoneIdentity
from bitrelay.lab.phone_link import Role
from bitrelay.lab.radio import Radio
from shared_protocol.frame import Header, encode, pad

DEADLINE_S = 10.0
NOW_MS = 1_795_000_000_000

MakePhone = Callable[..., Awaitable[Phone]]


def public(phone: Phone, text: bytes, ttl: int = 7) -> bytes:
    return encode(0x02, ttl, NOW_MS, phone.identity.peer_id, text)


@pytest.mark.parametrize("dialling", ["ios", "android"])
@pytest.mark.parametrize("advertising", ["ios", "android"])
async def test_frames_cross_both_ways(make_phone: MakePhone, dialling: str, advertising: str) -> None:
    a = await make_phone("a", platform=dialling, advertises=False)
    b = await make_phone("b", platform=advertising, dials=False)
    (link_a,) = await a.wait_links(1, DEADLINE_S)
    (link_b,) = await b.wait_links(1, DEADLINE_S)
    assert (link_a.role, link_b.role) == (Role.CENTRAL, Role.PERIPHERAL)
    assert link_a.limit == link_b.limit == 512
    for sender, receiver in ((a, b), (b, a)):
        frame = public(sender, bytes(490))
        assert await sender.send(frame) == 1
        assert (await receiver.wait_for(lambda arrival: True, DEADLINE_S)).value == frame


async def test_two_phones_that_call_each_other_get_one_link(make_phone: MakePhone) -> None:
    a = await make_phone("a")
    b = await make_phone("b", platform="android")
    await a.wait_links(1, DEADLINE_S)
    await b.wait_links(1, DEADLINE_S)
    assert await a.send(public(a, b"once")) == 1
    assert await a.send(public(a, b"last")) == 1
    await b.wait_for(lambda arrival: arrival.frame.endswith(b"last"), DEADLINE_S)
    assert [arrival.frame[-4:] for arrival in b.received] == [b"once", b"last"]
    assert len(a.links) == len(b.links) == 1


async def test_announces_are_signed_and_bind_the_link(make_phone: MakePhone) -> None:
    a = await make_phone("a", announce=True)
    b = await make_phone("b", platform="android", announce=True)
    for phone, peer in ((a, b), (b, a)):
        arrival = await phone.wait_for(lambda arrival: arrival.frame[1] == 0x01, DEADLINE_S)
        assert arrival.refusal is None
        assert arrival.link.peer_id == peer.identity.peer_id


async def test_directed_frame_goes_only_to_a_known_neighbor(radio: Radio, make_phone: MakePhone) -> None:
    middle = await make_phone("middle", dials=False)
    others = [await make_phone(name, advertises=False, announce=True) for name in ("x", "y")]
    await middle.wait_links(2, DEADLINE_S)
    for phone in others:
        await middle.wait_for(lambda a, p=phone: a.link.peer_id == p.identity.peer_id, DEADLINE_S)
    x, y = others
    assert await middle.send(encode(0x11, 7, NOW_MS, middle.identity.peer_id, b"x", recipient=x.identity.peer_id)) == 1
    assert await middle.send(encode(0x11, 7, NOW_MS, middle.identity.peer_id, b"?", recipient=bytes(8))) == 2
    await y.wait_for(lambda arrival: arrival.frame.endswith(b"?"), DEADLINE_S)
    assert not [arrival for arrival in y.received if arrival.frame.endswith(b"x")]


async def test_padding_arrives_and_is_not_part_of_the_frame(make_phone: MakePhone) -> None:
    a = await make_phone("a", advertises=False)
    b = await make_phone("b", dials=False)
    await a.wait_links(1, DEADLINE_S)
    await b.wait_links(1, DEADLINE_S)
    frame = encode(0x11, 7, NOW_MS, a.identity.peer_id, bytes(100), recipient=b.identity.peer_id)
    for sender, receiver in ((a, b), (b, a)):
        await sender.send(pad(frame))
        arrival = await receiver.wait_for(lambda arrival: True, DEADLINE_S)
        assert (len(arrival.value), arrival.frame) == (256, frame)


async def test_android_that_is_subscribed_to_twice_sends_twice(make_phone: MakePhone) -> None:
    a = await make_phone("a", advertises=False)
    b = await make_phone("b", platform="android", dials=False)
    (link,) = await a.wait_links(1, DEADLINE_S)
    await b.wait_links(1, DEADLINE_S)
    cccd = link.handle + 1
    await link.connection.gatt_client.write_value(cccd, b"\x01\x00", with_response=True)
    await b.send(public(b, b"twice"))
    await b.send(public(b, b"end"))
    await a.wait_for(lambda arrival: arrival.frame.endswith(b"end"), DEADLINE_S)
    assert sum(arrival.frame.endswith(b"twice") for arrival in a.received) == 2


async def test_hostile_values_reach_the_peer_as_they_are(make_phone: MakePhone) -> None:
    a = await make_phone("a", advertises=False)
    b = await make_phone("b", platform="android", dials=False)
    (link,) = await a.wait_links(1, DEADLINE_S)
    for value in (b"", b"\x01\x02\x07", bytes(512)):
        assert await link.write_raw(value)
    assert await link.write_raw(public(a, bytes(480)), with_response=True)
    await b.wait_for(lambda arrival: True, DEADLINE_S)
    assert b.links[0].undecodable == 3


async def test_peer_that_goes_out_of_range_is_lost_and_found_again(radio: Radio, make_phone: MakePhone) -> None:
    a = await make_phone("a", position=(0, 0))
    await make_phone("b", position=(5, 0))
    (link,) = await a.wait_links(1, DEADLINE_S)
    radio.move("b", 5000, 0)
    async with asyncio.timeout(DEADLINE_S):
        await link.closed.wait()
    assert link.reason == 0x08
    assert await a.send(public(a, b"nobody there")) == 0
    radio.move("b", 5, 0)
    await a.wait_links(1, DEADLINE_S)


async def test_many_frames_arrive_in_order(make_phone: MakePhone) -> None:
    a = await make_phone("a")
    b = await make_phone("b")
    await a.wait_links(1, DEADLINE_S)
    await b.wait_links(1, DEADLINE_S)
    frames = [public(a, bytes((number,)) * 400) for number in range(50)]
    sent = await asyncio.gather(*(a.send(frame) for frame in frames))
    assert sent == [1] * 50
    await b.wait_for(lambda arrival: arrival.frame == frames[-1], DEADLINE_S)
    assert [arrival.frame for arrival in b.received] == frames


async def test_what_does_not_come_is_reported_with_name_and_time(make_phone: MakePhone) -> None:
    a = await make_phone("a")
    with pytest.raises(DeviceTimeout, match="a: .*within 0.05 s"):
        await a.wait_for(lambda arrival: True, 0.05)
    with pytest.raises(DeviceTimeout, match="1 links"):
        await a.wait_links(1, 0.05)


def test_same_name_and_seed_make_the_same_phone() -> None:
    one, same, other = PhoneIdentity("a", 3), PhoneIdentity("a", 3), PhoneIdentity("a", 4)
    assert (one.peer_id, one.address) == (same.peer_id, same.address)
    assert one.peer_id != other.peer_id
    header = Header()
    frame = one.signed(encode(0x02, 7, NOW_MS, one.peer_id, b"hello", recipient=bytes(8)))
    assert header.parse(frame, len(frame)) == len(frame)
    assert header.signature_at == len(frame) - 64
