# The whole relay, as main.py starts it, forwarding FRAMES frames of all kinds among four busy links, over a Bluetooth
# stack that says yes to everything. Prints a line of JSON: what gc.mem_free() is after 2,000 frames and at the end.
import asyncio
import gc
import json
import sys

import bluetooth

LINKS = 4
EARLY = 2000
BURST = 4  # frames a link at a time


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
        return ((3,),)

    def gatts_set_buffer(self, handle, size):
        pass

    def gatts_read(self, handle):
        return self.value

    def gatts_notify(self, conn, handle, data):
        self.sent += 1

    def gap_advertise(self, interval, adv_data=None):
        pass

    def gap_scan(self, *how):
        pass


bluetooth.BLE = BLE

from firmware.app import Relay  # noqa: E402
from shared_protocol import counters as c  # noqa: E402
from shared_protocol import frame  # noqa: E402


# A frame nobody has seen: kinds, sizes and signatures in turn.
def make(i):
    stamp = bytes((0, 0, 1, 0)) + bytes((i >> 24 & 255, i >> 16 & 255, i >> 8 & 255, i & 255))
    turn = i % 8
    if turn == 0:
        return frame.encode(2, 7, stamp, b"sender01", bytes(100), signature=stamp * 8)
    if turn == 1:
        return frame.encode(0x7F, 7, stamp, b"sender04", bytes(40), version=2)
    if turn < 5:
        return frame.pad(frame.encode(0x11, 7, stamp, b"sender02", bytes(130), recipient=b"receiver"))
    return frame.encode(0x20, 7, stamp, b"sender03", stamp + bytes((0, 1, 0, 9, 0x22)) + bytes(469))


async def feed(relay, frames):
    ble = relay.radio.ble
    for conn in range(LINKS):
        ble.irq_handler(1, (conn, 1, bytes((0xC0 + conn,) * 6)))
        ble.irq_handler(21, (conn, 517))
    while relay.links.ready < LINKS:
        await asyncio.sleep_ms(50)
    early = 0
    sent = 0
    while relay.counts[c.FORWARDED] < frames:
        for conn in range(LINKS):
            for _ in range(BURST):
                ble.value = make(sent)
                sent += 1
                ble.irq_handler(3, (conn, 3))
        await asyncio.sleep_ms(15)
        if not early and relay.counts[c.FORWARDED] >= EARLY:
            gc.collect()
            early = gc.mem_free()
    gc.collect()
    late = gc.mem_free()
    told = {"early": early, "late": late, "forwarded": relay.counts[c.FORWARDED], "sent": ble.sent}
    print(json.dumps(told))


async def main(frames):
    relay = Relay("")
    loops = [asyncio.create_task(loop) for loop in (relay.mesh(), relay.beat())]
    await feed(relay, frames)
    for loop in loops:
        loop.cancel()


asyncio.run(main(int(sys.argv[1])))
