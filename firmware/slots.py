# The frame pool: every frame is in memory once, in a slot that the queues of all links share by a count of users.
#
# Frames arrive in the Bluetooth interrupt handler, which on an ESP32 runs between any two bytecodes of the main loop.
# So slots pass between the two only through queues whose operations are single calls: free slots (main gives, handler
# takes) and received slots (handler gives, main takes). Each count beside them has one writer. Nothing needs a lock.
from array import array
from collections import deque

from micropython import const

RANK_AT = const(11)
SLOT_BYTES = const(512)  # the longest attribute value of ATT, and so the longest frame on a link


class FramePool:
    # `count` slots for frames from the air and one more, the last, for frames of our own. The last `reserve` free
    # ones are for those of the `sources` that have less than their `share`: a flood on one link leaves room for others.
    def __init__(self, count, sources):
        self.count = count
        self.share = count // 4
        self.reserve = count // 3
        total = count + 1
        self.data = [bytearray(SLOT_BYTES) for _ in range(total)]
        self.view = [memoryview(data) for data in self.data]
        self.length = array("H", bytes(2 * total))
        self.source = bytearray(total)  # index of the link it came in on
        # By source: slots that the handler took, and that the main loop gave back.
        self.taken = [0] * sources
        self.returned = [0] * sources
        # Links whose peer has the frame or may not have it, a bit each by index; and from bit RANK_AT on what
        # budget.admit() says: a full queue drops the lowest first.
        self.known = array("H", bytes(2 * total))
        self.users = bytearray(total)
        self.free = deque(range(count), count)
        self.received = deque((), count)
        self.local_busy = False

    # Main side: nobody needs `slot` any more.
    def release(self, slot):
        if slot == self.count:
            self.local_busy = False
        else:
            self.returned[self.source[slot]] += 1
            self.free.append(slot)

    # Main side: one user less; the last one gives the slot back.
    def done(self, slot):
        self.users[slot] -= 1
        if not self.users[slot]:
            self.release(slot)

    # Main side: the slot for a frame of our own, or -1 while the last one is still being sent.
    def take_local(self):
        if self.local_busy:
            return -1
        self.local_busy = True
        return self.count
