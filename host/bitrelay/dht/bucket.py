"""The nodes at one distance: at most k of them, and some that wait for a place (rows DHT-05, DHT-11 to DHT-13, E8).

Who is there stays while it answers: a newcomer waits, and only a place whose node has died is given away. So nobody can
push living nodes out of a bucket, whatever its reputation.
"""

from dataclasses import dataclass, field

from .messages import MAX_CONTACTS, Contact
from .node_record import NodeRecord

K = MAX_CONTACTS
MAX_WAITING = 10
"""Nodes that wait for a place; the one that waits longest is forgotten first."""
DEAD_AFTER = 2
"""Unanswered questions in a row after which a node's place is given to one that waits."""
GONE_AFTER = 4
"""After which it is forgotten, even if nobody waits."""


@dataclass(slots=True)
class Bucket:
    """records: the one that gave no sign for longest is first. waiting: newest last; they have proved themselves."""

    last_updated: float
    records: dict[bytes, NodeRecord] = field(default_factory=dict)
    waiting: dict[bytes, Contact] | None = None

    def needs_refresh(self, now: float, age: float) -> bool:
        """Whether nothing happened here for longer than age, in seconds; a clock that went back counts as that."""
        return not 0 <= now - self.last_updated <= age

    def seen(self, record: NodeRecord, now: float, rtt: float | None, *, touch: bool = True) -> None:
        """A node of this bucket gave a sign. touch: see `RoutingTable.heard`."""
        record.seen(now, rtt)
        self.records[record.node_id] = self.records.pop(record.node_id)
        if touch:
            self.last_updated = now

    def wait(self, contact: Contact) -> None:
        """Remember a node that may come in when another dies."""
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = {}
        waiting.pop(contact.node_id, None)
        waiting[contact.node_id] = contact
        if len(waiting) > MAX_WAITING:
            del waiting[next(iter(waiting))]

    def doubtful(self) -> NodeRecord:
        """The one to ping before anybody else is let in: of failing ones the worst by reputation, else the oldest."""
        failing = [record for record in self.records.values() if record.failures]
        if failing:
            return min(failing, key=lambda record: (record.reputation, record.last_seen))
        return next(iter(self.records.values()))
