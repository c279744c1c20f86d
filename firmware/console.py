# The framed serial console: bytes in, requests to commands.py, answers and events out.
#
# Reading: a board's UART keeps 260 bytes and drops the rest, so input is drained byte by byte as it comes.
# Writing: the UART blocks when it is full, so output waits in rings and goes out in small pieces. Answers go before
# events, since somebody waits for them; events that do not fit are dropped and counted, answers wait for room.
import select
import sys
from time import ticks_diff, ticks_ms

from micropython import const

from shared_protocol import cobs
from shared_protocol import console as messages
from shared_protocol import counters as c

_EVENTS = const(2304)
_ANSWERS = const(1088)  # holds the longest there is
_FIFO = const(128)  # bytes that a UART takes at once
_POLL_MS = const(8)
_BUSY_MS = const(4)  # while something passes: half the time that each end of a frame waits for us
_STALLED_MS = const(100)  # a write that took longer: the host has the port open and does not read
_MUTE_MS = const(5_000)
QUIET_MS = const(250)  # a frame with a pause this long in it was cut short
_READ_MAX = const(640)  # bytes a round, of the longest SEND: a host that floods us must not stop the relay
_CTRL_C = const(3)
_RETURN = const(13)


# Bytes of whole wire frames that wait, oldest first.
class Ring:
    def __init__(self, room):
        self.data = bytearray(room)
        self.view = memoryview(self.data)
        self.room = room  # bytes that fit yet
        self.head = 0

    def append(self, wire):
        size = len(self.data)
        at = (self.head + size - self.room) % size
        first = min(len(wire), size - at)
        self.view[at : at + first] = wire[:first]
        self.view[: len(wire) - first] = wire[first:]
        self.room -= len(wire)

    # Length of the oldest frame, 0 if there is none. It begins and ends with the only zeros in it.
    def oldest(self):
        size = len(self.data)
        if self.room == size:
            return 0
        head = self.head
        end = self.data.find(b"\0", head + 1)
        if end < 0:
            end = size + self.data.find(b"\0")
        return end - head + 1

    # The next bytes, n at most and at least one; they are the ring's until the next append.
    def take(self, n):
        head = self.head
        n = min(n, len(self.data) - head)
        self.head = (head + n) % len(self.data)
        self.room += n
        return self.view[head : head + n]

    def clear(self):
        self.room = len(self.data)


class Console:
    def __init__(self, counts):
        self.counts = counts
        self.answer = None  # answer(kind, request_id, values): see commands.py
        self.stop = False  # the REPL was asked for
        self.reader = cobs.FrameReader(messages.MAX_BODY)
        self._one = bytearray(1)
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._answers = Ring(_ANSWERS)
        self._events = Ring(_EVENTS)
        self._begun = self._events  # where the frame is of which `_left` bytes are to be written yet
        self._left = 0
        self._mute = False
        self._mute_from = 0
        self._before = 0
        self._heard_at = 0
        self._wrote_at = 0

    # One round; returns ms until the next.
    def step(self, now):
        if self._mute and ticks_diff(now, self._mute_from) > _MUTE_MS:
            self._mute = False
        heard = self._read(now)
        # What 115,200 baud have sent since, 11.5 bytes a millisecond: more would block.
        self._write(min(_FIFO, ticks_diff(now, self._wrote_at) * 23 >> 1))
        self._wrote_at = now
        if heard:
            self._heard_at = now
        elif self.reader.in_frame and ticks_diff(now, self._heard_at) > QUIET_MS:
            self.reader.abandon()
        return _BUSY_MS if self._left or self.reader.in_frame else _POLL_MS

    def _read(self, now):
        one = self._one
        reader = self.reader
        n = 0
        # With much to answer already, more questions can wait.
        while n < _READ_MAX and self._answers.room > _ANSWERS // 2 and self._has_input():
            if not self._in.readinto(one):
                break
            n += 1
            byte = one[0]
            was_in_frame = reader.in_frame
            size = reader.feed(byte)
            if size:
                self.counts[c.CONSOLE_FRAMES] += 1
                self._request(size)
            elif not was_in_frame and byte:
                # Outside a frame. Return or Ctrl-C and then Ctrl-C is what a terminal or mpremote sends; a single
                # 0x03 may be noise.
                if byte == _CTRL_C and (self._before == _CTRL_C or self._before == _RETURN):
                    self.stop = True
                    break
            self._before = byte
        self.counts[c.CONSOLE_BAD] = reader.bad
        return n

    def _has_input(self):
        for _ in self._poll.ipoll(0):
            return True
        return False

    def _request(self, size):
        message = messages.decode(bytes(memoryview(self.reader.buf)[:size]))
        if message is None:
            self.reader.bad += 1
            return
        kind, request_id, values = message
        if request_id:
            self.answer(kind, request_id, values)

    # An answer: room is made for it by writing what waits.
    def send(self, kind, request_id, values):
        wire = cobs.wrap(messages.encode(kind, request_id, values))
        while len(wire) > self._answers.room:
            self._write(_FIFO)
        self._answers.append(wire)

    # An event: dropped when there is no room.
    def event(self, kind, values):
        wire = cobs.wrap(messages.encode(kind, 0, values))
        if self._mute or len(wire) > self._events.room:
            self.counts[c.CONSOLE_DROPPED] += 1
            return
        self._events.append(wire)

    # At most so many bytes of what waits; whether there were any.
    def _write(self, most):
        n = 0
        start = ticks_ms()
        while n < most:
            if not self._left:
                self._begun = self._answers
                self._left = self._answers.oldest()
                if not self._left:
                    self._begun = self._events
                    self._left = self._events.oldest()
                    if not self._left:
                        break
            piece = self._begun.take(min(self._left, most - n))
            self._left -= len(piece)
            n += len(piece)
            self._out.write(piece)
        if n and ticks_diff(ticks_ms(), start) > _STALLED_MS:
            self._left = 0
            self._answers.clear()
            self._events.clear()
            self._mute = True
            self._mute_from = start
        return n > 0

    # Everything that waits, before the board goes down or the REPL takes over.
    def flush(self):
        while self._write(_FIFO):
            pass
