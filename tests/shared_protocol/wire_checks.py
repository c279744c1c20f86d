# The console's framing and messages, and the relay decision, on either interpreter.
from shared_protocol import cobs, console, counters, relay

SAMPLES = {
    "u": (0, 1, 255, 256, 65536, 2**31, 2**32 - 1, 1786000000000, 2**64 - 1),
    "i": (0, 1, -1, 127, 128, -128, -129, -70, 32767, -32768, 2**31, -(2**31), 2**63 - 1, -(2**63)),
    "s": ("", "relay-1", "Straße", "\u4e2d\u7ee7", "\U0001f4e1 up"),
    "x": (b"", b"\0", b"\xff" * 6, bytes(range(256))),
    "b": (True, False),
    "U": ([], [0], [2**32 - 1, 1], list(range(counters.COUNT))),
}


def body_of(n):
    return bytes([(7 * i + (i >> 3)) & 255 if i % 5 else 0 for i in range(n)])


# The bodies that a reader takes off the wire.
def read(reader, wire):
    bodies = []
    for byte in wire:
        size = reader.feed(byte)
        if size:
            bodies.append(bytes(reader.buf[:size]))
    return bodies


def check_frames_of_every_length():
    reader = cobs.FrameReader(console.MAX_BODY)
    for n in list(range(1, 20)) + list(range(245, 262)) + [507, 508, 509, 510, 1023, 1024]:
        for body in (body_of(n), bytes(n), b"\xff" * n):
            wire = cobs.wrap(body)
            assert wire[0] == wire[-1] == 0
            assert 0 not in wire[1:-1]
            assert len(wire) <= cobs.wire_size(n)
            assert not reader.in_frame
            sizes = [reader.feed(byte) for byte in wire]
            assert not any(sizes[:-1])
            assert sizes[-1] == n
            assert reader.buf[:n] == body
    assert reader.bad == 0


def check_every_field_of_every_message():
    for kind in console.FIELDS:
        fields = console.fields(kind)
        for i in range(len(fields)):
            name, form = fields[i]
            for value in SAMPLES[form]:
                body = console.encode(kind, 0xABCD, {name: value})
                assert body[3] == i + 1
                assert console.decode(body) == (kind, 0xABCD, {name: value}), (kind, name, value)


def check_empty_messages():
    for kind in console.FIELDS:
        assert console.decode(console.encode(kind, 1)) == (kind, 1, {})


def check_hostile_bodies():
    good = console.encode(console.EVENT_LINK, 0, {"conn": 1, "up": True, "role": "in", "address": b"abcdef"})
    for n in range(len(good)):
        console.decode(good[:n])
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            console.decode(good[:n] + bytes((value,)) + good[n + 1 :])
    head = bytes((console.LOG, 0, 1))
    for bad in (
        b"",
        b"\x01",
        b"\x01\0",
        head + b"\x01",
        head + b"\x01\0",
        head + b"\x01\0\x01",
        head + b"\x01\xff\xff",
        head + b"\x01\0\0",
        head + b"\x01\0\x09" + bytes(9),
        bytes((console.GET, 0, 1)) + b"\x01\0\x01\xff",
        bytes((console.LISTEN, 0, 1)) + b"\x01\0\0",
        bytes((console.STATS | console.ANSWER, 0, 1)) + b"\x08\0\x05" + bytes(5),
        head + bytes(console.MAX_BODY),
    ):
        assert console.decode(bad) is None, bad
    # What a newer end may send.
    assert console.decode(head + b"\x63\0\x02??\x01\0\x01\x04") == (console.LOG, 1, {"level": 4})
    assert console.decode(b"\x33\0\x07\x01\0\0") == (0x33, 7, {})
    assert console.decode(memoryview(head + b"\x01\0\x01\x04")) == (console.LOG, 1, {"level": 4})


def check_what_no_message_carries():
    for kind, values in (
        (0x33, {}),
        (console.LOG, {"volume": 1}),
        (console.LOG, {"level": -1}),
        (console.LOG, {"level": 2**64}),
        (console.LOG, {"level": "loud"}),
        (console.GET, {"key": b"bytes"}),
        (console.SEND, {"frame": "text"}),
        (console.SEND, {"frame": bytes(console.MAX_BODY)}),
        (console.STATS | console.ANSWER, {"counters": [2**32]}),
        (console.STATS | console.ANSWER, {"counters": [-1]}),
        (console.LINKS | console.ANSWER, {"rssi": 2**63}),
    ):
        try:
            console.encode(kind, 1, values)
        except ValueError:
            continue
        raise AssertionError((kind, values))


def check_none_is_left_out():
    body = console.encode(console.EVENT_LINK, 0, {"conn": 3, "reason": None})
    assert console.decode(body) == (console.EVENT_LINK, 0, {"conn": 3})


# Every decision there is, as one number.
def outcome():
    verdict = 0
    for kind in range(256):
        for ttl in (0, 1, 2, 5, 6, 7, 8, 255):
            for switches in range(16):
                for degree in (0, 2, 3, 5, 6, 9, 10, 40):
                    new_ttl, low, high = relay.decide(
                        kind,
                        ttl,
                        bool(switches & 1),
                        bool(switches & 2),
                        bool(switches & 4),
                        bool(switches & 8),
                        degree,
                    )
                    assert new_ttl <= 6
                    verdict = (verdict * 31 + new_ttl + 7 * low + 3 * high) & 0xFFFFFF
    return verdict


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
