"""The nodes that a node knows: 256 buckets by distance (rows DHT-03, DHT-04, DHT-12 to DHT-14, E8, E9).

Only nodes that have answered, or have proved that they are where they say, come in. Of one network (`places`) at most
NETWORK_PER_BUCKET nodes are in a bucket and NETWORK_PER_TABLE in all of them, so two hosts cannot surround a node.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from .bucket import DEAD_AFTER, GONE_AFTER, Bucket, K
from .messages import Contact
from .node_id import ID_BITS, bucket_index
from .node_record import NodeRecord
from .places import Reach, network_of, reach

NETWORK_PER_BUCKET = 2
NETWORK_PER_TABLE = 10
PROVED_S = 60.0
"""A node heard from more recently is not pinged to make room: it is there."""


class Heard(Enum):
    """What became of a node that gave a sign."""

    KNOWN = auto()
    ADDED = auto()
    WAITING = auto()
    """Its bucket is full of others."""
    CROWDED = auto()
    """Too many of its network are there already."""
    SELF = auto()


@dataclass(frozen=True, slots=True)
class Insertion:
    """accepted: it is in a bucket now (row DHT-13). doubtful: to be pinged; if it fails, its place is a newcomer's."""

    heard: Heard
    doubtful: Contact | None = None

    @property
    def accepted(self) -> bool:
        return self.heard in (Heard.KNOWN, Heard.ADDED)


_KNOWN, _ADDED = Insertion(Heard.KNOWN), Insertion(Heard.ADDED)


