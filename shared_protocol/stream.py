# How an iPhone takes frames out of the notifications of one peripheral (bitchat protocol, section 1.5): as a stream, in
# which only the headers say where a frame ends. A relay sends one frame per notification; this shows what happens to
# anything else.
from shared_protocol.frame import (
    COMPRESSED,
    FLAGS,
    HAS_RECIPIENT,
    HAS_ROUTE,
    HAS_SIGNATURE,
    ID_SIZE,
    LENGTH,
    MIN_FRAME,
    SENDER_V1,
    SENDER_V2,
    SIGNATURE_SIZE,
)
from shared_protocol.interpreter import const

CAP = const(8388608)
MAX_PAYLOAD = const(1179760)
STALL_MS = const(250)

_WAIT = const(0)
_ABSURD = const(-1)


class NotificationStream:
    # dropped: bytes that began no frame. resets: times that everything held was thrown away for an absurd header or for
    # its size. stalled: partial frames given up.

    def __init__(self) -> None:
        self._held = bytearray()
        self._since_ms = 0
        self.dropped = 0
        self.resets = 0
        self.stalled = 0

    # How many bytes wait for the rest of their frame.
    def held(self) -> int:
        return len(self._held)

    # The frames that this notification completes, each without its padding. now_ms: milliseconds of a clock that does
    # not go back.
    def feed(self, chunk: bytes | bytearray | memoryview, now_ms: int) -> "list[bytes]":
        if self._held and now_ms - self._since_ms > STALL_MS:
            self._held = bytearray()
            self.stalled += 1
        if len(self._held) + len(chunk) > CAP:
            self._reset()
            return []
        if not self._held:
            self._since_ms = now_ms
        self._held.extend(chunk)
        frames: "list[bytes]" = []
        held = self._held
        at = 0
        while len(held) - at >= MIN_FRAME:
            first = held[at]
            if first != 1 and first != 2:
                skip = self._padding(at)
                if not skip:
                    self.dropped += 1
                    skip = 1
                at += skip
                continue
            length = self._frame_length(at)
            if length == _ABSURD:
                self._reset()
                return frames
            if length == _WAIT or len(held) - at < length:
                break
            frames.append(bytes(held[at : at + length]))
            at += length
            self._since_ms = now_ms
        if at:
            self._held = held = held[at:]
        if held == bytes(len(held)):
            self._held = bytearray()
        return frames

    def _reset(self) -> None:
        self._held = bytearray()
        self.resets += 1

    # n bytes of value n are what section 2.7 adds to a frame.
    def _padding(self, at: int) -> int:
        n = self._held[at]
        end = at + n
        if n == 0 or end > len(self._held):
            return 0
        return n if self._held[at:end] == bytes((n,)) * n else 0

    def _frame_length(self, at: int) -> int:
        held = self._held
        flags = held[at + FLAGS]
        length_at = at + LENGTH
        if held[at] == 1:
            payload = int.from_bytes(held[length_at : length_at + 2], "big")
            end = SENDER_V1 + ID_SIZE
            size_field = 2
        else:
            payload = int.from_bytes(held[length_at : length_at + 4], "big")
            end = SENDER_V2 + ID_SIZE
            size_field = 4
        if payload > MAX_PAYLOAD or (flags & COMPRESSED and payload < size_field):
            return _ABSURD
        if flags & HAS_RECIPIENT:
            end += ID_SIZE
        if held[at] == 2 and flags & HAS_ROUTE:
            if at + end >= len(held):
                return _WAIT
            end += 1 + ID_SIZE * held[at + end]
        if flags & HAS_SIGNATURE:
            end += SIGNATURE_SIZE
        return end + payload
