"""A phone that writes nothing but rubbish: the relay stays up, counts it, and others are served."""

import asyncio
import json
import random
from pathlib import Path

from relays import check_books, counters, everybody_linked, open_console, quiet_counters

from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.ledger import Ledger
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, book_arrivals, run_flow
from shared_protocol.frame import Header

VECTORS = Path(__file__).parents[1] / "vectors" / "bitchat.json"
MUTATED = 10_000
LONGEST = 512
WINDOW = 32

GOOD = ("alice", "bob")
SCENE = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=tuple(PhoneSpec(name, announce=False) for name in (*GOOD, "mallory")),
    edges=tuple(Edge(name, "hub") for name in (*GOOD, "mallory")),
)


def rubbish(rng: random.Random) -> list[bytes]:
    """Every invalid vector that fits a value, partial frames, empty values, and mutated frames of all kinds."""
    vectors = [vector for vector in json.loads(VECTORS.read_text()) if vector["kind"] == "packet"]
    whole = [bytes.fromhex(vector["hex"]) for vector in vectors if vector["valid"] and "fill" not in vector]
    values = [bytes.fromhex(vector["hex"]) for vector in vectors if not vector["valid"]]
    values += [frame[:n] for frame in whole[:5] for n in range(0, len(frame), 7)]
    values += [b""] * 20
    for _ in range(MUTATED):
        value = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 8)):
            value[rng.randrange(len(value))] = rng.randrange(256)
        cut = rng.random()
        if cut < 0.2:
            del value[rng.randrange(len(value)) :]
        elif cut < 0.3:
            value += rng.randbytes(rng.randint(1, 100))
        values.append(bytes(value[:LONGEST]))
    return [value for value in values if len(value) <= LONGEST]


async def test_hostile_phone() -> None:
    values = rubbish(random.Random(2))
    header = Header()
    broken = sum(header.parse(value, len(value)) < 0 for value in values)
    async with Lab(SCENE) as lab:
        await everybody_linked(lab)
        hub = lab.boards["hub"]
        boots = hub.boots
        async with await open_console(hub) as console:
            before = await counters(console)
            (link,) = lab.phones["mallory"].open_links
            window = asyncio.Semaphore(WINDOW)

            async def write(value: bytes) -> None:
                async with window:
                    assert await link.write_raw(value)

            async def attack() -> None:
                await asyncio.gather(*(write(value) for value in values))

            attacking = asyncio.create_task(attack())
            # Good frames in the midst of it. A relay under attack may lose some, and counts what it loses.
            makers = [FrameMaker(lab.phones[name].identity, random.Random(name)) for name in GOOD]
            sent = 0
            while not attacking.done():
                for name, maker in zip(GOOD, makers, strict=True):
                    sent += await lab.phones[name].send(maker.make(Kind.PUBLIC, b"")[0])
                await asyncio.sleep(0.1)
            await attacking
            after = await quiet_counters(console)
            check_books(after)
            told = {name: after[name] - before[name] for name in after if after[name] != before[name]}
            assert told["rx_frames"] == len(values) + sent, (len(values), sent, told)
            assert told["drop_partial"] + told["drop_malformed"] + told.get("drop_no_slot", 0) >= broken, (broken, told)
            assert told.get("links_down", 0) == 0
            assert hub.boots == boots

            # And when it is over, everything is as it was.
            ledger = Ledger()
            book_arrivals(lab.phones.values(), ledger)
            flows = [
                Flow("alice", ("bob",), kinds=(Kind.PUBLIC,), count=30, window=4),
                Flow("bob", ("alice",), kinds=(Kind.PUBLIC,), count=30, window=4),
            ]
            await asyncio.gather(*(run_flow(flow, lab.phones, ledger, seed=7) for flow in flows))
            report = ledger.report()
            assert report.delivered == report.sent == 60, (report, ledger.missing())
            print(len(values), "values,", broken, "broken,", told)