class RoutingTable:
    """own_id: whose table it is, which is in no bucket. exempt_private: whether private networks have no limits.

    Loopback never has: whoever is there has this computer. Times are Unix seconds, given by the caller.
    """

    def __init__(self, own_id: bytes, *, exempt_private: bool = False) -> None:
        self.own_id = own_id
        self._limitless = (Reach.HOST, Reach.SITE) if exempt_private else (Reach.HOST,)
        self._buckets: dict[int, Bucket] = {}
        self._networks: Counter[str] = Counter()
        self._own = int.from_bytes(own_id, "big")

    def __len__(self) -> int:
        return sum(len(bucket.records) for bucket in self._buckets.values())

    def __iter__(self) -> Iterator[NodeRecord]:
        for bucket in self._buckets.values():
            yield from bucket.records.values()

    def get(self, node_id: bytes) -> NodeRecord | None:
        bucket = self._buckets.get(bucket_index(self.own_id, node_id))
        return bucket.records.get(node_id) if bucket else None

    def bucket(self, index: int) -> Bucket | None:
        """The bucket, if anything is or was in it. index: 0, the farthest, to 255."""
        return self._buckets.get(index)

    def heard(self, contact: Contact, now: float, rtt: float | None = None, *, touch: bool = True) -> Insertion:
        """A node has answered (rtt: after how many seconds) or has proved itself with a question (None).

        contact: with addresses only at which it is proved to be: they are counted, and others are told of them.
        touch: whether that keeps its bucket from being refreshed. A ping's answer does not: it brings no new nodes.
        """
        index = bucket_index(self.own_id, contact.node_id)
        if index == ID_BITS:
            return Insertion(Heard.SELF)
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = Bucket(now)
        record = bucket.records.get(contact.node_id)
        if record is not None:
            if record.contact is not contact and record.contact.addresses != contact.addresses:
                self._moved(bucket, record, contact)
            bucket.seen(record, now, rtt, touch=touch)
            return _KNOWN
        if len(bucket.records) < K:
            if not self._has_room(bucket, contact):
                return Insertion(Heard.CROWDED)
            self._add(bucket, contact, now, rtt)
            return _ADDED
        return self._wait(bucket, contact, now)

    def failed(self, contact: Contact, *, misbehaved: bool = False) -> bool:
        """A node left a question unanswered, or answered nonsense. Whether it lost its place.

        contact: where it was asked. It counts only if we know the node at all of these addresses: else whoever tells of
        a false one would have us forget it.
        """
        bucket = self._buckets.get(bucket_index(self.own_id, contact.node_id))
        record = bucket.records.get(contact.node_id) if bucket else None
        if bucket is None or record is None:
            waiting = bucket.waiting.get(contact.node_id) if bucket and bucket.waiting else None
            if bucket and bucket.waiting and waiting is not None and _is_within(contact, waiting):
                del bucket.waiting[contact.node_id]
            return False
        if not _is_within(contact, record.contact):
            return False
        if misbehaved:
            record.misbehaved()
        else:
            record.failed()
        if record.failures < (DEAD_AFTER if bucket.waiting else GONE_AFTER):
            return False
        self._drop(bucket, record)
        self._promote(bucket, record.last_seen)
        return True

    def remove(self, node_id: bytes) -> None:
        """Forget a node; one that waits takes its place. Harmless for one that is not known."""
        bucket = self._buckets.get(bucket_index(self.own_id, node_id))
        record = bucket.records.get(node_id) if bucket else None
        if bucket is not None and record is not None:
            self._drop(bucket, record)
            self._promote(bucket, record.last_seen)

    def closest(
        self, target: bytes, count: int = K, *, without: bytes | None = None, sound: bool = False
    ) -> list[Contact]:
        """The closest nodes to an id of all that are known, nearest first (row DHT-14, E9).

        without: a node that is left out; sound: whether nodes that failed to answer are left out, too.
        """
        wanted = int.from_bytes(target, "big")
        found: list[Contact] = []
        for group in self._outwards(self._own ^ wanted):
            near = [
                (int.from_bytes(record.contact.node_id, "big") ^ wanted, record.contact)
                for bucket in group
                for record in bucket.records.values()
                if not (sound and record.failures) and record.contact.node_id != without
            ]
            near.sort()
            found += [contact for _, contact in near]
            if len(found) >= count:
                return found[:count]
        return found

    def touch(self, target: bytes, now: float) -> None:
        """A lookup for an id went through: its bucket need not be refreshed for a while."""
        bucket = self._buckets.get(bucket_index(self.own_id, target))
        if bucket is not None:
            bucket.last_updated = now

    def stale(self, now: float, age: float) -> list[int]:
        """The buckets in which nothing happened for that many seconds, farthest first; none beyond our nearest node."""
        deepest = max((index for index, bucket in self._buckets.items() if bucket.records), default=-1)
        return sorted(
            index for index, bucket in self._buckets.items() if index <= deepest and bucket.needs_refresh(now, age)
        )

    def _outwards(self, own_distance: int) -> Iterator[list[Bucket]]:
        # Groups of buckets, each nearer to the target as a whole than the next: the bucket that the target is in; all
        # between that and ourselves, which share with the target what we share with it; then, one by one, those beyond.
        index = ID_BITS - own_distance.bit_length()
        if index < ID_BITS and (bucket := self._buckets.get(index)):
            yield [bucket]
        nearer = [bucket for number, bucket in self._buckets.items() if number > index]
        if nearer:
            yield nearer
        for number in range(index - 1, -1, -1):
            if bucket := self._buckets.get(number):
                yield [bucket]

    def _wait(self, bucket: Bucket, contact: Contact, now: float) -> Insertion:
        doubtful = bucket.doubtful()
        known = bucket.waiting.get(contact.node_id) if bucket.waiting else None
        if (known is None or known.addresses != contact.addresses) and not self._has_room(
            bucket, contact, instead_of=doubtful
        ):
            return Insertion(Heard.CROWDED)
        bucket.wait(contact)
        known_to_live = not doubtful.failures and 0 <= now - doubtful.last_seen < PROVED_S
        return Insertion(Heard.WAITING, None if known_to_live else doubtful.contact)

    def _promote(self, bucket: Bucket, now: float) -> None:
        # The one that gave a sign last is the likeliest to live.
        while bucket.waiting:
            _, contact = bucket.waiting.popitem()
            if self._has_room(bucket, contact):
                self._add(bucket, contact, now, None)
                return

    def _add(self, bucket: Bucket, contact: Contact, now: float, rtt: float | None) -> None:
        record = NodeRecord(contact, now, networks=self._limited(contact))
        record.seen(now, rtt)
        bucket.records[contact.node_id] = record
        bucket.last_updated = max(bucket.last_updated, now)
        if bucket.waiting:
            bucket.waiting.pop(contact.node_id, None)
        self._networks.update(record.networks)

    def _drop(self, bucket: Bucket, record: NodeRecord) -> None:
        del bucket.records[record.node_id]
        self._release(record)

    def _release(self, record: NodeRecord) -> None:
        for network in record.networks:
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    def _moved(self, bucket: Bucket, record: NodeRecord, contact: Contact) -> None:
        # It has other addresses now. Without room for them it keeps its place under the old ones until they fail.
        if self._has_room(bucket, contact, instead_of=record):
            self._release(record)
            record.contact, record.networks = contact, self._limited(contact)
            self._networks.update(record.networks)

    def _has_room(self, bucket: Bucket, contact: Contact, instead_of: NodeRecord | None = None) -> bool:
        for network in self._limited(contact):
            freed = instead_of is not None and network in instead_of.networks
            if self._networks[network] - freed >= NETWORK_PER_TABLE:
                return False
            here = sum(network in record.networks for record in bucket.records.values())
            if here - freed >= NETWORK_PER_BUCKET:
                return False
        return True

    def _limited(self, contact: Contact) -> tuple[str, ...]:
        # The networks that its addresses count in: all of them, or a node would hide in whichever has room.
        hosts = {address.host: None for address in contact.addresses if reach(address.host) not in self._limitless}
        return tuple({network_of(host): None for host in hosts})


def _is_within(asked: Contact, known: Contact) -> bool:
    return asked.addresses == known.addresses or set(asked.addresses) <= set(known.addresses)
