# Runs on MicroPython: all checks that both interpreters share, one JSON line each: {"name": ..., "problem": null or
# text}, or {"name": ..., "outcome": [...]} for what CPython must come to as well. Argument: the vectors' folder.
import io
import json
import sys

import budget_checks
import check_modules
import dedup_checks
import fe25519_checks
import fuzz_checks
import micropython
import pow_checks
import vector_checks
import version_checks
import wire_checks

from shared_protocol import budget, cobs, fragment, frame, relay, source_route
from shared_protocol.dedup import DuplicateCache

HERE = __file__.rsplit("/", 1)[0]


def problem_of(check, *arguments):
    try:
        check(*arguments)
    except Exception as error:
        text = io.StringIO()
        sys.print_exception(error, text)
        return text.getvalue()
    return None


# Whoever allocates while the heap is locked raises MemoryError.
def check_a_frame_allocates_nothing():
    frames = []
    for more in ({}, {"signature": bytes(64)}, {"original_size": 900}, {"recipient": b"r" * 8}):
        frames.append(memoryview(frame.encode(frame.TYPE_MESSAGE, 7, 1786000000000, b"sender01", bytes(80), **more)))
    piece = fragment.make(b"stream01", 1, 2, frame.TYPE_MESSAGE, bytes(80))
    frames.append(memoryview(frame.encode(frame.TYPE_FRAGMENT, 7, 1786000000000, b"sender01", piece)))
    slot = memoryview(bytearray(512))
    wire = cobs.wrap(bytes(200))[:-1]
    header = frame.Header()
    cache = DuplicateCache(100)
    ledger = budget.ledger(1)
    own = b"b" * 8
    routed = frame.encode(0x11, 7, 0, b"sender01", b"", version=2, recipient=b"r" * 8, route=[b"a" * 8, b"b" * 8])
    route = frame.Header()
    route.parse(routed, len(routed))
    reader = cobs.FrameReader(300)
    micropython.heap_lock()
    try:
        for number in range(500):
            for data in frames:
                size = len(data)
                for at in range(size):
                    slot[at] = data[at]
                slot[9] = number >> 8
                slot[10] = slot[30] = number & 255
                header.parse(slot, size)
                index = cache.remember(slot, header, number)
                if index < 0 and number & 15 == 0:
                    cache.forget(-1 - index)
                budget.admit(ledger, slot, size, header.sender_at, number & 0x7F, number)
                source_route.next_hop(routed, route, own, 0)
                relay.decision(
                    header.type, header.ttl, not frame.is_broadcast(slot, header), False, False, False, number
                )
                frame.set_ttl(slot, 3)
        for byte in wire:
            reader.feed(byte)
    finally:
        micropython.heap_unlock()


def main():
    vectors = vector_checks.load(sys.argv[1] + "/bitchat.json")
    for vector in vectors:
        print(json.dumps({"name": vector["name"], "problem": problem_of(vector_checks.check, vector)}))
    pow_vectors = vector_checks.load(sys.argv[1] + "/pow.json")
    for vector in pow_vectors:
        print(json.dumps({"name": vector["name"], "problem": problem_of(pow_checks.check_vector, vector)}))
    for module in check_modules.load(HERE):
        for name in module.CHECKS:
            print(json.dumps({"name": name, "problem": problem_of(getattr(module, name))}))
    name = "check_a_frame_allocates_nothing"
    print(json.dumps({"name": name, "problem": problem_of(check_a_frame_allocates_nothing)}))
    print(json.dumps({"name": "loops", "outcome": len(dedup_checks.loops())}))
    print(json.dumps({"name": "machines", "outcome": len(fe25519_checks.machines())}))
    print(json.dumps({"name": "budget", "outcome": budget_checks.outcome()}))
    print(json.dumps({"name": "dedup", "outcome": dedup_checks.outcome()}))
    print(json.dumps({"name": "relay", "outcome": wire_checks.outcome()}))
    print(json.dumps({"name": "hellos", "outcome": version_checks.outcome()}))
    print(json.dumps({"name": "records", "outcome": pow_checks.outcome(pow_vectors)}))
    print(json.dumps({"name": "fuzz", "outcome": fuzz_checks.outcome(vectors)}))


main()
