"""The nodes of a study: they join, collude, die and are replaced, each as its seed has it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from random import Random

from ..dht.messages import Answer, Contact, SignedValue, Stored
from ..dht.node import DhtNode
from ..transports.address import Udp
from .dht_network import Attachment, MemoryNetwork, address_of
from .id_index import IdIndex

EPOCH = 1_800_000_000
Telling = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is to do."""
BOOTSTRAP = 8
"""Nodes that a newcomer is told of, whoever they are: colluders among them."""
_FIRST = 20
_GROWTH_PER_S = 1 / 200
_AGAIN_S = 1.0
_NOBODYS = Udp("198.51.101.1", 8766)


@dataclass(slots=True, eq=False)
class Member:
    """A node of the study. joined_at: when it had joined, in virtual seconds, or None; place: among those that have."""

    node: DhtNode
    attachment: Attachment
    colludes: bool
    joined_at: float | None = None
    place: int = -1


class Colluder(DhtNode):
    """Tells of colluders only, those nearest to what it is asked for; and keeps no value, though it says it does."""

    ring: IdIndex
    contacts: dict[bytes, Contact]

    def nearest_for(self, target: bytes, asker: Contact | None) -> tuple[Contact, ...]:
        return tuple(self.contacts[node_id] for node_id in self.ring.nearest(target, 20) if node_id != self.node_id)

    def keep(self, asker: Contact | None, value: SignedValue, now: float) -> Answer:
        return Stored()


class Liar(Colluder):
    """Tells of the honest nodes it knows, too, and each time that they are where nobody is."""

    def nearest_for(self, target: bytes, asker: Contact | None) -> tuple[Contact, ...]:
        told = {contact.node_id: contact for contact in super().nearest_for(target, asker)}
        for contact in DhtNode.nearest_for(self, target, asker):
            told.setdefault(contact.node_id, Contact(contact.node_id, (_NOBODYS,)))
        wanted = int.from_bytes(target, "big")
        return tuple(told[node_id] for node_id in sorted(told, key=lambda i: int.from_bytes(i, "big") ^ wanted)[:20])


class Population:
    """Nodes that are up; `joined` are those that have finished joining. Runs in the network's loop.

    lying: whether colluders lie about where honest nodes are.
    """

    def __init__(
        self, network: MemoryNetwork, random: Random, *, adversaries: float, paths: int, lying: bool = False
    ) -> None:
        self.network = network
        self.joined: list[Member] = []
        self.honest = IdIndex()
        self.by_id: dict[bytes, Member] = {}
        self.died = 0
        self._random = random
        self._adversaries = adversaries
        self._paths = paths
        self._colluder = Liar if lying else Colluder
        self._ring = IdIndex()
        self._ring_contacts: dict[bytes, Contact] = {}
        self._made = 0
        self._colluders = 0

    def now(self) -> float:
        """Unix seconds, as the nodes see them."""
        return EPOCH + self.network.loop.time()

    async def grow(self, count: int, tell: Telling) -> None:
        """Let so many nodes join, faster as there are more of them, and wait for the last."""
        first = min(count, _FIRST)
        for _ in range(first):
            await self._come(self._next_colludes())
        async with asyncio.TaskGroup() as group:
            for number in range(first, count):
                await asyncio.sleep(self._random.expovariate(len(self.joined) * _GROWTH_PER_S))
                group.create_task(self._come(self._next_colludes()))
                tell("nodes join", number, count)

    async def churn(self, sessions_per_hour: float) -> None:
        """Let nodes die without a word, and others come in their places, until cancelled.

        A session's length is exponential, so that a node's age says nothing about how long it stays: the median is
        1 / sessions_per_hour hours.
        """
        rate = sessions_per_hour * log(2) / 3600
        async with asyncio.TaskGroup() as group:
            while True:
                # If all have gone at once, somebody must come first.
                there = len(self.joined)
                await asyncio.sleep(self._random.expovariate(rate * there) if there else _AGAIN_S)
                if not self.joined:
                    continue
                leaving = self._random.choice(self.joined)
                self._leave(leaving)
                group.create_task(self._replace(leaving))

    async def pick_honest(self) -> Member:
        """One that has joined and does not collude; it waits until there is one."""
        while not len(self.honest):  # noqa: ASYNC110 (virtual seconds cost nothing)
            await asyncio.sleep(_AGAIN_S)
        while True:
            member = self._random.choice(self.joined)
            if not member.colludes:
                return member

    def head(self, target: bytes, since: float, origin: Member) -> bytes | None:
        """The honest node nearest to a target, of those that have been up since then, other than the origin."""
        for node_id in self.honest.nearest(target, 100):
            member = self.by_id[node_id]
            if member is not origin and member.joined_at is not None and member.joined_at <= since:
                return node_id
        return None

    async def stop(self) -> None:
        """Stop all nodes."""
        for member in list(self.by_id.values()):
            await member.node.stop()

    async def _replace(self, leaving: Member) -> None:
        await leaving.node.stop()
        await self._come(leaving.colludes)

    async def _come(self, colludes: bool) -> None:
        member = self._make(colludes)
        seeds = self._random.sample(self.joined, min(BOOTSTRAP, len(self.joined)))
        await member.node.join([other.attachment.contact for other in seeds])
        await member.node.start()
        member.joined_at = self.network.loop.time()
        member.place = len(self.joined)
        self.joined.append(member)
        if not colludes:
            self.honest.add(member.node.node_id)

    def _leave(self, member: Member) -> None:
        # The last takes its place in the list, so that leaving costs the same however many there are.
        last = self.joined.pop()
        if last is not member:
            self.joined[member.place] = last
            last.place = member.place
        node_id = member.node.node_id
        member.attachment.down()
        del self.by_id[node_id]
        if member.colludes:
            self._ring.remove(node_id)
            del self._ring_contacts[node_id]
        else:
            self.honest.remove(node_id)
        self.died += 1

    def _make(self, colludes: bool) -> Member:
        contact = Contact(self._random.randbytes(32), (address_of(self._made),))
        self._made += 1
        attachment = self.network.attach(contact)
        kind = self._colluder if colludes else DhtNode
        node = kind(attachment, paths=self._paths, clock=self.now, random=Random(self._random.getrandbits(64)))
        if isinstance(node, Colluder):
            node.ring, node.contacts = self._ring, self._ring_contacts
            self._ring.add(contact.node_id)
            self._ring_contacts[contact.node_id] = contact
        attachment.up(node.reply)
        member = self.by_id[contact.node_id] = Member(node, attachment, colludes)
        return member

    def _next_colludes(self) -> bool:
        # Evenly, so that the share is right at any size; the first node never does.
        colludes = self._colluders < int(self._adversaries * (self._made + 1))
        self._colluders += colludes
        return colludes
