"""A node of the DHT: it answers questions, finds nodes, and puts and gets values (rows DHT-15 to DHT-25, E11).

It needs a network that takes its questions to others and calls `answer` with theirs; and it knows no sockets.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random, SystemRandom

from ..errors import BadData, BitrelayError, DeviceTimeout, PeerError
from . import events, lookup, network_size
from .answers import checked
from .bucket import DEAD_AFTER, K
from .events import Event, Statistics
from .lookup import Found, Plan
from .messages import (
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
from .network import ASK_TIMEOUT_S, PING_TIMEOUT_S, Network
from .node_id import ID_BITS, ID_SIZE, bucket_index, distance
from .question_limit import QuestionLimit
from .routing_table import Heard, RoutingTable
from .store import ValueStore
from .upkeep import Upkeep
from .values import fault_of, is_later, key_of, latest

DEFAULT_PATHS = 4
"""Of what the node looks up for its user, and to store; S/Kademlia recommends 4 to 8."""
SEEDS = 3 * K
"""Nodes that a lookup begins with: more than k, since some of the nearest may have died."""
REFRESH_WIDTH = 8
"""How many of the nearest are found when a bucket is refreshed: it is filled by whoever answers on the way."""
SPARSE = K // 2
"""A bucket with fewer nodes than this is refreshed as the node joins."""
MAX_CHECKS = 16
"""Nodes that are being pinged to make room for others, at a time; beyond that none is, which is counted."""
LINK_ALIVE_S = 30.0
"""If nobody was heard for longer, it may be our own link that is down: a timeout is held against nobody."""
MAX_OWN_VALUES = 1024
VALUES_ROOM = 1000
"""Bytes of values in one answer: with all around them they fit a datagram of 1,232."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a value was put. stored: nodes that keep it; refused: why others do not; lost: those without answer."""

    stored: int
    refused: tuple[Refusal, ...]
    lost: int
    found: Found


