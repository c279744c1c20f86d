"""Keeps account of what was sent in a lab and what arrived, byte for byte.

It knows nothing of how frames are relayed.
"""

import math
from dataclasses import dataclass, field

from shared_protocol.frame import TTL, Header

from .waiting import News


@dataclass(frozen=True)
class Report:
    """What became of the frames. sent and delivered count frames once for each phone they were meant for.

    duplicates: copies beyond the first at a phone. altered: arrivals that differ from what was sent in more than the
    TTL. unexpected: arrivals nobody sent. ttl_ok: every TTL was what it had to be. Latencies are milliseconds.
    """

    sent: int
    delivered: int
    duplicates: int
    altered: int
    unexpected: int
    ttl_ok: bool
    p50_ms: float | None
    p95_ms: float | None

    @property
    def is_perfect(self) -> bool:
        """Everything arrived exactly once and as it had to."""
        return (
            self.delivered == self.sent
            and not self.duplicates
            and not self.altered
            and not self.unexpected
            and self.ttl_ok
        )

    def as_json(self) -> dict[str, object]:
        """The contract for scripts: these names stay."""
        return {
            "sent": self.sent,
            "delivered": self.delivered,
            "duplicates": self.duplicates,
            "altered": self.altered,
            "unexpected": self.unexpected,
            "ttl_ok": self.ttl_ok,
            "latency_ms": {"p50": rounded(self.p50_ms), "p95": rounded(self.p95_ms)},
        }


@dataclass
class _Entry:
    at: float
    sender: str
    ttl: int
    receivers: frozenset[str]
    hops: int | None
    copies: dict[str, int] = field(default_factory=dict)


class Ledger:
    """sent() and arrived() are told what happened; report() says what it comes to. Times are monotonic seconds.

    by_sender counts the frames of each phone, by_receiver those that reached a phone they were meant for.
    """

    def __init__(self) -> None:
        self.news = News()
        self.by_sender: dict[str, int] = {}
        self.by_receiver: dict[str, int] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._open: dict[str, dict[bytes, _Entry]] = {}
        self._names: set[bytes] = set()
        self._latencies: list[float] = []
        self._sent = 0
        self._delivered = 0
        self._duplicates = 0
        self._altered = 0
        self._unexpected = 0
        self._wrong_ttl = 0

    def sent(self, value: bytes, sender: str, receivers: frozenset[str], now: float, hops: int | None = None) -> None:
        """A value goes out, meant for `receivers`; over `hops` relays, each of which lowers the TTL by one, if known.

        Raises ValueError if the same bytes were sent before: their copies could not be told apart.
        """
        key = without_ttl(value)
        if key in self._entries:
            raise ValueError("this frame was sent before")
        entry = _Entry(now, sender, value[TTL], receivers, hops)
        self._entries[key] = entry
        self._open.setdefault(sender, {})[key] = entry
        self._names.add(_name(value))
        self._sent += len(receivers)
        self.by_sender[sender] = self.by_sender.get(sender, 0) + 1

    def arrived(self, receiver: str, value: bytes, now: float) -> None:
        """A value came to a phone. Frames overheard by phones they were not meant for are checked, not counted."""
        key = without_ttl(value)
        entry = self._entries.get(key)
        if entry is None:
            if _name(value) in self._names:
                self._altered += 1
            else:
                self._unexpected += 1
            self.news.tell()
            return
        if entry.hops is None or receiver not in entry.receivers:
            self._wrong_ttl += not 1 <= value[TTL] < entry.ttl
        else:
            self._wrong_ttl += value[TTL] != entry.ttl - entry.hops
        copies = entry.copies.get(receiver, 0)
        entry.copies[receiver] = copies + 1
        if copies:
            self._duplicates += 1
        elif receiver in entry.receivers:
            self._delivered += 1
            self.by_receiver[receiver] = self.by_receiver.get(receiver, 0) + 1
            self._latencies.append((now - entry.at) * 1000)
            if entry.receivers <= entry.copies.keys():
                self._open[entry.sender].pop(key, None)
        self.news.tell()

    def knows(self, value: bytes) -> bool:
        """Whether these bytes were sent, whatever their TTL."""
        return without_ttl(value) in self._entries

    def sender_of(self, value: bytes) -> str | None:
        """Who sent these bytes, whatever their TTL; None if nobody did."""
        entry = self._entries.get(without_ttl(value))
        return None if entry is None else entry.sender

    def underway(self, sender: str, since: float) -> int:
        """How many frames that `sender` sent at `since` or later have not reached all their receivers."""
        return sum(entry.at >= since for entry in self._open.get(sender, {}).values())

    def missing(self) -> list[tuple[bytes, str]]:
        """What did not arrive: each frame (without its TTL byte) with the phone it was meant for."""
        return [(key, name) for key, e in self._entries.items() for name in sorted(e.receivers - e.copies.keys())]

    def report(self) -> Report:
        """The account so far."""
        return Report(
            self._sent,
            self._delivered,
            self._duplicates,
            self._altered,
            self._unexpected,
            self._wrong_ttl == 0,
            percentile(self._latencies, 50),
            percentile(self._latencies, 95),
        )


def percentile(values: list[float], percent: float) -> float | None:
    """The smallest value that at least `percent` of all do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def rounded(value: float | None) -> float | None:
    """The value as results show it, with one decimal."""
    return None if value is None else round(value, 1)


def without_ttl(value: bytes) -> bytes:
    """What all copies of a value have in common."""
    return value[:TTL] + value[TTL + 1 :]


def _name(value: bytes) -> bytes:
    # Type, timestamp and author: enough to see which frame a damaged one was.
    header = Header()
    if header.parse(value, len(value)) < 0:
        return value[1:2] + value[3:11]
    return value[1:2] + value[3:11] + value[header.sender_at : header.sender_at + 8]
