"""Messages, whole and in order, over datagrams that get lost, come twice, or out of order (rows TRN-12 to TRN-15).

Knows no sockets and no clock: datagrams and times come in, datagrams come out of `poll`, so that UDP and the mesh can
use it alike. Segments are numbered (u32, and on after 2**32) and acknowledged together and one by one; a lost one is
sent again when later ones have arrived, or when its time is over. How much is under way is bounded by what the receiver
has room for, which it says with every acknowledgement, and by the congestion window.

    data   0x10 | flags, number u32, payload      flags: 1 the message ends here, 2 nothing more comes
    ack    0x20, next expected u32, room u16, then a bit for each number after that one: it is here
    probe  0x30                                   asks for an ack

Integrity is not looked after here: what is in the messages is sealed.
"""

import math
import struct
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .congestion import CongestionWindow, RoundTrip

DATA: Final = 0x10
END: Final = 0x01
FIN: Final = 0x02
ACK: Final = 0x20
PROBE: Final = 0x30

DATA_HEADER: Final = struct.Struct(">BI")
ACK_HEADER: Final = struct.Struct(">BIH")
MAX_SACK: Final = 32
"""Bytes of an ack's bits."""
INITIAL_WINDOW: Final = 32
"""Segments that every receiver has room for before its first ack."""
# Segments sent later that have arrived when one counts as lost (RFC 9002, section 6.1.1).
_REORDERED: Final = 3
# Segments that wait to be sent; whoever has more to send waits.
_UNSENT: Final = 64
_MOST_PROBE_S: Final = 5.0


class ArqState(StrEnum):
    OPEN = "messages can be sent and received"
    ENDED = "the other end has sent its last message, and it was received"
    LOST = "the other end does not answer"
    BROKEN = "the other end sent what it must not"


@dataclass(frozen=True)
class ArqSettings:
    """payload: bytes of a segment; window: segments received and not yet read, at most; first: the first number."""

    payload: int = 1180
    window: int = 256
    max_message: int = 65_535
    give_up_s: float = 30.0
    initial_timeout_s: float = 1.0
    min_timeout_s: float = 0.2
    max_timeout_s: float = 10.0
    first: int = 0

    def __post_init__(self) -> None:
        # A message must fit into the window, or it would never be complete.
        if not self.max_message / self.payload + 1 <= self.window <= 8 * MAX_SACK:
            raise ValueError("a message does not fit into the window, or the window not into an ack")
        if self.window < INITIAL_WINDOW:
            raise ValueError("the window is smaller than the one that is always there")


@dataclass(slots=True)
class _Sent:
    datagram: bytes
    sent_at: float = 0.0
    transmission: int = -1
    again: bool = False
    arrived: bool = False
    lost: bool = False


