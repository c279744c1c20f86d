# Framing of the serial console: 0x00, COBS of body and CRC-32 (big-endian), 0x00.
#
# COBS takes every zero out of the data (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999), so a zero on
# the wire is always a border, and a reader finds its feet again after boot noise.
from binascii import crc32

from shared_protocol.interpreter import const

CRC_SIZE = const(4)

_MAX_RUN = const(254)


# The most bytes that n bytes take: COBS alone, and on the wire with CRC and borders.
def encoded_size(n: int) -> int:
    return n + n // _MAX_RUN + 1


def wire_size(n: int) -> int:
    return encoded_size(n + CRC_SIZE) + 2


# COBS of data into out from out[at] on; the number of bytes written. out has encoded_size(len(data)) bytes of room.
def encode(data: bytes | bytearray, out: bytearray | memoryview, at: int = 0) -> int:
    start = at
    size = len(data)
    done = 0
    while True:
        zero = data.find(b"\0", done)
        end = size if zero < 0 else zero
        while end - done >= _MAX_RUN:
            out[at] = 0xFF
            out[at + 1 : at + 1 + _MAX_RUN] = data[done : done + _MAX_RUN]
            at += _MAX_RUN + 1
            done += _MAX_RUN
            # A full run carries no zero; at the data's very end nothing follows it.
            if done == size:
                return at - start
        run = end - done
        out[at] = run + 1
        out[at + 1 : at + 1 + run] = data[done:end]
        at += run + 1
        if zero < 0:
            return at - start
        done = zero + 1


# The first n bytes of data, decoded into out (which may be data itself); the number of bytes, or -1 if they are no
# COBS.
def decode(data: bytes | bytearray | memoryview, n: int, out: bytearray | memoryview) -> int:
    at = 0
    written = 0
    while at < n:
        code = data[at]
        at += 1
        if code == 0 or at + code - 1 > n:
            return -1
        for i in range(at, at + code - 1):
            byte = data[i]
            if byte == 0:
                return -1
            out[written] = byte
            written += 1
        at += code - 1
        if code != 0xFF and at < n:
            out[written] = 0
            written += 1
    return written if n else -1


# The whole of a frame as it goes over the wire.
def wrap(body: bytes) -> bytes:
    out = bytearray(wire_size(len(body)))
    n = encode(body + crc32(body).to_bytes(CRC_SIZE, "big"), out, 1)
    return bytes(memoryview(out)[: n + 2])


class FrameReader:
    # Takes the wire byte by byte and allocates nothing until a frame ends. A complete body of at most `limit` bytes
    # lies at the start of buf until the next byte is fed. Bytes outside of frames are not for this reader.
    #
    # A border that ends a bad frame may as well be the first one of the next, so the reader then stays in a frame.
    # Noise can leave it there: who also listens for bytes outside of frames calls abandon() when the line is quiet.

    def __init__(self, limit: int) -> None:
        self.buf = bytearray(limit + CRC_SIZE)
        self._view = memoryview(self.buf)
        self._room = limit + CRC_SIZE
        self.bad = 0
        self.in_frame = False
        self._size = 0
        self._left = 0
        self._zero_due = False
        self._seen = False
        self._spoilt = False

    # The length of the body that this byte completes, else 0.
    def feed(self, byte: int) -> int:
        if byte == 0:
            return self._border()
        if not self.in_frame:
            return 0
        self._seen = True
        if self._left:
            self._left -= 1
            self._put(byte)
            return 0
        if self._zero_due:
            self._put(0)
        self._left = byte - 1
        self._zero_due = byte != 0xFF
        return 0

    # Drops what was begun; a frame cut short counts as bad.
    def abandon(self) -> None:
        if self._seen:
            self.bad += 1
        self._begin(False)

    def _put(self, byte: int) -> None:
        if self._size < self._room:
            self.buf[self._size] = byte
            self._size += 1
        else:
            self._spoilt = True

    def _border(self) -> int:
        if not self._seen:
            # The first border, or one more of them.
            self._begin(True)
            return 0
        size = self._size - CRC_SIZE
        whole = not self._spoilt and self._left == 0 and size > 0
        if whole and crc32(self._view[:size]) == int.from_bytes(self._view[size : size + CRC_SIZE], "big"):
            self._begin(False)
            return size
        self.bad += 1
        self._begin(True)
        return 0

    def _begin(self, in_frame: bool) -> None:
        self.in_frame = in_frame
        self._size = 0
        self._left = 0
        self._zero_due = False
        self._seen = False
        self._spoilt = False
