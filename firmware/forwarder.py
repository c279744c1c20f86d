# Frame in, decision, queues: what a relay is for. A frame is forwarded byte for byte but for its TTL.
from array import array
from time import ticks_add, ticks_diff

import micropython
from micropython import const

from firmware.authors import Authors
from firmware.roster import recognise
from shared_protocol.announce_rate import AnnounceRate
from shared_protocol.budget_viper import admit
from shared_protocol.counters import (
    CANCELLED,
    DROP_LINK_BUDGET,
    DROP_MALFORMED,
    DROP_NO_LINK,
    DROP_PARTIAL,
    DROP_ROUTE,
    DROP_SENDER_BUDGET,
    DROP_SKEW,
    DROP_UNSIGNED_BUDGET,
    DUPLICATES,
    FORWARDED,
    NOT_RELAYED_OURS,
    NOT_RELAYED_RSR,
    NOT_RELAYED_TTL,
    NOT_RELAYED_TYPE,
    ORIGINATED,
)
from shared_protocol.frame import E_EMPTY, E_SHORT, E_TRUNCATED, TYPE_HELLO, TYPE_IDENTITY, Header
from shared_protocol.relay import decision
from shared_protocol.source_route import FLOOD, next_hop
from shared_protocol.urgency import is_urgent

_BATCH = const(8)  # frames taken before the links are served again
# Jitter is kept to this grain: the loop wakes that often while a frame waits for its time.
_GRAIN_MS = const(8)
_LONGEST_HELLO = const(255)
_FOR_US_ALONE = const(-1)  # as if decision() had said that the type is never relayed
_FAR_MS = const(1000)  # beyond the longest jitter

# Counter of each reason that decision() gives, by its number.
_NOT_RELAYED = (0, NOT_RELAYED_TYPE, NOT_RELAYED_TTL, NOT_RELAYED_OURS, NOT_RELAYED_RSR)
# Counter of each budget, by what admit() says.
_OVER = (0, DROP_LINK_BUDGET, DROP_SENDER_BUDGET, DROP_UNSIGNED_BUDGET)

# As in frame.py: here the compiler knows them, and looks none up.
_TYPE = const(1)
_TTL = const(2)
_MAX_TTL = const(7)
_HAS_RECIPIENT = const(0x01)
_RSR = const(0x10)
_TYPE_ANNOUNCE = const(0x01)
_TYPE_BOARD_POST = const(0x23)

# What recognise() says (roster.py): links are bits, as in pool.known.
_LINKS = const(0x7FF)
_TO_LINKS = const(0x7FF << 11)
_TO = const(11)
_RANK_AT = const(11)  # as in slots.py
_VERIFIED_BY = const(17)  # shifted by that, VERIFIED is the bit that admit() asks for
_VERIFIED = const(0x20)
_FROM_US = const(1 << 23)
_TO_US = const(1 << 24)
_SKEWED = const(1 << 25)
_SPECIAL = const(7 << 23)

_CONGESTED = const(0x40)
# A relay is congested when a third of its slots hold frames that wait to be sent, or more than these are in queues.
_WAITING = const(8)
_LEVEL = const(3)  # of a type, in the ledger