class DhtNode:
    """A node whose id and addresses are the network's `contact`.

    paths: of its lookups, 1 to 8; exempt_private: see `RoutingTable`; clock: Unix seconds; random: for ids to look up
    and for jitter; tell: called with every `Event`, must not raise. Use it in the loop that it was made in.
    """

    def __init__(
        self,
        network: Network,
        *,
        paths: int = DEFAULT_PATHS,
        exempt_private: bool = False,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        self.network = network
        self.node_id = network.contact.node_id
        self.clock = clock
        self.random = SystemRandom() if random is None else random
        self.paths = paths
        self.table = RoutingTable(self.node_id, exempt_private=exempt_private)
        self.store = ValueStore(self.node_id)
        self.own: dict[tuple[bytes, bytes], SignedValue] = {}
        self.remembered: list[Contact] = []
        self.statistics = Statistics()
        self._tell = tell
        self._limit = QuestionLimit()
        self._checks: dict[bytes, asyncio.Task[None]] = {}
        self._last_heard = float("-inf")
        self._upkeep = Upkeep(self)

    @property
    def running(self) -> bool:
        return self._upkeep.running

    async def start(self) -> None:
        """Refresh buckets and republish values from now on (row DHT-23). Harmless if it does already."""
        self._upkeep.start()

    async def stop(self) -> None:
        """Stop doing so, and whatever else goes on of itself. Harmless if it did."""
        await self._upkeep.stop()
        checks = list(self._checks.values())
        for task in checks:
            task.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    async def join(self, bootstrap: Iterable[Contact] = ()) -> int:
        """Come into the network by way of these nodes and of those remembered; how many nodes are known then.

        Nodes that do not answer are left out; with none that does, the result is 0 and nothing else happens.
        """
        known = {contact.node_id: contact for contact in bootstrap if contact.node_id != self.node_id}
        remembered, self.remembered = self.remembered, []
        await self.ping_all([contact for contact in remembered if contact.node_id not in known])
        known |= {contact.node_id: contact for contact in self.table.closest(self.node_id, SEEDS)}
        seeds = sorted(known.values(), key=lambda contact: distance(contact.node_id, self.node_id))
        # On all paths: one honest node among those who bring us in must be enough to find the others.
        await lookup.find_node(self.node_id, self.node_id, seeds, self.ask, Plan(lookup.MAX_PATHS))
        await self._fill_buckets()
        # Once more, now that there are many to begin with: all who are near must know of us.
        await self.lookup(self.node_id)
        return len(self.table)

    async def _fill_buckets(self) -> None:
        nearest = self.table.closest(self.node_id, 1)
        if nearest:
            for index in range(bucket_index(self.node_id, nearest[0].node_id) + 1):
                bucket = self.table.bucket(index)
                if bucket is None or len(bucket.records) < SPARSE:
                    await self.refresh(index)

    async def ping(self, contact: Contact) -> float:
        """Seconds that a node takes to answer. Raises DeviceTimeout, PeerError."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await self.ask(contact, Ping(), PING_TIMEOUT_S)
        if isinstance(answer, Refused):
            raise PeerError(f"the node refuses to answer: {answer.reason}")
        return loop.time() - started

    async def ping_all(self, contacts: list[Contact]) -> None:
        """Ping nodes, a few at a time: who answers comes into the table or stays there, who does not loses standing."""
        left = iter(contacts)

        async def ping_some() -> None:
            for contact in left:
                try:
                    await self.ask(contact, Ping(), PING_TIMEOUT_S)
                except BitrelayError:
                    pass

        async with asyncio.TaskGroup() as group:
            for _ in range(min(MAX_CHECKS, len(contacts))):
                group.create_task(ping_some())

    async def lookup(self, target: bytes, *, plan: Plan | None = None) -> Found:
        """The nearest nodes to an id that answer, without early stop."""
        if len(target) != ID_SIZE:
            raise BadData(f"an id has {ID_SIZE} bytes, not {len(target)}")
        known = self._seeds(target)
        found = await lookup.find_node(
            target, self.node_id, known, self.ask, plan or Plan(self.paths), self._expected_distance()
        )
        return self._looked_up(found)

    async def put(self, value: SignedValue) -> Placed:
        """Put a value of our user's at the nodes nearest to its key, and bring it again every hour until it expires.

        Raises BadData for a value that does not count, or that is one too many.
        """
        fault = fault_of(value, self.clock())
        if fault is not None:
            raise BadData(f"the value cannot be stored: {fault}")
        name = (key_of(value.kind, value.name), value.owner)
        known = self.own.get(name)
        if known is None and len(self.own) >= MAX_OWN_VALUES:
            raise BadData(f"a node puts at most {MAX_OWN_VALUES} values of its own")
        if known is not None and is_later(known, value):
            raise BadData("a later value was put there before", hint="Give it a higher sequence")
        self.own[name] = value
        (placed,) = await self.place(name[0], (value,))
        return placed

    async def get(self, kind: int, name: str, *, owner: bytes | None = None, plan: Plan | None = None) -> Found:
        """The values of a kind and name: of each owner the latest, or of this one alone. Raises BadData for no name."""
        try:
            key = key_of(kind, name)
        except ValueError as error:
            raise BadData(str(error)) from None

        def enough(values: Iterable[SignedValue]) -> bool:
            return any(owner in (None, value.owner) for value in values)

        known = self._seeds(key)
        found = self._looked_up(
            await lookup.find_value(
                key, self.node_id, known, self.ask, plan or Plan(self.paths), enough, self._expected_distance()
            )
        )
        here = self.store.find(key, bytes(ID_SIZE), 1 << 20, self.clock())[0]
        values = tuple(value for value in latest((*here, *found.values)) if owner in (None, value.owner))
        return Found(key, found.closest, values, found.hops, found.messages, found.failures, found.steps)

    async def place(self, key: bytes, values: Iterable[SignedValue]) -> list[Placed]:
        """Bring values of one key to the nodes nearest to it, ourselves among them if we are."""
        found = await self.lookup(key)
        placed = []
        for value in values:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._store_at(contact, value)) for contact in found.closest]
            outcomes = [task.result() for task in tasks]
            if self._is_near(key, found.closest):
                outcomes.append(self.store.put(value, self.clock()) or Stored())
            refused = tuple(outcome for outcome in outcomes if isinstance(outcome, Refusal))
            stored = sum(isinstance(outcome, Stored) for outcome in outcomes)
            placed.append(Placed(stored, refused, outcomes.count(None), found))
        return placed

    async def refresh(self, index: int) -> None:
        """Look up a random id that falls into a bucket (row DHT-20)."""
        below = ID_BITS - 1 - index
        offset = 1 << below | self.random.getrandbits(below) if below else 1
        target = (int.from_bytes(self.node_id, "big") ^ offset).to_bytes(ID_SIZE, "big")
        await self.lookup(target, plan=Plan(width=REFRESH_WIDTH))
        self.statistics.refreshed += 1

    def estimated_size(self) -> float:
        """How many nodes the network has, ourselves among them: an estimate."""
        nearest = [contact.node_id for contact in self.table.closest(self.node_id, sound=True)]
        return 1 + network_size.estimate(self.node_id, nearest)

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        """Ask a node; what it does is remembered. Raises DeviceTimeout, and PeerError for an answer that is none."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.statistics.asked += 1
        try:
            answer = checked(question, await self.network.ask(contact, question, timeout), self.clock())
        except PeerError:
            self.statistics.bad_answers += 1
            self._failed(contact, misbehaved=True)
            raise
        except asyncio.CancelledError:
            # A lookup did not wait for it to the end: whether it lives is seen when it is pinged.
            if loop.time() >= started + lookup.STALL_S:
                self._unanswered(contact, started)
            raise
        except BitrelayError:
            self._unanswered(contact, started)
            raise
        self._last_heard = loop.time()
        # What others told of it may be false, except where it answered.
        proved = contact if len(contact.addresses) == 1 else self.network.proved(contact)
        if proved.addresses:
            self._heard(proved, self._last_heard - started, touch=not isinstance(question, Ping))
        return answer

    async def answer(self, asker: Contact | None, question: Question) -> Answer:
        """What a network calls for a question: see `network.Answering`."""
        return self.reply(asker, question)

    def reply(self, asker: Contact | None, question: Question) -> Answer:
        """The same; it waits for nothing."""
        now = self.clock()
        self.statistics.questions[type(question).__name__] += 1
        if not self._limit.allow(asker.node_id if asker else None, now):
            return self._refuse(Refusal.TOO_MANY)
        if asker is not None and asker.addresses:
            self._last_heard = asyncio.get_running_loop().time()
            self._heard(asker, None)
        match question:
            case Ping():
                return Pong(asker.addresses[0] if asker and asker.addresses else None)
            case FindNode(target):
                return Nodes(self.nearest_for(target, asker))
            case FindValue(key, after):
                values, more = self.store.find(key, after, VALUES_ROOM, now)
                return Values(values, more, () if values else self.nearest_for(key, asker))
            case Store(value):
                return self.keep(asker, value, now)

    def nearest_for(self, target: bytes, asker: Contact | None) -> tuple[Contact, ...]:
        """The nodes that another is told of."""
        return tuple(self.table.closest(target, without=asker.node_id if asker else None, sound=True))

    def keep(self, asker: Contact | None, value: SignedValue, now: float) -> Answer:
        """What becomes of a value that another brings."""
        if asker is None:
            return self._refuse(Refusal.NOT_PROVEN)
        refusal = self.store.put(value, now, asker.node_id)
        if refusal is not None:
            return self._refuse(refusal)
        if self._tell is not None:
            self._tell(events.ValueKept(value))
        return Stored()

    def _refuse(self, reason: Refusal) -> Refused:
        self.statistics.refused[reason.name] += 1
        return Refused(reason)

    def _seeds(self, target: bytes) -> list[Contact]:
        # Nodes that failed to answer are asked again only if there are few others.
        sound = self.table.closest(target, SEEDS, sound=True)
        return sound if len(sound) >= K else self.table.closest(target, SEEDS)

    def _expected_distance(self) -> float:
        # Of the k-th nearest node to any id.
        return K * network_size.ID_SPACE / self.estimated_size()

    def _looked_up(self, found: Found) -> Found:
        self.table.touch(found.target, self.clock())
        self.statistics.lookups += 1
        self.statistics.hops += found.hops
        return found

    def _is_near(self, key: bytes, closest: tuple[Contact, ...]) -> bool:
        return len(closest) < K or distance(self.node_id, key) < distance(closest[-1].node_id, key)

    async def _store_at(self, contact: Contact, value: SignedValue) -> Stored | Refusal | None:
        try:
            answer = await self.ask(contact, Store(value))
        except BitrelayError:
            return None
        return answer.reason if isinstance(answer, Refused) else Stored()

    def _heard(self, contact: Contact, rtt: float | None, *, touch: bool = True) -> None:
        insertion = self.table.heard(contact, self.clock(), rtt, touch=touch)
        if insertion.heard is Heard.ADDED and self._tell is not None:
            self._tell(events.NodeAdded(contact))
        elif insertion.heard is Heard.CROWDED:
            self.statistics.crowded += 1
        elif insertion.doubtful is not None:
            self._check(insertion.doubtful)

    def _unanswered(self, contact: Contact, asked_at: float) -> None:
        self.statistics.timeouts += 1
        if self._last_heard >= asked_at - LINK_ALIVE_S:
            self._failed(contact)

    def _failed(self, contact: Contact, *, misbehaved: bool = False) -> None:
        if self.table.failed(contact, misbehaved=misbehaved) and self._tell is not None:
            self._tell(events.NodeLost(contact.node_id))

    def _check(self, contact: Contact) -> None:
        # Whether it still lives; if not, the table gives its place away (E8).
        if contact.node_id in self._checks:
            return
        if len(self._checks) >= MAX_CHECKS:
            self.statistics.pings_skipped += 1
            return
        task = asyncio.get_running_loop().create_task(self._ping_again(contact))
        self._checks[contact.node_id] = task
        task.add_done_callback(lambda _: self._checks.pop(contact.node_id, None))

    async def _ping_again(self, contact: Contact) -> None:
        for _ in range(DEAD_AFTER):
            try:
                await self.ask(contact, Ping(), PING_TIMEOUT_S)
                return
            except DeviceTimeout:
                continue
            except BitrelayError:
                return
