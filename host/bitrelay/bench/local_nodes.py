"""Many real DHT nodes in this process: sockets on loopback, identities that took a moment's work."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from shared_protocol.pow import Miner

from ..dht.bootstrap import first_contacts
from ..dht.endpoint import Endpoint
from ..dht.flood import FloodLimits
from ..dht.lookup import Plan
from ..dht.messages import Answer, Contact, Question
from ..dht.network import ASK_TIMEOUT_S
from ..dht.node import DhtNode
from ..dht.udp import UdpNetwork
from ..dht.values import Kind, sign
from ..errors import BitrelayError
from ..identity.challenge import Challenge
from ..identity.keys import IdentityKeys
from ..identity.proof import PowIdentity
from ..identity.record import to_record
from ..identity.solution import Solution
from ..identity.verify import DEVELOPMENT_BASE
from ..transports.address import Udp

LOOPBACK: Final = Udp("127.0.0.1", 0)

_JOIN_AT_ONCE: Final = 8
_LIFETIME_S: Final = 3600


@dataclass(frozen=True, slots=True)
class HastyNetwork:
    """A network on which nobody waits longer than timeout, in seconds: for loopback, where nothing takes so long."""

    network: UdpNetwork
    timeout: float

    @property
    def contact(self) -> Contact:
        return self.network.contact

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        """As `network.Network` has it."""
        return await self.network.ask(contact, question, min(timeout, self.timeout))

    def proved(self, contact: Contact) -> Contact:
        """As `network.Network` has it."""
        return self.network.proved(contact)


@dataclass(frozen=True, slots=True)
class LocalNode:
    """A node that runs in this process."""

    keys: IdentityKeys
    network: UdpNetwork
    node: DhtNode

    async def close(self) -> None:
        """End it without a word to others, as one that dies does."""
        await self.network.close()
        await self.node.stop()


async def start_node(random: Random, ask_timeout_s: float, limits: FloodLimits | None = None) -> LocalNode:
    """A node that listens on loopback and knows nobody. random: its keys come from there. limits: else none there."""
    keys = IdentityKeys(random.randbytes(32), random.randbytes(32))
    record = to_record(_mined(keys), keys)
    endpoint = Endpoint(keys, lambda: record, base=DEVELOPMENT_BASE)
    network = UdpNetwork(endpoint, limits or FloodLimits.one_host())
    await network.listen(LOOPBACK)
    node = DhtNode(HastyNetwork(network, ask_timeout_s), random=random)
    network.serve(node.answer)
    return LocalNode(keys, network, node)


async def start_nodes(count: int, random: Random, ask_timeout_s: float = ASK_TIMEOUT_S) -> list[LocalNode]:
    """So many nodes that have all joined by way of the first, in any order."""
    nodes: list[LocalNode] = []
    try:
        for _ in range(count):
            nodes.append(await start_node(random, ask_timeout_s))
        order = nodes[1:]
        random.shuffle(order)
        await _join(nodes[0].network.bound[0], order)
    except BaseException:
        for local in nodes:
            await local.close()
        raise
    return nodes


async def _join(first: Udp, nodes: Sequence[LocalNode]) -> None:
    left = iter(nodes)

    async def join_some() -> None:
        for local in left:
            await local.node.join(await first_contacts([first], local.network.greet))

    async with asyncio.TaskGroup() as group:
        for _ in range(_JOIN_AT_ONCE):
            group.create_task(join_some())


async def put_value(local: LocalNode, name: str, data: bytes) -> bool:
    """Put a value of this node's; whether anybody keeps it."""
    value = sign(local.keys, Kind.APPLICATION, name, data, now=time.time(), lifetime_s=_LIFETIME_S)
    return (await local.node.put(value)).stored > 0


async def has_value(local: LocalNode, name: str, data: bytes, plan: Plan) -> bool:
    """Whether the node gets this value from the others."""
    try:
        found = await local.node.get(Kind.APPLICATION, name, plan=plan)
    except BitrelayError:
        return False
    return any(value.data == data for value in found.values)


def datagrams(nodes: Sequence[LocalNode]) -> int:
    """How many the nodes have sent, questions and answers."""
    return sum(local.network.traffic.sent for local in nodes)


def _mined(keys: IdentityKeys) -> PowIdentity:
    now = int(time.time())
    challenge = Challenge.fresh(DEVELOPMENT_BASE, now)
    miner = Miner(challenge.challenge_data, keys.signing_key, challenge.timestamp, challenge.difficulty)
    while not miner.step(1 << 10):
        pass
    return PowIdentity.made(keys, Solution.made(challenge, miner.nonce, keys, now))
