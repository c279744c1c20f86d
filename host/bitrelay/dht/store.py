"""The values that a node keeps for others, within bounds (rows DHT-18, DHT-22).

What is dropped when there is no room, and counted under these names:
- `too_far`: the store is full, and a value is farther from us than all that are in it; or it was the farthest when one
  that is nearer came.
- `owner_full`, `key_full`, `node_full`: an owner has MAX_PER_OWNER values here; a key has MAX_OWNERS of them; or one
  node has brought MAX_PER_NODE values of others. Those that were there before stay. But an owner that brings its value
  itself, which takes a proof of work, takes the place of one whose owner did not.
- `expired`: its time is over.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ..identity.keys import peer_id_of
from .messages import Refusal, SignedValue
from .node_id import distance
from .values import MAX_LIFETIME_S, fault_of, is_later, key_of, size_of

MAX_OWNERS = 64
"""Values under one key."""
MAX_PER_OWNER = 64
MAX_PER_NODE = 1024
MAX_VALUES = 8192
MAX_BYTES = 4 << 20
MAX_GONE = 8192
"""Values that have expired of which the sequence is remembered, so that no older one comes back."""


@dataclass(slots=True)
class Held:
    """A value that is kept. stored_at: when it was last brought; brought_by: by which node, if not by ourselves;
    by_owner: its owner did.
    """

    value: SignedValue
    stored_at: float
    brought_by: bytes | None
    by_owner: bool


class ValueStore:
    """The values of a node with this id. Times are Unix seconds, given by the caller."""

    def __init__(self, own_id: bytes, *, max_values: int = MAX_VALUES, max_bytes: int = MAX_BYTES) -> None:
        self.own_id = own_id
        self.dropped: Counter[str] = Counter()
        self._max_values = max_values
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self._keys: dict[bytes, dict[bytes, Held]] = {}
        self._by_distance: list[tuple[int, bytes]] = []
        self._of_owner: Counter[bytes] = Counter()
        self._of_node: Counter[bytes] = Counter()
        self._gone: dict[tuple[bytes, bytes], tuple[int, float]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SignedValue]:
        for _, key in self._by_distance:
            for held in self._keys[key].values():
                yield held.value

    @property
    def size(self) -> int:
        """Of all values together, in bytes."""
        return self._bytes

    def put(self, value: SignedValue, now: float, brought_by: bytes | None = None) -> Refusal | None:
        """Keep a value that a node brings (None: ourselves); None, or why not.

        The latest of an owner counts; the same once more is no fault.
        """
        if fault_of(value, now) is not None:
            return Refusal.BAD_VALUE
        key = key_of(value.kind, value.name)
        by_owner = peer_id_of(value.owner) == brought_by
        known = self._keys.get(key, {}).get(value.owner)
        if known is not None:
            if known.value != value and not is_later(value, known.value):
                return Refusal.OLD_VALUE
            by_owner = by_owner or known.by_owner
        elif value.sequence < self._gone.get((key, value.owner), (0, 0.0))[0]:
            return Refusal.OLD_VALUE
        refusal = self._make_room(key, value, brought_by, by_owner, known)
        if refusal is not None:
            return refusal
        if known is not None:
            self._remove(key, value.owner)
        self._insert(key, Held(value, now, brought_by, by_owner))
        return None

    def find(self, key: bytes, after: bytes, room: int, now: float) -> tuple[tuple[SignedValue, ...], bool]:
        """Values under a key of owners above `after`, ascending, as many as fit `room` bytes; whether there are more.

        One at least, if there is any.
        """
        owners = self._keys.get(key)
        if not owners:
            return (), False
        found: list[SignedValue] = []
        for owner in sorted(owner for owner, held in owners.items() if owner > after and held.value.expires_at > now):
            value = owners[owner].value
            room -= size_of(value)
            if found and room < 0:
                return tuple(found), True
            found.append(value)
        return tuple(found), False

    def expire(self, now: float) -> int:
        """Drop what has expired; how many."""
        over = [
            (key, owner)
            for key, owners in self._keys.items()
            for owner, held in owners.items()
            if held.value.expires_at <= now
        ]
        self._gone = {place: gone for place, gone in self._gone.items() if gone[1] > now}
        for key, owner in over:
            self._remember_gone(key, self._keys[key][owner].value, now)
            self._remove(key, owner)
        self.dropped["expired"] += len(over)
        return len(over)

    def _remember_gone(self, key: bytes, value: SignedValue, now: float) -> None:
        # Until what was signed before it has expired, too.
        until, place = value.created_at + MAX_LIFETIME_S, (key, value.owner)
        sequence = max(value.sequence, self._gone.pop(place, (0, 0.0))[0])
        if until > now:
            self._gone[place] = (sequence, until)
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def due(self, now: float, age: float) -> list[SignedValue]:
        """The values that nobody has brought for that many seconds, nearest first."""
        return [
            held.value
            for _, key in self._by_distance
            for held in self._keys[key].values()
            if not 0 <= now - held.stored_at < age
        ]

    def republished(self, value: SignedValue, now: float) -> None:
        """We have brought a value to others: it is not due again for a while."""
        held = self._keys.get(key_of(value.kind, value.name), {}).get(value.owner)
        if held is not None:
            held.stored_at = now

    def _make_room(
        self, key: bytes, value: SignedValue, brought_by: bytes | None, by_owner: bool, known: Held | None
    ) -> Refusal | None:
        replaced = None
        if known is None:
            if self._of_owner[value.owner] >= MAX_PER_OWNER:
                return self._full("owner_full")
            owners = self._keys.get(key, {})
            if len(owners) >= MAX_OWNERS:
                replaced = next((owner for owner, held in owners.items() if not held.by_owner), None)
                if not by_owner or replaced is None:
                    return self._full("key_full")
        counts_anew = not by_owner and (known is None or known.brought_by != brought_by)
        if brought_by is not None and counts_anew and self._of_node[brought_by] >= MAX_PER_NODE:
            return self._full("node_full")
        leaving = known or (self._keys[key][replaced] if replaced is not None else None)
        farthest = self._farthest(
            distance(self.own_id, key),
            len(self) + (leaving is None) - self._max_values,
            self._bytes + size_of(value) - (size_of(leaving.value) if leaving else 0) - self._max_bytes,
        )
        if farthest is None:
            self.dropped["too_far"] += 1
            return Refusal.TOO_FAR
        if replaced is not None:
            self._remove(key, replaced)
            self.dropped["key_full"] += 1
        for place in farthest:
            self._remove(*place)
        self.dropped["too_far"] += len(farthest)
        return None

    def _farthest(self, beyond: int, count: int, size: int) -> list[tuple[bytes, bytes]] | None:
        # The keys and owners of the farthest values that make room for so many, and so many bytes; None if those
        # beyond this distance do not, and then nothing may go.
        found: list[tuple[bytes, bytes]] = []
        for far, key in reversed(self._by_distance):
            for owner, held in self._keys[key].items():
                if count <= 0 and size <= 0:
                    return found
                if far <= beyond:
                    return None
                found.append((key, owner))
                count -= 1
                size -= size_of(held.value)
        return found if count <= 0 and size <= 0 else None

    def _full(self, why: str) -> Refusal:
        self.dropped[why] += 1
        return Refusal.NO_ROOM

    def _insert(self, key: bytes, held: Held) -> None:
        owners = self._keys.get(key)
        if owners is None:
            owners = self._keys[key] = {}
            insort(self._by_distance, (distance(self.own_id, key), key))
        owners[held.value.owner] = held
        self._bytes += size_of(held.value)
        self._count += 1
        self._of_owner[held.value.owner] += 1
        if not held.by_owner and held.brought_by is not None:
            self._of_node[held.brought_by] += 1

    def _remove(self, key: bytes, owner: bytes) -> None:
        owners = self._keys[key]
        held = owners.pop(owner)
        self._bytes -= size_of(held.value)
        self._count -= 1
        _less(self._of_owner, owner)
        if not held.by_owner and held.brought_by is not None:
            _less(self._of_node, held.brought_by)
        if not owners:
            del self._keys[key]
            del self._by_distance[bisect_left(self._by_distance, (distance(self.own_id, key), key))]


def _less(counts: Counter[bytes], name: bytes) -> None:
    counts[name] -= 1
    if counts[name] <= 0:
        del counts[name]
