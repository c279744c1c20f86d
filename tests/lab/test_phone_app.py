"""What an announcing relay would see of the two apps: another phone, whose announces the test sends, stands for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from bitrelay.errors import DeviceTimeout
from bitrelay.lab.phone import Arrival, Phone
from bitrelay.lab.phone_forger import Forger, Forgery
from bitrelay.lab.phone_identity import read_announce
from bitrelay.lab.phone_peers import Refusal
from shared_protocol.frame import TTL, TYPE_ANNOUNCE, TYPE_NOISE_ENCRYPTED, Header

DEADLINE_S = 10.0
# A second in the life of an app's announces.
SECOND = 0.02
# How much of such seconds a millisecond is, and how late a busy computer may be.
ROUNDING = 0.001 / SECOND
LATE = 0.2 / SECOND

MakePhone = Callable[..., Awaitable[Phone]]


@pytest.fixture
async def relay(make_phone: MakePhone) -> Phone:
    """Announces itself only when the test has it do so; it answers nothing."""
    return await make_phone("relay", dials=False)


@pytest.fixture
async def make_visitor(make_phone: MakePhone) -> MakePhone:
    """Starts a phone that finds the relay and announces itself, in a hurry."""

    async def make(platform: str, name: str = "visitor", **options: object) -> Phone:
        hurry = {"announce": True, "advertises": False, "announce_pace": SECOND, "platform": platform}
        return await make_phone(name, **(hurry | options))

    return make


def announces(at: Phone, author: Phone) -> list[Arrival]:
    return [a for a in at.received if a.frame[1] == TYPE_ANNOUNCE and author.identity.peer_id in a.frame[:24]]


async def wait_announces(at: Phone, author: Phone, count: int, timeout: float = DEADLINE_S) -> list[Arrival]:
    await at.wait_until(lambda: len(announces(at, author)) >= count, timeout, f"heard not {count} announces")
    return announces(at, author)


def neighbors_in(arrival: Arrival) -> tuple[bytes, ...] | None:
    header = Header()
    header.parse(arrival.frame, len(arrival.frame))
    said = read_announce(arrival.frame, header)
    assert said is not None
    return said.neighbors


def gaps(arrivals: list[Arrival]) -> list[float]:
    """How long after one another they were made, by the author's clock, in seconds of an app's life."""
    times = [int.from_bytes(arrival.frame[3:11], "big") / 1000 / SECOND for arrival in arrivals]
    return [b - a for a, b in zip(times, times[1:], strict=False)]


async def test_ios_behind_a_silent_relay_goes_on_announcing_every_4_s(relay: Phone, make_visitor: MakePhone) -> None:
    visitor = await make_visitor("ios")
    heard = await wait_announces(relay, visitor, 6)
    # The one on the new link may come right behind another.
    assert sorted(gaps(heard))[2] == pytest.approx(4, abs=1.5)
    assert visitor.peers == {}


async def test_ios_lists_an_announcing_relay_answers_it_and_slows_down(relay: Phone, make_visitor: MakePhone) -> None:
    visitor = await make_visitor("ios")
    await wait_announces(relay, visitor, 2)
    await relay.announce()
    peer = await visitor.wait_peer(relay.identity.peer_id, DEADLINE_S)
    assert (peer.nickname, peer.signing_key) == ("relay", relay.identity.signing_key)
    assert (await relay.ping(visitor.identity.peer_id, DEADLINE_S)).hops == 1
    # Its answer, the one a little later, and then at the connected rate, with the relay as a neighbor.
    heard = len(announces(relay, visitor))
    settled = (await wait_announces(relay, visitor, heard + 6))[heard + 2 :]
    assert all(11 - ROUNDING <= gap <= 19 + LATE for gap in gaps(settled)), gaps(settled)
    assert neighbors_in(settled[-1]) == (relay.identity.peer_id,)


async def test_android_announces_at_intervals_if_the_relay_was_quick(relay: Phone, make_visitor: MakePhone) -> None:
    visitor = await make_visitor("android", pace=1)
    await relay.wait_links(1, DEADLINE_S)
    await relay.announce()
    heard = await wait_announces(relay, visitor, 3)
    assert {neighbors_in(arrival) for arrival in heard} == {(relay.identity.peer_id,)}
    assert all(30 - ROUNDING <= gap <= 30 + LATE for gap in gaps(heard)), gaps(heard)


async def test_android_announces_once_if_the_relay_is_silent_or_late(relay: Phone, make_visitor: MakePhone) -> None:
    visitor = await make_visitor("android")
    (first,) = await wait_announces(relay, visitor, 1)
    assert neighbors_in(first) is None
    with pytest.raises(DeviceTimeout):
        await wait_announces(relay, visitor, 2, 35 * SECOND)
    await relay.announce()
    await visitor.wait_peer(relay.identity.peer_id, DEADLINE_S)
    with pytest.raises(DeviceTimeout):
        await wait_announces(relay, visitor, 2, 35 * SECOND)
    # Until something else makes it announce itself.
    await visitor.announce()
    _, *heard = await wait_announces(relay, visitor, 3)
    assert all(30 - ROUNDING <= gap <= 30 + LATE for gap in gaps(heard)), gaps(heard)


async def test_android_that_is_dialled_announces_after_the_subscription_and_once_more(make_phone: MakePhone) -> None:
    phone = await make_phone("phone", platform="android", announce=True, dials=False, pace=0.5)
    relay = await make_phone("relay", advertises=False)
    (link,) = await relay.wait_links(1, DEADLINE_S)
    first, second = await wait_announces(relay, phone, 2)
    assert second.at - link.connected_at == pytest.approx(0.6, abs=0.1)
    assert first.at < second.at


@pytest.mark.parametrize("platform", ["ios", "android"])
async def test_a_relay_that_has_restarted_is_the_same_peer(
    relay: Phone, make_visitor: MakePhone, platform: str
) -> None:
    visitor = await make_visitor(platform)
    await relay.wait_links(1, DEADLINE_S)
    await relay.announce()
    before = await visitor.wait_peer(relay.identity.peer_id, DEADLINE_S)
    for link in relay.links:
        await link.disconnect()
    await relay.stop()
    await visitor.wait_until(lambda: not visitor.links, DEADLINE_S, "still has its link")
    await relay.start()
    await relay.wait_links(1, DEADLINE_S)
    await relay.announce()
    peer = await visitor.wait_peer(relay.identity.peer_id, DEADLINE_S)
    assert peer.signing_key == before.signing_key and peer.link is not before.link
    assert list(visitor.peers) == [relay.identity.peer_id]
    assert not visitor.refusals


async def test_a_phone_with_a_wrong_clock(relay: Phone, make_visitor: MakePhone) -> None:
    visitor = await make_visitor("ios", clock_offset_s=130)
    (arrival, *_) = await wait_announces(relay, visitor, 1)
    off_ms = int.from_bytes(arrival.frame[3:11], "big") - time.time() * 1000
    assert off_ms / 1000 == pytest.approx(130, abs=2)
    assert arrival.refusal is Refusal.CLOCK and not relay.peers
    await relay.announce()
    arrival = await visitor.wait_for(lambda arrival: arrival.frame[1] == TYPE_ANNOUNCE, DEADLINE_S)
    assert arrival.refusal is Refusal.CLOCK and not visitor.peers


def forward(relay: Phone) -> None:
    """Have the stand-in send everything on to the other links, with its TTL lowered."""

    def send_on(arrival: Arrival) -> None:
        frame = arrival.frame[:TTL] + bytes((arrival.frame[TTL] - 1,)) + arrival.frame[TTL + 1 :]
        for link in relay.open_links:
            if link is not arrival.link:
                link.post(frame)

    relay.on_frame = send_on


@pytest.mark.parametrize("platform", ["ios", "android"])
async def test_a_phone_routes_through_a_relay_that_lists_both_and_for_ios_sends_version_2(
    relay: Phone, make_visitor: MakePhone, platform: str
) -> None:
    forward(relay)
    alice, bob = [await make_visitor(platform, name, announce_pace=1) for name in ("alice", "bob")]
    to_relay, to_bob = relay.identity.peer_id, bob.identity.peer_id
    await relay.wait_links(2, DEADLINE_S)
    await relay.announce()
    for phone in (alice, bob):
        await relay.wait_peer(phone.identity.peer_id, DEADLINE_S)
        await phone.wait_peer(to_relay, DEADLINE_S)
    # The relay has to tell whom it sees, and bob that he sees the relay.
    await relay.announce()
    await bob.announce()
    await alice.wait_peer(to_bob, DEADLINE_S, direct=False)
    for peer, count in ((to_relay, 2), (to_bob, 1)):
        await alice.wait_until(lambda p=peer, n=count: len(alice.peers[p].neighbors) == n, DEADLINE_S, "no neighbors")
    assert alice.route_to(to_relay) == ()
    if platform == "ios":
        assert alice.route_to(to_bob) is None
        await relay.send_routed(alice.identity.peer_id, TYPE_NOISE_ENCRYPTED, b"v2", [to_relay])
        await alice.wait_for(lambda arrival: arrival.frame[0] == 2, DEADLINE_S)
    route = alice.route_to(to_bob)
    assert route == (to_relay,)
    assert await alice.send_routed(to_bob, TYPE_NOISE_ENCRYPTED, b"through", route) == 1
    arrival = await bob.wait_for(lambda arrival: b"through" in arrival.frame, DEADLINE_S)
    assert arrival.frame[0] == 2 and arrival.refusal is None
    # Two hops there, two back, through the relay's stand-in.
    if platform == "ios":
        assert (await alice.ping(to_bob, DEADLINE_S)).hops == 2


async def test_a_forger_displaces_no_peer_of_a_phone(make_phone: MakePhone) -> None:
    victim = await make_phone("victim", dials=False)
    forward(victim)  # it is how the forger comes to know the good one
    good = await make_phone("good", announce=True, advertises=False, announce_pace=SECOND)
    good_id = good.identity.peer_id
    await victim.wait_peer(good_id, DEADLINE_S)
    mallory = await make_phone("mallory", advertises=False)
    await mallory.wait_peer(good_id, DEADLINE_S, direct=False)
    forger = Forger(mallory)
    forging = asyncio.create_task(forger.run(1000))
    refusals = (Refusal.WRONG_ID, Refusal.BAD_SIGNATURE, Refusal.OTHER_KEYS, Refusal.CLOCK)
    await victim.wait_until(
        lambda: all(victim.refusals.get(refusal, 0) >= 20 for refusal in refusals), DEADLINE_S, f"{victim.refusals}"
    )
    forging.cancel()
    peer = victim.peers[good_id]
    assert peer.signing_key == good.identity.signing_key
    assert len(victim.peers) <= forger.made[Forgery.NEWCOMER] + 3
    # The forger's own link belongs to whomever it named first, and to nobody who has a link.
    assert peer.is_direct and len({link.peer_id for link in victim.links}) == 2
