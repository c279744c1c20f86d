# The whole relay, as main.py starts it, forwarding FRAMES frames of all kinds among four busy links, over a Bluetooth
# stack that says yes to everything. Prints a line of JSON: what gc.mem_free() is after 2,000 frames and at the end.
import asyncio
import gc
import json
import sys

import bluetooth

LINKS = 4
NOW = 1786000000000
PAUSE_MS = 1
EARLY = 2000
SENDERS = 40


class BLE:
    def __init__(self):
        self.irq_handler = None
        self.value = b""
        self.sent = 0

    def active(self, on=True):
        return on

    def irq(self, handler):
        self.irq_handler = handler

    def config(self, name=None, **values):
        return (0, b"\xf0\xf1\xf2\xf3\xf4\x01") if name else None

    def gatts_register_services(self, services):
        return ((3,), (5, 7, 10))

    def gatts_set_buffer(self, handle, size):
        pass

    def gatts_read(self, handle):
        return self.value

    def gatts_notify(self, conn, handle, data):
        self.sent += 1

    def gap_advertise(self, interval, adv_data=None, resp_data=None):
        pass

    def gap_scan(self, *how):
        pass


bluetooth.BLE = BLE
# As main.py does; the relay ends it.
gc.threshold(2048)

from firmware.app import Relay  # noqa: E402
from shared_protocol import counters as c  # noqa: E402
from shared_protocol import frame  # noqa: E402


# A frame nobody has seen: kinds, sizes and signatures in turn.
def make(i):
    stamp = (NOW + i).to_bytes(8, "big")
    sender = b"sender%02d" % (i % SENDERS)
    turn = i % 9
    if turn == 0:
        return frame.encode(2, 7, stamp, sender, bytes(100), signature=stamp * 8)
    if turn == 1:
        return frame.encode(0x7F, 7, stamp, sender, bytes(40), version=2)
    if turn < 5:
        return frame.pad(frame.encode(0x11, 7, stamp, sender, bytes(130), recipient=b"receiver"))
    return frame.encode(0x20, 7, stamp, sender, stamp + bytes((0, 1, 0, 9, 0x22)) + bytes(469))


# The heap's free bytes between two signatures, of which one may be at work at any moment.
async def free():
    most = 0
    for _ in range(40):
        await asyncio.sleep_ms(50)
        gc.collect()
        most = max(most, gc.mem_free())
    return most


async def feed(relay, frames):
    ble = relay.radio.ble
    for conn in range(LINKS):
        ble.irq_handler(1, (conn, 1, bytes((0xC0 + conn,) * 6)))
        ble.irq_handler(21, (conn, 517))
    while relay.links.ready < LINKS:
        await asyncio.sleep_ms(50)
    # Verified, so that the budgets of a busy relay leave them enough to fill it.
    for author in (b"sender01", b"sender02", b"sender03", b"sender04"):
        relay.forwarder.authors.note(author, bytes(32), bytes(8), 0)
    early = 0
    sent = 0
    while relay.counts[c.FORWARDED] < frames:
        ble.value = make(sent)
        ble.irq_handler(3, (sent % LINKS, 3))
        sent += 1
        await asyncio.sleep_ms(PAUSE_MS)
        if not early and relay.counts[c.FORWARDED] >= EARLY:
            early = await free()
    late = await free()
    told = {"early": early, "late": late, "forwarded": relay.counts[c.FORWARDED], "sent": ble.sent}
    print(json.dumps(told))


async def main(frames):
    relay = Relay("")
    # No jitter, which would fill the slots with frames that wait, and make the relay drop what is over the budgets.
    relay.forwarder.randint = lambda low, high: 0
    # It knows the time: so it announces itself, and works for its proof.
    relay.wall.set_by_host(NOW, 0)
    loops = (relay.mesh(), relay.beat(), relay.spare_time.run(), relay.proof.run())
    relay.proof.difficulty = 4
    loops = [asyncio.create_task(loop) for loop in loops]
    while not relay.proof.renew_at:
        await asyncio.sleep_ms(100)
    await feed(relay, frames)
    for loop in loops:
        loop.cancel()


asyncio.run(main(int(sys.argv[1])))
