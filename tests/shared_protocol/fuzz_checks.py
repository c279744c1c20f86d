# Mutated vectors through every parser that reads what comes from the air: none may raise, and both interpreters must
# come to the same verdicts.
from vector_checks import bytes_of

from shared_protocol import announce, cobs, console, fragment, frame, relay
from shared_protocol.dedup import DuplicateCache
from shared_protocol.stream import NotificationStream
from shared_protocol.urgency import is_urgent

SLOT = 512
FRAMES = 20000


class Dice:
    # Park and Miller's generator, which needs no more than the small ints of a 64-bit board.
    def __init__(self, seed):
        self.state = seed

    def roll(self, sides):
        self.state = self.state * 48271 % 0x7FFFFFFF
        return (self.state >> 4) % sides


# Changes 1 to 4 things in slot[:size]; the new size.
def mutate(dice, slot, size):
    for _ in range(1 + dice.roll(4)):
        kind = dice.roll(6)
        if not size or kind == 0:
            size = dice.roll(SLOT + 1)
        elif kind == 1:
            slot[dice.roll(size)] ^= 1 << dice.roll(8)
        elif kind == 2:
            slot[dice.roll(size)] = dice.roll(256)
        elif kind == 3:
            # Versions, types, flags and lengths are where a parser decides.
            slot[(0, 1, 2, 11, 12, 13, 14, 15)[dice.roll(8)]] = (0, 1, 2, 4, 8, 31, 127, 255)[dice.roll(8)]
        elif kind == 4:
            at = dice.roll(size)
            for i in range(at, min(size, at + 4)):
                slot[i] = 255
        else:
            size = dice.roll(size) + 1
    return size


# The verdicts on all mutated frames as one number, and what was counted; raises if a parser did.
def outcome(vectors):
    frames = [data for data in [bytes_of(v) for v in vectors if v["kind"] == "packet" and "fill" not in v] if data]
    dice = Dice(20240711)
    slot = bytearray(SLOT)
    view = memoryview(slot)
    header = frame.Header()
    cache = DuplicateCache(64, secret=b"fuzz")
    stream = NotificationStream()
    reader = cobs.FrameReader(SLOT)
    verdict = 0
    for number in range(FRAMES):
        data = frames[dice.roll(len(frames))][:SLOT]
        slot[: len(data)] = data
        size = mutate(dice, slot, len(data))
        length = header.parse(view, size)
        assert length < 0 or frame.MIN_FRAME <= length <= size, length
        verdict = (verdict * 31 + length) & 0xFFFFFF
        if length > 0:
            at = header.payload_at
            n = header.payload_len
            assert at + n <= length
            new = cache.remember(view, header, number >> 6)
            urgent = is_urgent(view, at, n)
            piece = fragment.parse(view, at, n)
            answer = relay.decide(
                header.type, header.ttl, not frame.is_broadcast(view, header), False, False, urgent, 3
            )
            assert answer[0] <= 6
            known = announce.parse(view[at : at + n])
            verdict = (verdict * 31 + new + answer[1] + bool(known) + isinstance(piece, tuple)) & 0xFFFFFF
            frame.signing_preimage(view[:length])
        if number & 7 == 0:
            verdict = (verdict * 31 + len(stream.feed(view[:size], number))) & 0xFFFFFF
            verdict = (verdict * 31 + (console.decode(view[:size]) is not None)) & 0xFFFFFF
            for byte in view[: size >> 3]:
                reader.feed(byte)
    return [verdict, reader.bad, stream.dropped, stream.resets, stream.stalled]
