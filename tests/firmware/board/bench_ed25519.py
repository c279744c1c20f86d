# Signatures as a board makes and checks them, for tests/firmware/test_ed25519_cost.py.
# argv: "pieces": one of each operation with a mark (a call of ticks_cpu) before every piece of work and after the last,
# for callgrind to count between the marks; "heap": what the modules and a signature take of the heap, and whether all
# works when little of it is left.
# Prints one line of JSON.
import gc
import json
import sys
import time

MESSAGE = bytes(range(200))
SEED = bytes(range(32))
LEFT = 20 * 1024


def operations():
    from shared_protocol import ed25519

    key = ed25519.finish(ed25519.public_key_steps(SEED))
    signature = ed25519.finish(ed25519.sign_steps(SEED, key, MESSAGE))
    return {
        "public": (lambda: ed25519.public_key_steps(SEED), key),
        "sign": (lambda: ed25519.sign_steps(SEED, key, MESSAGE), signature),
        "verify": (lambda: ed25519.verify_steps(key, MESSAGE, signature), True),
        "x25519": (lambda: ed25519.x25519_public_steps(SEED), ed25519.finish(ed25519.x25519_public_steps(SEED))),
    }


def pieces():
    counts = {}
    mark = time.ticks_cpu
    for name, (steps_of, wanted) in sorted(operations().items()):
        gc.collect()
        steps = steps_of()
        count = 0
        try:
            while True:
                mark()
                count += 1
                next(steps)
        except StopIteration as done:
            mark()
            assert done.value == wanted, name
        counts[name] = count
    return counts


def heap():
    gc.collect()
    before = gc.mem_alloc()
    from shared_protocol import ed25519

    gc.collect()
    told = {"modules": gc.mem_alloc() - before}
    known = operations()
    finish = ed25519.finish
    for name, (steps_of, _) in known.items():
        gc.collect()
        before = gc.mem_alloc()
        gc.disable()
        finish(steps_of())
        told[name] = gc.mem_alloc() - before
        gc.enable()
        gc.collect()
        told[name + " keeps"] = gc.mem_alloc() - before
    # Objects of many sizes until little is left, and that in pieces.
    kept = []
    size = 16
    while gc.mem_free() > LEFT + 4096:
        kept.append(bytearray(size))
        size = size * 5 % 1021 + 16
        gc.collect()
    for at in range(0, len(kept), 7):
        kept[at] = None
    while True:
        gc.collect()
        if gc.mem_free() <= LEFT:
            break
        kept.append(bytearray(64))
    told["left"] = gc.mem_free()
    for _ in range(3):
        for steps_of, wanted in known.values():
            assert finish(steps_of()) == wanted
    return told


print(json.dumps({"pieces": pieces, "heap": heap}[sys.argv[1]]()))
