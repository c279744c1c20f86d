"""SLIP (RFC 1055): packets in a stream of bytes, as the serial bootloader of an ESP32 frames them."""

from collections.abc import Iterator

END = b"\xc0"
_ESCAPE = b"\xdb"
_ESCAPED_END = b"\xdb\xdc"
_ESCAPED_ESCAPE = b"\xdb\xdd"


def encode(packet: bytes) -> bytes:
    """A packet with an END before and behind it."""
    return END + packet.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(END, _ESCAPED_END) + END


class SlipDecoder:
    """Finds the packets of at most `longest` bytes in what arrives. What lies between two ENDs is a packet, noise too.

    Longer ones and wrong escapes are dropped.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._raw = bytearray()
        self._dropping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes; yields the packets they complete."""
        # By whole pieces: a firmware goes through here.
        *complete, rest = data.split(END)
        for piece in complete:
            self._take(piece)
            packet = None if self._dropping else _unescape(bytes(self._raw))
            self._raw.clear()
            self._dropping = False
            if packet and len(packet) <= self._longest:
                yield packet
        self._take(rest)

    def _take(self, piece: bytes) -> None:
        if len(self._raw) + len(piece) > 2 * self._longest:
            self._dropping = True
            self._raw.clear()
        elif not self._dropping:
            self._raw += piece


def _unescape(raw: bytes) -> bytes | None:
    escapes = raw.count(_ESCAPE)
    if escapes != raw.count(_ESCAPED_END) + raw.count(_ESCAPED_ESCAPE):
        return None
    return raw.replace(_ESCAPED_END, END).replace(_ESCAPED_ESCAPE, _ESCAPE) if escapes else raw
