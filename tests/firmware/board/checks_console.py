from binascii import crc32
from time import ticks_add, ticks_ms

from firmware.console import Console
from shared_protocol import cobs
from shared_protocol import console as messages
from shared_protocol import counters as c


# A host that takes what it is given, or does not read at all.
class Port:
    def __init__(self):
        self.got = b""

    def write(self, data):
        self.got += bytes(data)

    def readinto(self, one):
        return 0

    def ipoll(self, ms):
        return ()


def _console():
    console = Console([0] * c.COUNT)
    console._out = console._in = console._poll = Port()
    return console


def _log(console):
    console.event(messages.EVENT_LOG, {"level": 1, "text": "x" * 200})


def check_events_that_find_no_room_are_dropped_and_counted_and_answers_find_some():
    console = _console()
    for _ in range(20):
        _log(console)
    dropped = console.counts[c.CONSOLE_DROPPED]
    assert 0 < dropped < 20 and console._out.got == b""
    console.send(messages.TIME | messages.ANSWER, 7, {"time_ms": 1})
    console.flush()
    assert console._out.got.count(b"x" * 200) == 20 - dropped
    assert console.counts[c.CONSOLE_DROPPED] == dropped


def check_a_host_that_stopped_reading_is_told_nothing_for_a_while():
    console = _console()
    now = ticks_ms()
    console._mute = True
    console._mute_from = now
    console.step(ticks_add(now, 5000))
    _log(console)
    assert console.counts[c.CONSOLE_DROPPED] == 1
    console.step(ticks_add(now, 5001))
    _log(console)
    console.flush()
    assert console.counts[c.CONSOLE_DROPPED] == 1 and b"x" * 200 in console._out.got


# The bodies in what a port has been given, CRC taken off.
def _bodies(wire):
    bodies = []
    for piece in wire.split(b"\0"):
        if piece:
            out = bytearray(len(piece))
            n = cobs.decode(piece, len(piece), out)
            assert crc32(bytes(out[: n - 4])) == int.from_bytes(out[n - 4 : n], "big")
            bodies.append(messages.decode(bytes(out[: n - 4])))
    return bodies


def check_answers_go_before_events_but_not_into_one():
    console = _console()
    for _ in range(3):
        _log(console)
    console._write(96)
    assert len(console._out.got) == 96
    console.send(messages.TIME | messages.ANSWER, 7, {"time_ms": 1})
    console.send(messages.TIME | messages.ANSWER, 8, {"time_ms": 2})
    console.flush()
    assert [number for _, number, _ in _bodies(console._out.got)] == [0, 7, 8, 0, 0]


def check_frames_of_all_lengths_pass_the_ends_of_the_rings():
    console = _console()
    told = []
    for n in range(1, 160):
        text = str(n) + "y" * n
        console.event(messages.EVENT_LOG, {"level": 1, "text": text})
        console.send(messages.ERROR, n, {"code": text})
        told += [text, text]
        console.flush()
    heard = _bodies(console._out.got)
    assert [values.get("code") or values["text"] for _, _, values in heard] == told
    assert console.counts[c.CONSOLE_DROPPED] == 0


def check_a_round_writes_what_the_line_has_sent_since_the_one_before():
    console = _console()
    now = ticks_ms()
    assert console.step(now) == 8
    for number in range(1, 60):
        console.send(messages.CONFIRM | messages.ANSWER, number, None)
    before = 0
    for ms, most in ((8, 92), (9, 103), (0, 0), (1, 11), (8, 92), (100, 128)):
        now = ticks_add(now, ms)
        assert console.step(now) == (4 if console._left else 8)
        assert len(console._out.got) - before == most
        before = len(console._out.got)
    console.flush()
    assert len(_bodies(console._out.got)) == 59
