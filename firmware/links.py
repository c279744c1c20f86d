# Links to phones and to other relays: one record per connection, each with its queue of frames to send.
#
# A link record is used over and over. The Bluetooth interrupt handler opens records and marks them lost; only the main
# loop empties their queues and frees them, so a frame is never released twice.
from errno import EAGAIN, ENOMEM
from time import ticks_add, ticks_diff

import micropython
from micropython import const

from firmware.roster import Roster
from firmware.slots import RANK_AT
from shared_protocol.counters import (
    BACKPRESSURE,
    COPIES,
    DROP_LINK_LOST,
    DROP_MTU,
    DROP_QUEUE_FULL,
    DROP_SEND_FAILED,
    LINKS_DOWN,
    LINKS_UP,
    TX_BYTES,
    TX_FRAMES,
)

# Life of a record. OPENING is on the air but not yet fit for frames (MTU, discovery, subscription).
FREE = const(0)
OPENING = const(1)
READY = const(2)
LOST = const(3)
GONE = const(4)  # as LOST, and upkeep has seen it
STATE_NAMES = ("free", "opening", "ready", "lost", "gone")

INBOUND = const(0)  # the peer dialled us: we notify
OUTBOUND = const(1)  # we dialled the peer: we write
ROLE_NAMES = ("in", "out")

QUEUE_SLOTS = const(16)
LEAST_MTU = const(23)
SMALL = const(0x3FFFFFFF)  # counts of bytes wrap here: beyond it an ESP32 has integers on the heap only
RETRY_MS = const(10)  # after the stack had no buffers
_BURST = const(4)  # frames to one link before the next link has its turn
ATT_HEADER = const(3)
ALL_LINKS = const(0x7FF)  # a bit each by index, as FramePool.known has them

# What is agreed with a BitCraps peer that has not said hello: no mode, and BASIC_MESH of shared_protocol/versions.py.
NO_HELLO = const(-1)
_BASIC_MESH = const(1)
_NEVER_ANSWERED = const(10)

_NOBODY = bytes(8)
_RELAY = const(0x10)  # of a frame's situation: see shared_protocol/budget.py

RELAY_ADDRESS_TYPE = const(0)  # public: boxes keep their address, phones change theirs


class Link:
    def __init__(self, index):
        self.index = index
        self.serial = 0  # of the connection in this record
        self.bit = 1 << index
        self.state = FREE
        self.conn = -1
        self.role = INBOUND
        self.address = bytearray(6)
        self.address_type = 0
        self.kind = index  # its part of a frame's situation
        self.mtu = LEAST_MTU
        self.room = 20  # the longest frame it takes
        self.value_handle = 0  # the peer's characteristic, of an outbound link
        self.notify_handle = 0  # ours, on which the peer of an inbound link hears us
        self.bitcraps = False  # it speaks the BitCraps service
        # What was agreed with a BitCraps peer (shared_protocol/versions.py), and what it waits for: see greeter.py.
        self.mode = NO_HELLO
        self.features = _BASIC_MESH
        self.hello = None  # its own, while that is not answered
        self.record_due = False
        self.handshakes = 0  # that it began, and that were answered
        self.handshakes_answered = 0
        self.answered_at = 0
        self.opened_at = 0
        self.phase = 0  # of the opening, see opening.py
        self.served = False  # it was ready at some time
        self.broken = False  # a send failed, and not for lack of buffers
        self.owner = bytearray(8)  # id of the peer, if owned
        self.owned = False  # the peer has proved who it is,
        self.owned_at = 0  # and when it last did so, in seconds
        self.why = ""  # we closed it
        self.start_handle = 0
        self.end_handle = 0
        self.cccd_handle = 0
        self.rssi = 0
        self.rx_frames = 0
        self.rx_before = 0  # rx_frames when upkeep last looked
        self.heard_at = 0
        self.tx_frames = 0
        self.dropped = 0
        self.queue = bytearray(QUEUE_SLOTS)
        self.head = 0
        self.queued = 0

    def open(self, conn, role, address_type, address, now):
        self.serial = self.serial + 1 & 0x7FFF
        self.conn = conn
        self.role = role
        self.address_type = address_type
        self.address[:] = address
        self.owner[:] = _NOBODY
        self.owned = False
        self.kind = self.index | (_RELAY if self.is_relay() else 0)
        self.mtu = LEAST_MTU
        self.bitcraps = self.record_due = False
        self.mode = NO_HELLO
        self.features = _BASIC_MESH
        self.hello = None
        self.handshakes = self.handshakes_answered = 0
        self.answered_at = now - _NEVER_ANSWERED
        self.value_handle = self.start_handle = self.end_handle = self.cccd_handle = 0
        self.phase = 0
        self.served = self.broken = False
        self.why = ""
        self.opened_at = now
        self.rssi = 0
        self.heard_at = now
        self.rx_frames = self.rx_before = self.tx_frames = self.dropped = 0
        self.head = self.queued = 0
        self.state = OPENING

    def is_relay(self):
        return self.address_type == RELAY_ADDRESS_TYPE

    def waits_for_us(self):
        return self.hello is not None or self.record_due or self.handshakes != self.handshakes_answered


