# A forwarder with its links and pool, as app.py wires them, over a Bluetooth stack that records what it is given.
from errno import ENOMEM

from firmware import links as l
from firmware.clock import Clock
from firmware.forwarder import Forwarder
from firmware.links import Links, records
from firmware.radio import Radio
from firmware.slots import FramePool
from shared_protocol import budget, frame
from shared_protocol import counters as c
from shared_protocol.dedup import DuplicateCache

HANDLE = 3
NOW_MS = 1786000000000
SENDER = b"\x11\x22\x33\x44\x55\x66\x77\x88"


class Stack:
    def __init__(self):
        self.value = b""
        self.sent = []  # (conn, bytes)
        self.room = 1000  # sends until there are no buffers
        self.broken = ()  # conns whose sends fail for another reason

    def gatts_read(self, handle):
        return self.value

    def gatts_notify(self, conn, handle, data):
        if conn in self.broken:
            raise OSError(107)
        if not self.room:
            raise OSError(ENOMEM)
        self.room -= 1
        self.sent.append((conn, bytes(data)))

    def gattc_write(self, conn, handle, data, mode):
        self.gatts_notify(conn, handle, data)


class Rig:
    # degree: links, all inbound but the last, all ready.
    def __init__(self, degree=3, slots=24, mtu=517):
        self.counts = [0] * c.COUNT
        self.pool = FramePool(slots, records(degree))
        self.links = Links(self.pool, self.counts, degree)
        self.stack = Stack()
        self.clock = Clock()
        self.radio = Radio(self.stack, self.links, self.pool, self.counts, self.clock, self.woken)
        self.radio.handle = HANDLE
        self.wakes = 0
        self.delays = []
        self.forwarder = Forwarder(
            self.links, self.pool, DuplicateCache(), self.counts, self.clock, self.random, budget.ledger(1)
        )
        self.links.sends_with(self.stack, HANDLE)
        self.now = 0
        self.serial = 0
        for conn in range(degree):
            role = l.OUTBOUND if conn == degree - 1 else l.INBOUND
            link = self.links.opened(conn, role, 1, bytes((conn,) * 6), 0)
            link.mtu = mtu
            link.value_handle = HANDLE
            link.state = l.READY
        self.links.sweep()

    def woken(self):
        self.wakes += 1

    def random(self, low, high):
        self.delays.append((low, high))
        return low

    def count(self, name):
        return self.counts[getattr(c, name.upper())]

    # A new public message, or whatever the arguments say.
    def frame(self, type=2, ttl=7, payload=b"hello mesh", sender=SENDER, **more):
        self.serial += 1
        return frame.encode(type, ttl, NOW_MS + self.serial, sender, payload, **more)

    # The phone with this on-air id is at the end of a link.
    def bind(self, conn, owner):
        link = self.links.by_conn[conn]
        link.owner[:] = owner
        link.owned = True
        self.links.sweep()

    # On which links something was sent, in order.
    def sent_on(self):
        return sorted(conn for conn, _ in self.stack.sent)

    def hear(self, value, conn=0):
        self.stack.value = value
        self.radio._irq(3, (conn, HANDLE))

    # Lets ms pass, in steps of 5, with the loop running.
    def run(self, ms=300):
        end = self.now + ms
        while self.now < end:
            while self.forwarder.step(self.now) == 0:
                pass
            self.now += 5

    # Every frame and every copy that ever was is accounted for, and every slot is back.
    def check_books(self):
        n = self.count
        ended = n("drop_oversize") + n("drop_no_slot") + n("drop_partial") + n("drop_malformed") + n("duplicates")
        ended += n("not_relayed_ttl") + n("not_relayed_type") + n("not_relayed_rsr") + n("not_relayed_ours")
        ended += n("drop_link_budget") + n("drop_sender_budget") + n("drop_unsigned_budget")
        ended += n("drop_skew") + n("drop_route")
        ended += n("drop_no_link") + n("forwarded") + n("cancelled")
        assert n("rx_frames") == ended, (n("rx_frames"), ended)
        copies = n("tx_frames") + n("drop_queue_full") + n("drop_link_lost") + n("drop_mtu") + n("drop_send_failed")
        assert n("copies") == copies + self.links.waiting, (n("copies"), copies, self.links.waiting)
        if not self.links.waiting:
            assert len(self.pool.free) == self.pool.count, len(self.pool.free)
