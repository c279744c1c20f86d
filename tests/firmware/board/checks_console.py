from time import ticks_add, ticks_ms

from firmware.console import Console
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