# Two records to spare: a new connection may come before the main loop has cleaned up after an old one.
def records(max_links):
    return max_links + 2


class Links:
    # max_links: what the radio carries, both directions together.
    def __init__(self, pool, counts, max_links):
        self.pool = pool
        self.counts = counts
        self.max_links = max_links
        self.all = [Link(i) for i in range(records(max_links))]
        self.by_conn = {}
        self.roster = Roster(records(max_links))
        self.ready = 0
        self.ready_links = ()
        self.waiting = 0  # frames in all queues
        self.ble = None
        self.handle = 0
        self._turn = 0
        self._retry_at = 0
        self._held = False

    # The Bluetooth stack, and the handle of the phones' characteristic in it.
    def sends_with(self, ble, handle):
        self.ble = ble
        self.handle = handle

    # Links that hold a connection of the radio now.
    def used(self):
        return len(self.by_conn)

    def count(self, role):
        n = 0
        for link in self.by_conn.values():
            if link.role == role:
                n += 1
        return n

    def relays(self):
        n = 0
        for link in self.by_conn.values():
            if link.is_relay():
                n += 1
        return n

    def find(self, address):
        for link in self.by_conn.values():
            if link.address == address:
                return link
        return None

    # Whether a ready link is missing in `known`, a set of bits by link index.
    def anybody_without(self, known):
        for link in self.ready_links:
            if not known & link.bit:
                return True
        return False

    # Handler side; now: tenths of a second. None when there is no record left: the caller refuses the link.
    def opened(self, conn, role, address_type, address, now):
        self.closed(conn)  # its disconnection was lost
        for link in self.all:
            if link.state == FREE:
                link.open(conn, role, address_type, address, now)
                link.notify_handle = self.handle
                self.by_conn[conn] = link
                self.counts[LINKS_UP] += 1
                return link
        return None

    # Handler side.
    def closed(self, conn):
        link = self.by_conn.pop(conn, None)
        if link is not None:
            link.state = LOST
            self.counts[LINKS_DOWN] += 1
        return link

    # Puts a frame on every link that is ready and whose peer does not have it. Returns on how many. Where nothing waits
    # before it, the frame goes to the stack at once: one whole frame per value.
    @micropython.native
    def fan_out(self, slot, now):
        pool = self.pool
        ble = self.ble
        held = self._held
        known = pool.known[slot]
        n = pool.length[slot]
        data = pool.view[slot][:n]
        users = sent = copies = 0
        for link in self.ready_links:
            if known & link.bit or link.state != READY:
                continue
            copies += 1
            if held or link.queued or n > link.room:
                users += self._enqueue(link, slot)
                continue
            try:
                if link.role == INBOUND:
                    ble.gatts_notify(link.conn, link.notify_handle, data)
                else:
                    ble.gattc_write(link.conn, link.value_handle, data, 0)
                link.tx_frames += 1
                sent += 1
            except OSError as error:
                users += self._not_sent(link, slot, error.errno, now)
                held = self._held
        counts = self.counts
        counts[COPIES] += copies
        counts[TX_FRAMES] += sent
        counts[TX_BYTES] = counts[TX_BYTES] + n * sent & SMALL
        pool.users[slot] = users
        if not users:
            pool.release(slot)
        return sent + users

    # Notifies one peer of a value of our own, ahead of the frames that wait. False: the stack has no room for it now.
    def tell(self, link, handle, value):
        n = len(value)
        counts = self.counts
        if n > link.room:
            counts[DROP_MTU] += 1
            link.dropped += 1
        else:
            try:
                self.ble.gatts_notify(link.conn, handle, value)
                counts[TX_FRAMES] += 1
                counts[TX_BYTES] = counts[TX_BYTES] + n & SMALL
                link.tx_frames += 1
            except OSError as error:
                if not self._refused(link, error.errno):
                    return False
        counts[COPIES] += 1
        return True

    # The stack did not take a frame: queues it if that was for lack of buffers. Returns how many queues have it.
    def _not_sent(self, link, slot, code, now):
        if self._refused(link, code):
            return 0
        self._held = True
        self._retry_at = ticks_add(now, RETRY_MS)
        return self._enqueue(link, slot)

    # Whether the link, not the stack's lack of buffers, was the reason. Then upkeep ends the link.
    def _refused(self, link, code):
        if code == ENOMEM or code == EAGAIN:
            self.counts[BACKPRESSURE] += 1
            return False
        self.counts[DROP_SEND_FAILED] += 1
        link.dropped += 1
        link.broken = True
        return True

    def _enqueue(self, link, slot):
        pool = self.pool
        if pool.length[slot] > link.room:
            self.counts[DROP_MTU] += 1
            link.dropped += 1
            return 0
        if link.queued == QUEUE_SLOTS:
            self.counts[DROP_QUEUE_FULL] += 1
            link.dropped += 1
            if not self._make_room(link, pool.known[slot] >> RANK_AT):
                return 0
        at = link.head + link.queued
        link.queue[at if at < QUEUE_SLOTS else at - QUEUE_SLOTS] = slot
        link.queued += 1
        self.waiting += 1
        return 1

    # Drops the oldest frame of the lowest rank: bulk before talk before sessions, and of each the frames of authors
    # that nobody has verified. False if the newcomer ranks below all that wait.
    def _make_room(self, link, newcomer):
        pool = self.pool
        queue = link.queue
        lowest = 255
        place = 0
        for i in range(QUEUE_SLOTS):
            waiting = pool.known[queue[(link.head + i) % QUEUE_SLOTS]] >> RANK_AT
            if waiting < lowest:
                lowest = waiting
                place = i
        if newcomer < lowest:
            return False
        pool.done(queue[(link.head + place) % QUEUE_SLOTS])
        for i in range(place, QUEUE_SLOTS - 1):
            queue[(link.head + i) % QUEUE_SLOTS] = queue[(link.head + i + 1) % QUEUE_SLOTS]
        link.queued -= 1
        self.waiting -= 1
        return True

    # Sends what the stack takes. Returns ms until it is worth trying again, or -1 when nothing waits.
    def pump(self, now):
        if self._held:
            left = ticks_diff(self._retry_at, now)
            if 0 < left <= RETRY_MS:
                return left
            self._held = False
        ready = self.ready_links
        while self.waiting:
            self._turn += 1
            idle = True
            for i in range(len(ready)):
                link = ready[(self._turn + i) % len(ready)]
                if link.queued and link.state == READY:
                    idle = False
                    if not self._send_burst(link):
                        self._held = True
                        self._retry_at = ticks_add(now, RETRY_MS)
                        return RETRY_MS
            if idle:
                break  # what waits is on links that are gone: sweep() takes it
        return -1

    # False when the stack is out of buffers: not an error but back-pressure, and the same for every link.
    def _send_burst(self, link):
        pool = self.pool
        for _ in range(_BURST):
            if not link.queued or link.state != READY:
                break
            slot = link.queue[link.head]
            n = pool.length[slot]
            try:
                if link.role == INBOUND:
                    self.ble.gatts_notify(link.conn, link.notify_handle, pool.view[slot][:n])
                else:
                    self.ble.gattc_write(link.conn, link.value_handle, pool.view[slot][:n], 0)
                self.counts[TX_FRAMES] += 1
                self.counts[TX_BYTES] = self.counts[TX_BYTES] + n & SMALL
                link.tx_frames += 1
            except OSError as error:
                if not self._refused(link, error.errno):
                    return False
            self._take_head(link)
            pool.done(slot)
        return True

    def _take_head(self, link):
        head = link.head + 1
        link.head = 0 if head == QUEUE_SLOTS else head
        link.queued -= 1
        self.waiting -= 1

    # Main side: lists the links that are ready, with their owners, and gives back what waited on links that are gone.
    def sweep(self):
        ready = []
        for link in self.all:
            self.roster.set_owner(link.index, link.owner if link.owned and link.state == READY else _NOBODY)
            if link.state == READY:
                link.room = link.mtu - ATT_HEADER
                ready.append(link)
            elif link.state == GONE:
                while link.queued:
                    self.counts[DROP_LINK_LOST] += 1
                    self.pool.done(link.queue[link.head])
                    self._take_head(link)
                link.conn = -1
                # What came on it must not count as the next peer's.
                if self.pool.taken[link.index] == self.pool.returned[link.index]:
                    link.state = FREE
        self.ready_links = tuple(ready)
        self.ready = len(ready)
