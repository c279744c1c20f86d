"""Feeds a node with datagrams that were damaged, or made by somebody who means harm and signs well.

    python tests/dht/fuzz.py --count 1000000 --seed 1

Ends with an error when the node raises anything, logs a fault of its own, or keeps growing.
"""

import argparse
import asyncio
import gc
import random
import time
import tracemalloc

from bitrelay.dht.endpoint import Endpoint
from bitrelay.dht.flood import FloodLimits, Rate
from bitrelay.dht.message_codec import Message, encode_body
from bitrelay.dht.messages import (
    Answer,
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Question,
    Refusal,
    Refused,
    SignedValue,
    Store,
    Stored,
    Values,
)
from bitrelay.dht.udp import UdpNetwork
from bitrelay.dht.wire import ANYONE, HEAD_SIZE, TRANSACTION_SIZE, Signer, peek, signed_part
from bitrelay.errors import DeviceTimeout, PeerError, TransportClosed
from bitrelay.identity.keys import SIGNATURE_BYTES, IdentityKeys
from bitrelay.transports.address import Udp

_PLENTY = Rate(1e9, 1e9)
GROWTH_BYTES = 4 << 20
"""More than that between the first tenth of a run and its end is no flat memory."""


def mutated(data: bytes, source: random.Random) -> bytes:
    """The data with something done to it: bits, bytes, pieces, ends."""
    damaged = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(damaged) + 1)
        match source.randrange(6):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << source.randrange(8)
            case 1 if at < len(damaged):
                damaged[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del damaged[at : at + source.randint(1, 40)]
            case 3:
                damaged[at:at] = source.randbytes(source.randint(1, 40))
            case 4:
                piece = damaged[at : at + source.randint(1, 80)]
                where = source.randrange(len(damaged) + 1)
                damaged[where:where] = piece
            case _:
                del damaged[at:]
    return bytes(damaged)


class DeafEndpoint(Endpoint):
    """An endpoint without a socket. asked: the transaction of the last question that it would have sent."""

    asked = bytes(TRANSACTION_SIZE)

    def reaches(self, address: Udp) -> bool:
        return True

    def send(self, datagram: bytes, place: Udp) -> None:
        self.traffic.sent += 1
        head = peek(datagram)
        if head.question:
            self.asked = head.transaction


def questions(source: random.Random) -> list[Message]:
    """Messages of each kind."""
    some = source.randbytes
    contacts = tuple(Contact(some(32), (Udp("192.0.2.1", 8766), Udp("2001:db8::1", 8766))) for _ in range(8))
    signed = SignedValue(1, "mesh", some(32), 1, 2, 3, some(200), some(64))
    return [
        Ping(), FindNode(some(32)), FindValue(some(32), some(32)), Store(signed),
        Pong(Udp("192.0.2.1", 8766)), Nodes(contacts), Values((signed, signed), False, contacts[:2]), Stored(),
        Refused(Refusal.TOO_MANY),
    ]  # fmt: skip


class Stranger:
    """Somebody with keys who sends what it should not."""

    def __init__(self, source: random.Random, victim: bytes, now: float) -> None:
        self._source = source
        self._victim = victim
        self.keys = IdentityKeys(source.randbytes(32), source.randbytes(32))
        self._signer = Signer(self.keys, lambda: now)
        self._messages = questions(source)

    def datagram(self, asked: bytes) -> bytes:
        """Damaged before it was signed or after. asked: the transaction of a question that waits for an answer."""
        source = self._source
        message = source.choice(self._messages)
        to = ANYONE if isinstance(message, Ping) and source.random() < 0.3 else self._victim
        record = source.randbytes(source.randint(1, 303)) if len(encode_body(message)) < 700 else None
        transaction = source.randbytes(TRANSACTION_SIZE) if isinstance(message, Question) else asked
        sealed = self._signer.seal(message, to, transaction, transaction, record=record)
        if source.random() < 0.5:
            return mutated(sealed, source)
        # What follows the head is damaged and then signed: it comes as far as what the message says.
        signed = sealed[:HEAD_SIZE] + mutated(sealed[HEAD_SIZE:-SIGNATURE_BYTES], source)
        return signed + self.keys.sign(signed_part(to, signed))


async def feed(count: int, seed: int, *, memory: bool = False) -> dict[str, int]:
    """Feed a node with so many datagrams; how it took them, by reason. Raises AssertionError for growth or a fault."""
    source = random.Random(seed)
    now = time.time()
    keys = IdentityKeys(source.randbytes(32), source.randbytes(32))
    stranger = Stranger(source, keys.peer_id, now)
    asked = Contact(stranger.keys.peer_id, (Udp("192.0.2.1", 8766),))
    endpoint = DeafEndpoint(keys, lambda: bytes(303), clock=lambda: now)

    async def answering(contact: Contact | None, question: Question) -> Answer:
        return Pong() if isinstance(question, Ping) else Nodes(())

    async def ask() -> None:
        try:
            await network.ask(asked, FindNode(bytes(32)))
        except (PeerError, DeviceTimeout, TransportClosed):
            pass

    network = UdpNetwork(endpoint, FloodLimits(*[_PLENTY] * 6))
    network.serve(answering)
    asking = asyncio.create_task(ask())
    begun = 0
    if memory:
        tracemalloc.start()
    for number in range(count):
        if number % 8 == 0:
            await asyncio.sleep(0)
            if asking.done():
                await asking
                asking = asyncio.create_task(ask())
                await asyncio.sleep(0)
        place = source.choice((asked.addresses[0], Udp(f"10.{source.randrange(256)}.0.1", source.randint(1, 0xFFFF))))
        network.receive(stranger.datagram(endpoint.asked), place)
        if memory and number == count // 10:
            gc.collect()
            begun = tracemalloc.get_traced_memory()[0]
    if memory:
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - begun
        tracemalloc.stop()
        assert grown < GROWTH_BYTES, f"the node has grown by {grown} bytes"
    await network.close()
    await asking
    dropped = endpoint.traffic.dropped
    assert not dropped["FAULT"], "a question was not answered by a fault of our own"
    return {"sent": endpoint.traffic.sent} | dict(sorted(dropped.items()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    print(asyncio.run(feed(given.count, given.seed, memory=True)))


if __name__ == "__main__":
    main()
