"""A relay that announces itself, as the two phone apps see it."""

import asyncio
from itertools import pairwise

import pytest
from relays import DEADLINE_S, on_air_id, open_console, wait_until

from bitrelay.lab.lab import Lab
from bitrelay.lab.phone import Phone
from bitrelay.lab.phone_peers import Refusal
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from shared_protocol import frame

# How long a second of the apps is in their announces; a relay is not hurried.
PACE = 0.15
LISTED_S = 15.0

TEXT = b"over the relay, and no other way"


def star(*platforms: str) -> Scenario:
    """One relay that everybody hears, and phones that hear nobody else."""
    names = [f"{platform}{n}" for n, platform in enumerate(platforms)]
    phones = tuple(
        PhoneSpec(name, platform=platform, pace=1, announce_pace=PACE)
        for name, platform in zip(names, platforms, strict=True)
    )
    return Scenario(
        boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
        phones=phones,
        edges=tuple(Edge(name, "hub") for name in names),
    )


def is_announce(data: bytes, author: bytes) -> bool:
    return data[frame.TYPE] == frame.TYPE_ANNOUNCE and data[frame.SENDER_V1 :][: frame.ID_SIZE] == author


def announces(at: Phone, author: Phone) -> list[int]:
    """When that author announced itself, of what arrived at this phone: Unix milliseconds."""
    sender = author.identity.peer_id
    return sorted(
        {
            int.from_bytes(arrival.frame[frame.TIMESTAMP : frame.FLAGS], "big")
            for arrival in at.received
            if is_announce(arrival.frame, sender)
        }
    )


def gaps(at: Phone, author: Phone) -> list[float]:
    """How far apart those announces are, in seconds of the app's life; 0 before there are two."""
    return [0.0] + [(b - a) / 1000 / PACE for a, b in pairwise(announces(at, author))]


def refusals(phone: Phone) -> set[Refusal]:
    """Why its app did nothing with a frame, but that it had it already: a relay greets more than once."""
    return set(phone.refusals) - {Refusal.COPY}


async def listed(phone: Phone, relay: bytes) -> None:
    view = await phone.wait_peer(relay, LISTED_S)
    assert view.verified and view.is_direct and view.nickname == "hub", view


async def test_both_apps_list_ping_and_route_over_the_relay_and_know_it_again_after_its_reboot() -> None:
    async with Lab(star("ios", "android")) as lab:
        ios, android = lab.phones["ios0"], lab.phones["android1"]
        hub = lab.boards["hub"]
        relay = await on_air_id(hub)
        # They come to a relay that knows the time, one after the other.
        for phone in (ios, android):
            await phone.stop()
        for phone in (ios, android):
            await phone.start()
            await phone.wait_links(1, DEADLINE_S)
        for phone in (ios, android):
            await listed(phone, relay)
            answer = await phone.ping(relay, DEADLINE_S)
            assert answer.hops == 1
        assert not refusals(ios) and not refusals(android)

        # By its own rules the iPhone takes the relay for a hop on the way to the other phone.
        target = android.identity.peer_id
        await ios.wait_until(lambda: ios.route_to(target) == (relay,), LISTED_S, "does not route over the relay")
        await ios.send_routed(target, frame.TYPE_NOISE_ENCRYPTED, TEXT, (relay,))
        arrived = await android.wait_for(lambda arrival: TEXT in arrival.frame, DEADLINE_S)
        assert arrived.frame[frame.VERSION] == 2 and arrived.frame[frame.TTL] == frame.MAX_TTL - 1

        # Behind a silent relay an iPhone announces every 4 s and an Android phone never again.
        await ios.wait_until(lambda: max(gaps(ios, android)) >= 28, 30, "hears no announce of android every 30 s")
        assert max(gaps(ios, android)) == pytest.approx(30, abs=2)
        await wait_until(lambda: gaps(android, ios)[-1] >= 10, "the iPhone announces as if it were alone")

        keys = [phone.peers[relay].signing_key for phone in (ios, android)]
        seen = [len(phone.received) for phone in (ios, android)]
        await hub.reboot()
        assert await on_air_id(hub) == relay
        for phone, key, start in zip((ios, android), keys, seen, strict=True):
            await phone.wait_for(lambda arrival: is_announce(arrival.frame, relay), LISTED_S, start)
            await listed(phone, relay)
            assert phone.peers[relay].signing_key == key
        assert not refusals(android)


async def test_a_relay_tells_the_time_by_its_neighbors_and_is_silent_until_then() -> None:
    async with Lab(star("ios", "ios")) as lab:
        # Nobody opens the relay's console before it is known to them.
        for phone in lab.phones.values():
            await phone.wait_links(1, DEADLINE_S)
        views = [
            phone.wait_until(lambda p=phone: bool(direct(p)), LISTED_S, "lists no relay")
            for phone in lab.phones.values()
        ]
        await asyncio.gather(*views)
        async with await open_console(lab.boards["hub"]) as console:
            assert console.info["clock"] == "mesh" and console.info["silent"] == ""
            assert console.info["neighbors"] == 2


def direct(phone: Phone) -> list[bytes]:
    return [peer for peer, view in phone.peers.items() if view.verified and view.is_direct]
