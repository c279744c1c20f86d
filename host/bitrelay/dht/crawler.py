"""Finding out who is in the network, a lookup at a time (rows DSC-24 to DSC-32).

The crawl begins with the nodes that are known from joining; each one found is looked up in turn, and brings those near
to it. It goes as slowly as it is told to: it must not be a burden to those it counts.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from ..transports.address import Udp
from .lookup import Plan
from .messages import Contact
from .node import DhtNode
from .node_id import ID_SIZE, hop_distance
from .node_record import FIRST_REPUTATION

EMPTY_S = 10.0
"""How long the crawl rests when there is nobody left to look up (row DSC-29)."""
INTERVAL_S = 1.0
"""Between the beginnings of two lookups."""
MAX_PEERS = 65_536
"""That are remembered; of those who are found when there is no more room only the count is."""
MAX_QUEUE = 16_384


@dataclass(frozen=True, slots=True)
class DhtPeer:
    """A peer that was found (row DSC-25).

    last_seen: Unix seconds of when it last answered; hop_distance: how many bits its id differs in from ours, which is
    a figure to show and no measure of how near it is (E10); reputation: what our table says, or 0.5.
    """

    peer_id: bytes
    addresses: tuple[Udp, ...]
    reputation: float
    last_seen: float
    hop_distance: int


class Crawler:
    """Crawls by a node that has joined. interval_s: see INTERVAL_S.

    peers: who was found, by id; not_remembered, not_queued: how many were not, for want of room; crawled: lookups made.
    """

    def __init__(
        self,
        node: DhtNode,
        *,
        interval_s: float = INTERVAL_S,
        max_peers: int = MAX_PEERS,
        max_queue: int = MAX_QUEUE,
    ) -> None:
        self.node = node
        self.peers: dict[bytes, DhtPeer] = {}
        self.crawled = 0
        self.not_remembered = 0
        self.not_queued = 0
        self._interval_s = interval_s
        self._max_peers = max_peers
        self._max_queue = max_queue
        self._queue: deque[bytes] = deque()

    @property
    def queued(self) -> int:
        """How many wait to be looked up."""
        return len(self._queue)

    def seed(self) -> int:
        """Take in the nodes that are known from joining (row DSC-28); how many were new."""
        return sum(self._found(record.contact) for record in self.node.table)

    async def run(self, seconds: float | None = None) -> None:
        """Crawl for so long, or until cancelled. With nobody left to look up it rests.

        Ends at most one lookup after its time.
        """
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        self.seed()
        while end is None or loop.time() < end:
            began = loop.time()
            await self.step()
            rest = max(0.0, began + self._interval_s - loop.time()) if self._queue or self.seed() else EMPTY_S
            await asyncio.sleep(rest if end is None else max(0.0, min(rest, end - loop.time())))

    async def step(self) -> int:
        """Look up the next one, and take in who is near to it (row DSC-27); how many were new.

        With nobody left a random id is looked up: there may be crowds that nobody looked up so far knows of.
        """
        target = self._queue.popleft() if self._queue else self.node.random.randbytes(ID_SIZE)
        found = await self.node.lookup(target, plan=Plan(paths=1))
        self.crawled += 1
        return sum(self._found(contact) for contact in found.closest)

    def select(self, count: int) -> list[DhtPeer]:
        """The best peers by reputation; of equal ones who was seen last (row DSC-32)."""
        best = sorted(self.peers.values(), key=lambda peer: (-peer.reputation, -peer.last_seen, peer.peer_id))
        return best[:count]

    def _found(self, contact: Contact) -> bool:
        # Whether it was new.
        record = self.node.table.get(contact.node_id)
        reputation = record.reputation if record else FIRST_REPUTATION
        contact = record.contact if record else contact  # at addresses that are proved
        known = self.peers.get(contact.node_id)
        if known is not None:
            self.peers[contact.node_id] = replace(
                known, addresses=contact.addresses, reputation=reputation, last_seen=self.node.clock()
            )
            return False
        if len(self.peers) >= self._max_peers:
            self.not_remembered += 1
            return False
        self.peers[contact.node_id] = DhtPeer(
            peer_id=contact.node_id,
            addresses=contact.addresses,
            reputation=reputation,
            last_seen=self.node.clock() if record is None else record.last_seen,
            hop_distance=hop_distance(self.node.node_id, contact.node_id),
        )
        if len(self._queue) < self._max_queue:
            self._queue.append(contact.node_id)
        else:
            self.not_queued += 1
        return True
