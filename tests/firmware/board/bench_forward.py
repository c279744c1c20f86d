# Forwards FRAMES frames to LISTENERS links with the shipped modules and a stack that does nothing; run under callgrind
# by tests/firmware/test_forward_cost.py, which counts the instructions of a difference in FRAMES.
# argv: frames, listeners, "signed" | "unsigned", and "idle" to do everything but forward.
import gc
import sys
from hashlib import sha256

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
AUTHORS = 20
NOW_MS = 0x19FD5E50000


def author(number):
    return sha256(bytes((number,))).digest()[:8]


class Stack:
    def __init__(self):
        self.value = b""
        self.sent = 0

    def gatts_read(self, handle):
        return self.value

    def gatts_notify(self, conn, handle, data):
        self.sent += 1


def main(frames, listeners, kind, idle):
    counts = [0] * c.COUNT
    pool = FramePool(24, records(listeners + 1))
    links = Links(pool, counts, listeners + 1)
    stack = Stack()
    radio = Radio(stack, links, pool, counts, Clock(), lambda: None)
    radio.handle = HANDLE
    forwarder = Forwarder(
        links,
        pool,
        DuplicateCache(secret=b"0123456789abcdef"),
        counts,
        Clock(),
        lambda low, high: low,
        budget.ledger(1),
    )
    links.sends_with(stack, HANDLE)
    for conn in range(listeners + 1):
        link = links.opened(conn, l.INBOUND, 1, bytes(6), 0)
        link.mtu = 517
        link.state = l.READY
        link.owner[:] = b"owner0%02d" % conn
        link.owned = True
    links.sweep()
    # As on a relay that has its keys, knows the time and has heard its neighbours.
    forwarder.own_id[:] = b"relay!!!"
    forwarder.window[:] = (NOW_MS - 120_000).to_bytes(8, "big") + (NOW_MS + 120_000).to_bytes(8, "big")
    for i in range(AUTHORS):
        forwarder.authors.note(author(i), bytes(32), bytes(8), 0)
    forwarder.on_announce = lambda link, data, header: None
    forwarder.on_own = lambda link, data, header: None
    signature = bytes(64) if kind == "signed" else None
    payload = bytes(200 - 22 - (64 if signature else 0))
    value = bytearray(frame.encode(2, 7, NOW_MS, author(AUTHORS - 1), payload, signature=signature))
    at = frame.Header()
    at.parse(value, len(value))
    stack.value = value
    now = 0
    written = (0, HANDLE)
    gc.collect()
    free_early = 0
    for i in range(frames):
        value[9] = i >> 8 & 255
        value[10] = i & 255
        if at.signature_at:
            value[at.signature_at] = i & 255
            value[at.signature_at + 1] = i >> 8 & 255
        if not idle:
            radio._irq(3, written)
            forwarder.step(now)
        else:
            # What the test itself costs: the stack's calls and the making of a new frame.
            stack.gatts_read(HANDLE)
            for conn in range(listeners):
                stack.gatts_notify(conn, HANDLE, value)
        now += 10
        if not idle:
            forwarder.step(now)
        now += 1
        if i == 2000:
            gc.collect()
            free_early = gc.mem_free()
    gc.collect()
    print(stack.sent, counts[c.FORWARDED], counts[c.TX_FRAMES], free_early, gc.mem_free())


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], "idle" in sys.argv)