@dataclass(slots=True)
class _Receiver:
    settings: ArqSettings
    next: int = 0
    early: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    messages: deque[tuple[bytes, int]] = field(default_factory=deque)
    part: bytearray = field(default_factory=bytearray)
    part_segments: int = 0
    unread: int = 0
    ended: bool = False
    broken: bool = False

    @property
    def edge(self) -> int:
        """The first number that there is no room for; it never goes back."""
        return self.next + self.settings.window - self.unread

    def take(self, number: int, flags: int, payload: bytes) -> None:
        self.early[number] = (flags, payload)
        while not self.broken and not self.ended and (found := self.early.pop(self.next, None)) is not None:
            self.next += 1
            self._append(*found)

    def _append(self, flags: int, payload: bytes) -> None:
        if flags & FIN:
            self.ended = True
            self.broken = bool(self.part or payload)
            self.early.clear()
            return
        self.part += payload
        self.part_segments += 1
        self.unread += 1
        if not payload or len(self.part) > self.settings.max_message:
            self.broken = True
            self.early.clear()
            self.part.clear()
        elif flags & END:
            self.messages.append((bytes(self.part), self.part_segments))
            self.part.clear()
            self.part_segments = 0

    def ack(self, prefix: bytes) -> bytes:
        room = max(min(self.edge - self.next, 0xFFFF), 0)
        head = prefix + ACK_HEADER.pack(ACK, self.next & 0xFFFFFFFF, room)
        if not self.early:
            return head
        bits = 0
        for number in self.early:
            bits |= 1 << (number - self.next - 1)
        return head + bits.to_bytes((bits.bit_length() + 7) // 8, "little")


class Arq:
    """One end of a connection. prefix: begins every datagram, for whoever carries them.

    dropped: what came and was not taken, by reason. Bounded: `window` segments in, about 128 segments and one message
    out, if whoever sends minds `has_room`.
    """

    def __init__(self, now: float, settings: ArqSettings | None = None, prefix: bytes = b"") -> None:
        self.settings = settings = settings or ArqSettings()
        self.dropped: Counter[str] = Counter()
        self.sent_again = 0
        self.heard_at = -math.inf
        """When a segment that is not a repetition last came."""
        self.round_trip = RoundTrip(
            initial_s=settings.initial_timeout_s, min_s=settings.min_timeout_s, max_s=settings.max_timeout_s
        )
        self.congestion = CongestionWindow(most=settings.window)
        self._prefix = prefix
        self._in = _Receiver(settings, next=settings.first)
        self._unsent: deque[tuple[int, bytes]] = deque()
        # By number, ascending: what was sent and is not acknowledged up to there.
        self._flight: dict[int, _Sent] = {}
        self._lost_numbers: deque[int] = deque()
        self._under_way = 0
        self._holes = False
        self._next_number = settings.first
        self._first_unacknowledged = settings.first
        self._send_edge = settings.first + INITIAL_WINDOW
        self._transmissions = 0
        self._latest_arrived = -1
        self._timeout_at: float | None = None
        self._look_at: float | None = None
        self._probe_at: float | None = None
        self._ack_wanted = False
        self._told_edge = settings.first + INITIAL_WINDOW
        self._silent_since = now
        self._finishing = False
        self._lost = False

    @property
    def state(self) -> ArqState:
        if self._in.broken:
            return ArqState.BROKEN
        if self._lost:
            return ArqState.LOST
        return ArqState.ENDED if self._in.ended else ArqState.OPEN

    @property
    def has_room(self) -> bool:
        """Whether another message should be put now."""
        return len(self._unsent) < _UNSENT

    @property
    def flushed(self) -> bool:
        """All that was put has been acknowledged."""
        return not self._unsent and not self._flight

    def put(self, message: bytes) -> None:
        """Send a message of 1 to max_message bytes. Raises ValueError for others, and after finish()."""
        if not 0 < len(message) <= self.settings.max_message or self._finishing:
            raise ValueError(f"a message has 1 to {self.settings.max_message} bytes, and comes before the end")
        size = self.settings.payload
        for at in range(0, len(message), size):
            self._enqueue(END if at + size >= len(message) else 0, message[at : at + size])

    def finish(self) -> None:
        """Nothing more will be put."""
        if not self._finishing:
            self._enqueue(FIN, b"")
            self._finishing = True

    def receive(self) -> bytes | None:
        """The next message, if one is complete."""
        if not self._in.messages:
            return None
        message, segments = self._in.messages.popleft()
        self._in.unread -= segments
        # Who waits for room hears of it when there is a good deal.
        if self._in.edge - self._told_edge >= self.settings.window // 4:
            self._ack_wanted = True
        return message

    def on_datagram(self, body: bytes, now: float) -> None:
        """A datagram came, without its prefix. Raises for no bytes whatever."""
        kind = body[0] if body else -1
        if kind & 0xF0 == DATA and len(body) >= DATA_HEADER.size:
            self._on_data(kind & 0x0F, body, now)
        elif kind == ACK and ACK_HEADER.size <= len(body) <= ACK_HEADER.size + MAX_SACK:
            self._on_ack(body, now)
        elif kind == PROBE and len(body) == 1:
            self._silent_since = now
            self._ack_wanted = True
        else:
            self.dropped["malformed"] += 1

    def deadline(self) -> float | None:
        """When `poll` has something to do, if nothing comes before."""
        times = [time for time in (self._timeout_at, self._look_at, self._probe_at) if time is not None]
        return min(times) if times and not self._lost else None

    def poll(self, now: float) -> list[bytes]:
        """The datagrams to send now."""
        out: list[bytes] = []
        if self._lost:
            return out
        self._keep_time(now, out)
        if self._ack_wanted:
            self._ack_wanted = False
            self._told_edge = self._in.edge
            out.append(self._in.ack(self._prefix))
        self._transmit(now, out)
        return out

    def _enqueue(self, flags: int, payload: bytes) -> None:
        head = self._prefix + DATA_HEADER.pack(DATA | flags, self._next_number & 0xFFFFFFFF)
        self._unsent.append((self._next_number, head + payload))
        self._next_number += 1

    def _on_data(self, flags: int, body: bytes, now: float) -> None:
        self._silent_since = now
        _, wire = DATA_HEADER.unpack_from(body)
        number = _unwrap(wire, self._in.next)
        payload = body[DATA_HEADER.size :]
        if flags & ~(END | FIN) or len(payload) > self.settings.payload:
            self.dropped["malformed"] += 1
            return
        # What was there before is acknowledged again: it may have come again because the acknowledgement was lost.
        self._ack_wanted = True
        if number < self._in.next or number in self._in.early:
            self.dropped["repeated"] += 1
        elif number >= self._in.edge or self._in.ended or self._in.broken:
            self.dropped["no room"] += 1
        else:
            self.heard_at = now
            self._in.take(number, flags, payload)

    def _on_ack(self, body: bytes, now: float) -> None:
        _, wire, room = ACK_HEADER.unpack_from(body)
        upto = _unwrap(wire, self._first_unacknowledged)
        if upto > self._first_unacknowledged + len(self._flight):
            self.dropped["malformed"] += 1
            return
        self._silent_since = now
        if upto < self._first_unacknowledged:
            self.dropped["late ack"] += 1
            return
        was_full = self._under_way >= int(self.congestion.size)
        bits = int.from_bytes(body[ACK_HEADER.size :], "little")
        newest, count = self._arrivals(upto, bits)
        if count:
            self.round_trip.answered()
            if not newest.again:
                self.round_trip.sample(now - newest.sent_at)
            self._timeout_at = now + self.round_trip.timeout
        # An edge that seems to go back is of an ack that was overtaken.
        if upto + room > self._send_edge:
            self._send_edge = upto + room
            self._probe_at = None
            self.round_trip.answered()
        self._latest_arrived = max(self._latest_arrived, newest.transmission)
        self._holes = self._holes or bits != 0
        before = self.congestion.threshold
        if self._holes:
            self._find_losses(now)
        if count and self.congestion.threshold == before:
            self.congestion.acknowledged(count, was_full)
        if not self._under_way and not self._lost_numbers:
            self._timeout_at = None

    def _arrivals(self, upto: int, bits: int) -> tuple[_Sent, int]:
        # What this ack says for the first time: of these the one sent last, and how many.
        newest, count = _Sent(b""), 0
        while self._first_unacknowledged < upto:
            sent = self._flight.pop(self._first_unacknowledged)
            self._first_unacknowledged += 1
            if not sent.arrived:
                count += 1
                self._mark(sent)
                if sent.transmission > newest.transmission:
                    newest = sent
        number = upto
        while bits:
            number += 1
            if bits & 1 and (sent_or_none := self._flight.get(number)) is not None and not sent_or_none.arrived:
                count += 1
                self._mark(sent_or_none)
                if sent_or_none.transmission > newest.transmission:
                    newest = sent_or_none
            bits >>= 1
        return newest, count

    def _mark(self, sent: _Sent) -> None:
        sent.arrived = True
        sent.datagram = b""
        if sent.lost:
            sent.lost = False
        else:
            self._under_way -= 1

    def _find_losses(self, now: float) -> None:
        patience = self.round_trip.reordering_s
        self._look_at = None
        self._holes = False
        for number, sent in self._flight.items():
            if sent.arrived or sent.lost:
                continue
            if sent.transmission >= self._latest_arrived:
                continue
            self._holes = True
            if self._latest_arrived - sent.transmission >= _REORDERED or now >= sent.sent_at + patience:
                self._lose(number, sent)
                self.congestion.lost(sent.transmission, self._transmissions)
            elif self._look_at is None or sent.sent_at + patience < self._look_at:
                self._look_at = sent.sent_at + patience

    def _lose(self, number: int, sent: _Sent) -> None:
        sent.lost = True
        self._under_way -= 1
        self._lost_numbers.append(number)

    def _keep_time(self, now: float, out: list[bytes]) -> None:
        if (self._flight or self._probe_at is not None) and now >= self._silent_since + self.settings.give_up_s:
            self._lost = True
            return
        if self._look_at is not None and now >= self._look_at:
            self._find_losses(now)
        if self._timeout_at is not None and now >= self._timeout_at:
            self.round_trip.timed_out()
            self.congestion.timed_out(self._transmissions)
            for number, sent in self._flight.items():
                if not sent.arrived and not sent.lost:
                    self._lose(number, sent)
            self._timeout_at = now + self.round_trip.timeout
        if self._probe_at is not None and now >= self._probe_at:
            out.append(self._prefix + bytes((PROBE,)))
            self.round_trip.timed_out()
            self._probe_at = now + min(self.round_trip.timeout, _MOST_PROBE_S)

    def _transmit(self, now: float, out: list[bytes]) -> None:
        most = int(self.congestion.size)
        while self._lost_numbers and self._under_way < most:
            number = self._lost_numbers.popleft()
            sent = self._flight.get(number)
            if sent is not None and sent.lost:
                sent.lost, sent.again = False, True
                self.sent_again += 1
                self._holes = True
                self._launch(sent, now, out)
        while self._unsent and self._under_way < most and self._unsent[0][0] < self._send_edge:
            number, datagram = self._unsent.popleft()
            if not self._flight:
                # Silence before there was anything to answer is none.
                self._silent_since = now
            sent = self._flight[number] = _Sent(datagram)
            self._launch(sent, now, out)
        if self._unsent and not self._flight and self._probe_at is None:
            self._silent_since = now
            self._probe_at = now + min(self.round_trip.timeout, _MOST_PROBE_S)

    def _launch(self, sent: _Sent, now: float, out: list[bytes]) -> None:
        sent.sent_at = now
        sent.transmission = self._transmissions
        self._transmissions += 1
        self._under_way += 1
        out.append(sent.datagram)
        if self._timeout_at is None:
            self._timeout_at = now + self.round_trip.timeout


def _unwrap(wire: int, near: int) -> int:
    # The number whose last 32 bits these are and that is nearest.
    return near + ((wire - near + 0x80000000) & 0xFFFFFFFF) - 0x80000000
