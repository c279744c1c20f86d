"""Nodes in memory for the tests of the DHT, in virtual time and from a seed."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from bitrelay.dht.messages import Contact
from bitrelay.dht.node import DhtNode
from bitrelay.identity.keys import IdentityKeys
from bitrelay.simulator.dht_network import Attachment, Conditions, MemoryNetwork, address_of
from bitrelay.simulator.virtual_time import VirtualTimeLoop

EPOCH = 1_700_000_000.0
Result = TypeVar("Result")


def node_id(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def contact(number: int) -> Contact:
    """A node of its own id and network."""
    return Contact(node_id(number), (address_of(number),))


def keys(number: int) -> IdentityKeys:
    seed = hashlib.sha256(b"keys" + number.to_bytes(4, "big")).digest()
    return IdentityKeys(seed, seed)


def near(target: bytes, bits: int, number: int) -> bytes:
    """An id that shares exactly so many leading bits with another."""
    rest = 255 - bits
    offset = 1 << rest | (number % (1 << rest) if rest else 0)
    return (int.from_bytes(target, "big") ^ offset).to_bytes(32, "big")


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work())


class SmallNetwork:
    """Nodes that join one after the other. To be made in a VirtualTimeLoop."""

    def __init__(self, seed: int = 1, conditions: Conditions | None = None, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.random = Random(seed)
        self.network = MemoryNetwork(loop, Random(seed), conditions)
        self.nodes: list[DhtNode] = []
        self.attachments: dict[bytes, Attachment] = {}
        self._options = options

    def now(self) -> float:
        return EPOCH + self.loop.time()

    def make(self, who: Contact, **options: Any) -> DhtNode:
        """A node that is up and knows nobody."""
        attachment = self.attachments[who.node_id] = self.network.attach(who)
        random = Random(self.random.random())
        node = DhtNode(attachment, clock=self.now, random=random, **{**self._options, **options})
        attachment.up(node.reply)
        self.nodes.append(node)
        return node

    async def grow(self, count: int) -> None:
        """So many nodes more, which join by one that is there."""
        for _ in range(count):
            there = [self.random.choice(self.nodes).network.contact] if self.nodes else []
            await self.make(contact(len(self.nodes))).join(there)

    def kill(self, node: DhtNode) -> None:
        self.attachments[node.node_id].down()

    def nearest(self, target: bytes, count: int, without: bytes = b"") -> list[bytes]:
        """The ids of the nodes that are up, nearest first."""
        ids = [node.node_id for node in self.nodes if self.attachments[node.node_id].is_up]
        wanted = int.from_bytes(target, "big")
        return sorted((i for i in ids if i != without), key=lambda i: int.from_bytes(i, "big") ^ wanted)[:count]

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
