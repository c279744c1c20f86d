"""What a DHT node tells of, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field

from .messages import Contact, SignedValue


@dataclass(frozen=True, slots=True)
class NodeAdded:
    """A node came into the routing table."""

    contact: Contact


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node was dropped from it: it does not answer."""

    node_id: bytes


@dataclass(frozen=True, slots=True)
class ValueKept:
    """Another node brought a value, which we keep."""

    value: SignedValue


Event = NodeAdded | NodeLost | ValueKept


@dataclass(slots=True)
class Statistics:
    """Counts since the node was made.

    asked: our questions; of these timeouts without an answer, and bad_answers that were none. questions: of others, by
    kind; refused: of these, by the name of a `Refusal`. lookups, with their hops; republished: values brought again.
    """

    asked: int = 0
    timeouts: int = 0
    bad_answers: int = 0
    lookups: int = 0
    hops: int = 0
    republished: int = 0
    refreshed: int = 0
    pings_skipped: int = 0
    crowded: int = 0
    questions: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
