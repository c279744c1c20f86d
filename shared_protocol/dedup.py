# Which frames were seen before (bitchat protocol, section 4.3).
#
# A frame is known by sender, timestamp, type and: the first bytes of its signature; unsigned, its payload; unsigned
# and compressed, the size it inflates to, because an iPhone that relays compresses again. A fragment is known by
# sender, stream and index. TTL, RSR and padding never count. The key is hashed to 8 bytes, behind a secret so that
# nobody can make two frames collide on purpose.
#
# All memory is taken at the start: a dict of keys fragments the heap of a board within minutes.
from array import array
from hashlib import sha256

from shared_protocol.fragment import HEADER_SIZE, INDEX
from shared_protocol.frame import TIMESTAMP, TYPE_FRAGMENT, Header
from shared_protocol.interpreter import const, micropython
from shared_protocol.work_area import APART, BUCKETS, END, WORK_SIZE, key_work

try:
    from shared_protocol.scan_viper import enter8, find8, gather8, hash8, leave8
except (ImportError, ValueError):
    # CPython, or an interpreter for which the machine code was not made.
    from shared_protocol.scan_plain import enter8, find8, gather8, hash8, leave8

_BY_SIGNATURE = const(0)
_BY_PAYLOAD = const(1)
_BY_SIZE = const(2)
_BY_FRAGMENT = const(3)

# Of the head of the work area: what tells frames of one moment apart, type and kind of key. Two bytes stay zero.
_REST = const(36)
_TYPE = const(44)
_KIND = const(45)


class DuplicateCache:
    # The newest `capacity` frames, first in first out; an entry older than lifetime_s counts as not there.
    def __init__(self, capacity: int = 1024, lifetime_s: int = 300, secret: bytes = b"") -> None:
        self._capacity = capacity
        self._lifetime_s = lifetime_s
        self._ring = bytearray(capacity * 8)
        # Two bytes each, for the sake of memory: an entry of more than 18 hours ago may count as young. No time is read
        # before it was set.
        self._times = array("H", bytes(2 * capacity))
        # From bytes: the same as lists would take eight times the memory for a moment.
        self._chains = array("H", END.to_bytes(2, "little") * BUCKETS + APART.to_bytes(2, "little") * capacity)
        self._next = 0
        self._work = bytearray(WORK_SIZE)
        key_work(self._work, sha256(secret).digest())

    # >= 0: index of the entry that the frame duplicates; < 0: -1 - index of the entry just made. buf begins with the
    # frame that header describes; now_s: seconds of a clock that does not go back, below 2**30.
    @micropython.native  # type: ignore[untyped-decorator]
    def remember(self, buf: bytes | bytearray | memoryview, header: Header, now_s: int) -> int:
        self._hash(buf, header)
        index: int = find8(self._ring, self._work, self._chains)
        if index >= 0:
            if now_s - self._times[index] & 0xFFFF <= self._lifetime_s:
                return index
            # It comes anew, as the youngest entry.
            leave8(self._ring, self._chains, index)
        index = self._next
        enter8(self._ring, self._work, self._chains, index)
        self._times[index] = now_s & 0xFFFF
        self._next = index + 1 if index + 1 < self._capacity else 0
        return -1 - index

    # The frame of this entry may come again, because it could not be kept.
    def forget(self, index: int) -> None:
        leave8(self._ring, self._chains, index)
        # The youngest entry gives its place back, so that a flood of frames without room does not empty the ring.
        if index == (self._next or self._capacity) - 1:
            self._next = index

    # The 11 words that a call may use without going to the heap decide what is a local variable here.
    @micropython.native  # type: ignore[untyped-decorator]
    def _hash(self, buf: bytes | bytearray | memoryview, header: Header) -> None:
        work = self._work
        work[_TYPE] = header.type
        at = header.payload_at
        if header.type == TYPE_FRAGMENT and header.payload_len >= HEADER_SIZE and not header.original_size:
            work[_KIND] = _BY_FRAGMENT
            gather8(work, buf, header.sender_at, at, 0)
            work[_REST] = buf[at + INDEX]
            work[_REST + 1] = buf[at + INDEX + 1]
        else:
            gather8(work, buf, header.sender_at, TIMESTAMP, header.signature_at)
            if header.signature_at:
                work[_KIND] = _BY_SIGNATURE
            elif header.original_size:
                work[_KIND] = _BY_SIZE
                self._set_size(header.original_size)
            else:
                work[_KIND] = _BY_PAYLOAD
                # Two bytes of the id before it make a short header's payload begin at a whole word.
                hash8(work, buf, at - (at & 2), header.payload_len + (at & 2))
                return
        hash8(work, buf, 0, 0)

    def _set_size(self, size: int) -> None:
        self._work[_REST] = size & 255
        self._work[_REST + 1] = size >> 8 & 255
        self._work[_REST + 2] = size >> 16
