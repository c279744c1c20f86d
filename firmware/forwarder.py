# Frame in, decision, queues: what a relay is for. A frame is forwarded byte for byte but for its TTL.
from array import array
from time import ticks_add, ticks_diff

import micropython
from micropython import const

from shared_protocol.counters import (
    CANCELLED,
    DROP_MALFORMED,
    DROP_NO_LINK,
    DROP_PARTIAL,
    DUPLICATES,
    FORWARDED,
    NOT_RELAYED_OURS,
    NOT_RELAYED_RSR,
    NOT_RELAYED_TTL,
    NOT_RELAYED_TYPE,
    ORIGINATED,
)
from shared_protocol.frame import (
    E_EMPTY,
    E_SHORT,
    E_TRUNCATED,
    HAS_RECIPIENT,
    RSR,
    TTL,
    TYPE_BOARD_POST,
    Header,
)
from shared_protocol.relay import decide
from shared_protocol.urgency import is_urgent

_BATCH = const(8)  # frames taken before the links are served again
# Jitter is kept to this grain: the loop wakes that often while a frame waits for its time.
_GRAIN_MS = const(8)
_FAR_MS = const(1000)  # beyond the longest jitter

# Counter of each reason that decide() gives, by its number.
_NOT_RELAYED = (0, NOT_RELAYED_TYPE, NOT_RELAYED_TTL, NOT_RELAYED_OURS, NOT_RELAYED_RSR)


class Forwarder:
    # randint(low, high): uniform, both ends included. on_frame(conn, data, verdict): every frame that parsed, or None.
    def __init__(self, links, pool, cache, counts, clock, randint):
        self.links = links
        self.pool = pool
        self.cache = cache
        self.counts = counts
        self.clock = clock
        self.randint = randint
        self.on_frame = None
        self.header = Header()
        self.slots_low = pool.count  # the fewest free slots there ever were
        self._records = links.all
        self._received = pool.received
        self._free = pool.free
        # Frames that wait for their time, in no order: slot numbers, and by slot when, and which entry of the cache.
        self._waiting = bytearray(pool.count + 1)
        self._waits = 0
        self._next_due = 0
        self._due = array("i", bytes(4 * (pool.count + 1)))
        self._entry = array("i", bytes(4 * (pool.count + 1)))

    # One round of everything there is to do. Returns ms until the next one is due, or -1: when something arrives.
    def step(self, now):
        more = self._received and self._take_batch(now)
        if self._waits and ticks_diff(self._next_due, now) <= 0:
            self._send_due(now)
        wait = self.links.pump(now) if self.links.waiting else -1
        if more:
            return 0
        if self._waits and (wait < 0 or wait > _GRAIN_MS):
            return _GRAIN_MS
        return wait

    # Whether there is more.
    def _take_batch(self, now):
        received = self._received
        free = len(self._free)
        if free < self.slots_low:
            self.slots_low = free
        for _ in range(_BATCH):
            self._take(received.popleft(), now)
            if not received:
                return False
        return True

    # A frame from the console, put on every link as it is. On how many, or -1 while the last one is still being sent.
    def originate(self, frame, now):
        pool = self.pool
        slot = pool.take_local()
        if slot < 0:
            return -1
        n = len(frame)
        pool.data[slot][:n] = frame
        header = self.header
        if header.parse(pool.data[slot], n) > 0:
            self.cache.remember(pool.data[slot], header, self.clock.now_s)
        pool.length[slot] = n
        pool.known[slot] = 0
        users = self.links.fan_out(slot, now)
        self.counts[ORIGINATED] += 1
        self.links.pump(now)
        return users

    @micropython.native
    def _take(self, slot, now):
        pool = self.pool
        data = pool.data[slot]
        header = self.header
        link = self._records[pool.source[slot]]
        size = header.parse(data, pool.length[slot])
        if size < 0:
            partial = size == E_TRUNCATED or size == E_SHORT or size == E_EMPTY
            self.counts[DROP_PARTIAL if partial else DROP_MALFORMED] += 1
            pool.release(slot)
            return
        entry = self.cache.remember(data, header, self.clock.now_s)
        if entry >= 0:
            self.counts[DUPLICATES] += 1
            if self._waits:
                self._known_to(link, entry)
            self._tell(link, slot, "duplicate")
            pool.release(slot)
            return
        kind = header.type
        flags = header.flags
        ttl, low, high = decide(
            kind,
            header.ttl,
            flags & HAS_RECIPIENT,
            False,
            flags & RSR,
            kind == TYPE_BOARD_POST and is_urgent(data, header.payload_at, header.payload_len),
            self.links.ready,
        )
        if not ttl:
            self.counts[_NOT_RELAYED[low]] += 1
            # TTL and RSR are not signed: a copy that anybody may have spoilt must not keep the good one out.
            self.cache.forget(-1 - entry)
            self._tell(link, slot, "not relayed")
            pool.release(slot)
            return
        if self.on_frame is not None:
            self._tell(link, slot, "relayed")
        data[TTL] = ttl
        pool.known[slot] = link.bit
        self._entry[slot] = -1 - entry
        due = ticks_add(now, self.randint(low, high))
        waits = self._waits
        self._due[slot] = due
        self._waiting[waits] = slot
        if not waits or ticks_diff(due, self._next_due) < 0:
            self._next_due = due
        self._waits = waits + 1

    def _tell(self, link, slot, verdict):
        if self.on_frame is not None:
            try:
                self.on_frame(link.conn, self.pool.view[slot][: self.pool.length[slot]], verdict)
            except (MemoryError, ValueError):
                self.on_frame = None  # who only listens must never end the loop

    @micropython.native
    def _send_due(self, now):
        i = 0
        nearest = ticks_add(now, _FAR_MS)
        while i < self._waits:
            slot = self._waiting[i]
            due = self._due[slot]
            if ticks_diff(due, now) <= 0:
                self._unlist(i)
                self.counts[FORWARDED if self.links.fan_out(slot, now) else DROP_NO_LINK] += 1
                continue
            if ticks_diff(due, nearest) < 0:
                nearest = due
            i += 1
        self._next_due = nearest

    # A neighbour sent the frame that waits with this entry: it needs none from us. When that holds for all, ours is
    # cancelled. A link that did not send it keeps its claim: on links, unlike on the air, nobody else may reach it.
    def _known_to(self, link, entry):
        for i in range(self._waits):
            slot = self._waiting[i]
            if self._entry[slot] == entry:
                self.pool.known[slot] |= link.bit
                if not self.links.anybody_without(self.pool.known[slot]):
                    self._unlist(i)
                    self.counts[CANCELLED] += 1
                    self.pool.release(slot)
                return

    # In order: frames of one author with the same delay must not overtake one another.
    def _unlist(self, i):
        last = self._waits = self._waits - 1
        if i < last:
            self._waiting[i:last] = self._waiting[i + 1 : last + 1]
