"""What an announcing relay makes of somebody who lies: about who he is, how far away, and what time it is."""

import asyncio
import random
import time

import pytest
from relays import DEADLINE_S, on_air_id, open_console, wait_until

from bitrelay.console import Console
from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.phone import Arrival, Phone
from bitrelay.lab.phone_forger import Forger, Forgery
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from shared_protocol import console as messages
from shared_protocol import frame

FALSE_A_SECOND = 100
HONEST = ("alice", "bob", "carol")
# Three times that many copies: half of what a relay with four links can send in the lab.
OFFERED = 30
FRAMES = 120
HOUR_S = 3600.0


def around_a_hub(*phones: PhoneSpec) -> Scenario:
    return Scenario(
        boards=(BoardSpec("hub", max_links=6, settings=(("dial_max", 0), ("max_links", 6), ("phone_slots", 6))),),
        phones=phones,
        edges=tuple(Edge(phone.name, "hub") for phone in phones),
    )


async def owners(console: Console) -> dict[str, str]:
    """By address of the link, the id that the relay takes its peer for."""
    links = await console.request_list(messages.LINKS)
    return {link["address"].hex(":"): link["owner"].hex() for link in links if "owner" in link}


def address_of(phone: Phone) -> str:
    return phone.identity.address.lower()


async def everybody_known(console: Console, phones: list[Phone]) -> None:
    end = asyncio.get_running_loop().time() + DEADLINE_S
    wanted = {address_of(phone): phone.identity.peer_id.hex() for phone in phones}
    while (known := await owners(console)) != wanted:
        assert asyncio.get_running_loop().time() < end, (known, wanted)
        await asyncio.sleep(0.1)


async def rate(sender: Phone, listener: Phone, seed: int) -> float:
    """Frames a second that get from one phone to another, of FRAMES that are sent at OFFERED a second."""
    maker = FrameMaker(sender.identity, random.Random(seed))
    (link,) = sender.open_links
    loop = asyncio.get_running_loop()
    seen = len(listener.received)
    start = loop.time()
    for number in range(FRAMES):
        await asyncio.sleep(max(0.0, start + number / OFFERED - loop.time()))
        link.post(maker.make(Kind.PUBLIC, b"")[0])

    def heard() -> list[Arrival]:
        author = sender.identity.peer_id
        return [
            arrival
            for arrival in listener.received[seen:]
            if arrival.frame[frame.TYPE] == frame.TYPE_MESSAGE and arrival.frame[frame.SENDER_V1 :][:8] == author
        ]

    # What is on its way is there within a second, or lost.
    await asyncio.sleep(1)
    arrived = heard()
    return len(arrived) / (arrived[-1].at - start)


async def test_100_false_announces_a_second_bind_displace_and_slow_nobody() -> None:
    phones = [PhoneSpec(name) for name in (*HONEST, "mallory")]
    async with Lab(around_a_hub(*phones)) as lab:
        honest = [lab.phones[name] for name in HONEST]
        mallory = lab.phones["mallory"]
        relay = await on_air_id(lab.boards["hub"])
        for phone in lab.phones.values():
            await phone.wait_peer(relay, DEADLINE_S)
        async with await open_console(lab.boards["hub"]) as console:
            await everybody_known(console, [*honest, mallory])
            alone = await rate(honest[0], honest[1], 1)
            forger = Forger(mallory)
            lying = asyncio.create_task(forger.run(FALSE_A_SECOND))
            await wait_until(lambda: forger.made.total() > FALSE_A_SECOND, "mallory does not lie")
            beside = await rate(honest[0], honest[1], 2)
            known = await owners(console)
            lying.cancel()
            assert all(forger.made[kind] for kind in Forgery), forger.made
            print(f"{alone:.0f} frames/s, {beside:.0f} beside {forger.made.total()} false announces")
            for phone in honest:
                assert known[address_of(phone)] == phone.identity.peer_id.hex()
                assert phone.peers[relay].is_direct
            # His own link is his, or that of an identity of his own making, but nobody else's.
            victims = {phone.identity.peer_id.hex() for phone in honest} | {relay.hex()}
            assert known.get(address_of(mallory)) not in victims
        assert beside >= 0.9 * alone


@pytest.mark.parametrize("attack", ["one of five", "one id on all links"])
async def test_a_liar_does_not_move_the_clock(attack: str) -> None:
    # Nobody opens the relay's console, which would set its clock: it has the time from those around.
    names = ("alice", "bob", "carol", "dave", "mallory")
    off = {"mallory": HOUR_S} if attack == "one of five" else {}
    phones = [PhoneSpec(name, clock_offset_s=off.get(name, 0.0), announce_pace=0.35) for name in names]
    async with Lab(around_a_hub(*phones)) as lab:
        alice, mallory = lab.phones["alice"], lab.phones["mallory"]
        lying = []
        if attack != "one of five":
            # The same identity with a wrong time, from wherever the relay can hear it.
            liar = Forger(mallory, (Forgery.FUTURE,), off_s=HOUR_S)
            lying = [asyncio.create_task(say(phone, liar)) for phone in lab.phones.values()]
        hub = lab.boards["hub"].name

        def announced() -> list[int]:
            relays = {peer for peer, view in alice.peers.items() if view.nickname == hub}
            return [
                int.from_bytes(arrival.frame[frame.TIMESTAMP : frame.FLAGS], "big") - round((wall_of(arrival)) * 1000)
                for arrival in alice.received
                if arrival.frame[frame.TYPE] == frame.TYPE_ANNOUNCE and arrival.frame[frame.SENDER_V1 :][:8] in relays
            ]

        await alice.wait_until(lambda: len(announced()) >= 5, 40, "hears too few announces of the relay")
        assert all(abs(off_ms) < 5000 for off_ms in announced()), announced()
        for task in lying:
            task.cancel()


def wall_of(arrival: Arrival) -> float:
    """When it arrived, in Unix seconds."""
    return time.time() - time.monotonic() + arrival.at


async def say(phone: Phone, liar: Forger) -> None:
    while True:
        data = liar.make(Forgery.FUTURE)
        assert data is not None
        for link in phone.open_links:
            link.post(data)
        await asyncio.sleep(0.1)
