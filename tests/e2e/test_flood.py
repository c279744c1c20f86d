"""A phone that writes as fast as the link allows: nothing is lost without a counted reason."""

import asyncio
import random

from relays import check_books, everybody_linked, open_console, quiet_counters, wait_until

from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from shared_protocol import console as messages

LISTENERS = ("bob", "carol", "dave")
FRAMES = 1000
WINDOW = 64

STAR = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=tuple(PhoneSpec(name, announce=False) for name in ("alice", *LISTENERS)),
    edges=tuple(Edge(name, "hub") for name in ("alice", *LISTENERS)),
)


async def test_flood() -> None:
    async with Lab(STAR) as lab:
        await everybody_linked(lab)
        hub = lab.boards["hub"]
        alice = lab.phones["alice"]
        async with await open_console(hub) as console:
            before = await quiet_counters(console)
            for name in LISTENERS:
                lab.phones[name].received.clear()
            maker = FrameMaker(alice.identity, random.Random(1))
            frames = [maker.make(Kind.PUBLIC, b"")[0] for _ in range(FRAMES)]
            (link,) = alice.open_links
            window = asyncio.Semaphore(WINDOW)
            slowest = 0.0

            async def write(frame: bytes) -> None:
                async with window:
                    await link.send(frame)

            async def ask() -> None:
                nonlocal slowest
                loop = asyncio.get_running_loop()
                while True:
                    start = loop.time()
                    await console.request(messages.STATS, timeout_s=1.0)
                    slowest = max(slowest, loop.time() - start)
                    await asyncio.sleep(0.1)

            asking = asyncio.create_task(ask())
            start = asyncio.get_running_loop().time()
            await asyncio.gather(*(write(frame) for frame in frames))
            took = asyncio.get_running_loop().time() - start
            if asking.done():
                asking.result()
            asking.cancel()
            after = await quiet_counters(console)
        check_books(after)
        told = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert told["rx_frames"] == FRAMES, told
        for name in LISTENERS:
            arrived = [arrival.value for arrival in lab.phones[name].received]
            assert len(arrived) == len(set(arrived))

        # What the relay has handed to its stack is still on its way for a moment. What it says itself does not count.
        def heard() -> int:
            received = (arrival.value for name in LISTENERS for arrival in lab.phones[name].received)
            return sum(alice.identity.peer_id in value[:24] for value in received)

        copies = told["forwarded"] * len(LISTENERS)
        lost = sum(told.get(f"drop_{reason}", 0) for reason in ("queue_full", "link_lost", "mtu", "send_failed"))
        await wait_until(lambda: heard() >= copies - lost, "what the relay sent did not arrive")
        assert heard() <= copies
        print(f"{FRAMES / took:.0f} frames/s in, {heard() / took:.0f} out, console at worst {slowest * 1000:.0f} ms")
        print(told)
