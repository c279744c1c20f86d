"""What is known of one node (rows DHT-09, DHT-10), and how its reputation moves."""

from dataclasses import dataclass

from .messages import Contact

FIRST_REPUTATION = 0.5

_UP = 0.05
_DOWN = 0.9
_MISBEHAVED = 0.5
_RTT_WEIGHT = 0.125  # RFC 6298


@dataclass(slots=True)
class NodeRecord:
    """A node in a bucket.

    last_seen: Unix seconds of the last sign of it; rtt: seconds, smoothed, or None; reputation: 0 to 1; failures:
    questions in a row that it left unanswered; networks: those of its addresses of which a table holds only so many.
    """

    contact: Contact
    last_seen: float
    rtt: float | None = None
    reputation: float = FIRST_REPUTATION
    failures: int = 0
    networks: tuple[str, ...] = ()

    @property
    def node_id(self) -> bytes:
        return self.contact.node_id

    @property
    def peer_id(self) -> bytes:
        """The same 32 bytes (row DHT-01)."""
        return self.contact.node_id

    def seen(self, now: float, rtt: float | None) -> None:
        """It gave a sign of life. rtt: None if it asked us, which is no answer and no merit."""
        self.last_seen = now
        if rtt is None:
            return
        self.failures = 0
        self.rtt = rtt if self.rtt is None else self.rtt + _RTT_WEIGHT * (rtt - self.rtt)
        self.reputation += _UP * (1 - self.reputation)

    def failed(self) -> None:
        """It left a question unanswered."""
        self.failures += 1
        self.reputation *= _DOWN

    def misbehaved(self) -> None:
        """It answered what is no answer."""
        self.failures += 1
        self.reputation *= _MISBEHAVED