class Forwarder:
    # randint(low, high): uniform, both ends included. ledger: of shared_protocol/budget.py, unspent.
    # Each may be None: on_frame(conn, data, verdict), every frame that parsed; on_announce(link, data, header), new
    # announces within their budgets, of any time; on_own(link, data, header), new frames for this relay, of any TTL.
    # The last two may look at data[:header.frame_len] until they return.
    def __init__(self, links, pool, cache, counts, clock, randint, ledger):
        self.links = links
        self.pool = pool
        self.cache = cache
        self.counts = counts
        self.clock = clock
        self.randint = randint
        self.on_frame = None
        self.on_announce = None
        self.on_own = None
        self.roster = links.roster
        self.own_id = links.roster.own_id  # zeros while there is none; it is written in place, as the window is
        self.window = links.roster.window
        self.authors = Authors(links.roster.authors)
        self.header = Header()
        self.slots_low = pool.count  # the fewest free slots there ever were
        self._records = links.all
        self._received = pool.received
        self._free = pool.free
        self._memory = links.roster.memory
        self._own_at = links.roster.own_at
        self._ledger = ledger
        self._announces = AnnounceRate(len(links.all))
        self._scarce = pool.count * 2 // 3
        self._congested = 0
        # Frames that wait for their time, in no order: slot numbers, and by slot when, and which entry of the cache.
        self._waiting = bytearray(pool.count + 1)
        self._waits = 0
        self._next_due = 0
        self._due = array("i", bytes(4 * (pool.count + 1)))
        self._entry = array("i", bytes(4 * (pool.count + 1)))

    # Whether frames are on their way.
    def is_busy(self):
        return bool(self._received or self._waits or self.links.waiting)

    # One round of everything there is to do. Returns ms until the next one is due, or -1: when something arrives.
    @micropython.native
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
        # Frames that only just came do not count: they may be gone at once.
        scarce = free < self._scarce and free + len(received) < self._scarce
        self._congested = _CONGESTED if scarce or self.links.waiting > _WAITING else 0
        for _ in range(_BATCH):
            self._take(received.popleft(), now)
            if not received:
                return False
        return True

    # A frame from the console or of our own, put as it is on every link but those in `barred`, a bit each by index. On
    # how many, or -1 while the last one is still being sent.
    def originate(self, frame, now, barred=0):
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
        pool.known[slot] = barred | (self._ledger[pool.data[slot][_TYPE]] & _LEVEL) * 2 + 1 << _RANK_AT
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
        at = header.sender_at
        seen = recognise(self._memory, data, at, header.recipient_at, self._own_at)
        rank = admit(
            self._ledger,
            data,
            pool.length[slot],
            at,
            link.kind | seen >> _VERIFIED_BY & _VERIFIED | self._congested,
            now,
        )
        if rank < 0:
            self._refuse(link, slot, entry, _OVER[-rank])
            return
        kind = header.type
        if kind == _TYPE_ANNOUNCE:
            if not self._announces.admit(link.index, link.is_relay(), self.clock.tenths):
                self._refuse(link, slot, entry, DROP_LINK_BUDGET)
                return
            # Our own comes back from whoever passes it on.
            if self.on_announce is not None and not seen & _FROM_US:
                self.on_announce(link, pool.view[slot], header)
        if seen & _SPECIAL:
            self._take_special(link, slot, entry, seen)
            return
        flags = header.flags
        verdict = decision(
            kind,
            header.ttl,
            flags & _HAS_RECIPIENT,
            False,
            flags & _RSR,
            kind == _TYPE_BOARD_POST and is_urgent(data, header.payload_at, header.payload_len),
            self.links.ready,
        )
        if kind == TYPE_HELLO and header.version == 1:
            verdict = _FOR_US_ALONE  # it is for this end of the link, whatever its TTL
        if verdict < 0:
            if link.bitcraps:
                self.hear_bitcraps(link, data)
            self._refuse(link, slot, entry, _NOT_RELAYED[-verdict])
            return
        # Never back, nor to the author; and to the recipient alone where it is a neighbour.
        known = link.bit | seen & _LINKS
        if header.route_count:
            way = self._follow(data, known)
            if way < 0:
                self._refuse(link, slot, entry, DROP_ROUTE)
                return
            if way:
                known |= ~way & _LINKS
                verdict = (header.ttl if header.ttl < _MAX_TTL else _MAX_TTL) - 1 << 16
                seen = 0
        if seen & _TO_LINKS:
            known |= ~(seen >> _TO) & _LINKS
        if self.on_frame is not None:
            self._tell(link, slot, "relayed")
        data[_TTL] = verdict >> 16
        pool.known[slot] = known | rank << _RANK_AT
        self._entry[slot] = -1 - entry
        due = ticks_add(now, self.randint(verdict >> 8 & 255, verdict & 255))
        waits = self._waits
        self._due[slot] = due
        self._waiting[waits] = slot
        if not waits or ticks_diff(due, self._next_due) < 0:
            self._next_due = due
        self._waits = waits + 1

    # What a BitCraps peer says to us alone, for greeter.py: its hello, or that it wants our identity record. A hello in
    # a version 2 packet is a beacon for everybody.
    def hear_bitcraps(self, link, data):
        header = self.header
        n = header.payload_len
        if link.bitcraps and header.version == 1 and header.ttl <= 1 and not header.original_size:
            if header.type == TYPE_HELLO:
                if n <= _LONGEST_HELLO:
                    try:
                        link.hello = bytes(data[header.payload_at : header.payload_at + n])
                    except MemoryError:
                        pass  # it has to say it again
            elif header.type == TYPE_IDENTITY and not n:
                link.record_due = True

    # The links, as bits, of the peer that a route names next; 0 if there is none of those that may have the frame, and
    # it goes where it would go without a route; -1 if it goes nowhere.
    def _follow(self, data, known):
        hop = next_hop(data, self.header, self._memory, self._own_at)
        if hop <= FLOOD:
            return hop
        return recognise(self._memory, data, hop, 0, self._own_at) & _LINKS & ~known

    # Frames of a wrong time, and those that end here: for this relay, or said to come from it.
    def _take_special(self, link, slot, entry, seen):
        if seen & _SKEWED:
            if link.bitcraps:
                self.hear_bitcraps(link, self.pool.view[slot])  # one without a clock may say hello
            self._refuse(link, slot, entry, DROP_SKEW)
            return
        self.counts[NOT_RELAYED_OURS] += 1
        if seen & _TO_US and not seen & _FROM_US and self.on_own is not None:
            self.on_own(link, self.pool.view[slot], self.header)
        self._tell(link, slot, "not relayed")
        self.pool.release(slot)

    # The frame goes no further, but may come again: TTL and RSR are not signed, so a copy that anybody may have spoilt
    # must not keep the good one out; and what is over a budget now may not be so on another link.
    def _refuse(self, link, slot, entry, reason):
        self.counts[reason] += 1
        self.cache.forget(-1 - entry)
        self._tell(link, slot, "not relayed")
        self.pool.release(slot)

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
    @micropython.native
    def _unlist(self, i):
        last = self._waits = self._waits - 1
        if i < last:
            self._waiting[i:last] = self._waiting[i + 1 : last + 1]
