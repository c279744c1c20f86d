# SHA-512's compression function in plain Python, for a MicroPython without native code.
#
# work: 8 words of state, then room for the schedule; rounds: the 80 constants. A word is its upper half, then its lower
# half, each with the lowest byte first. data[at:at + 128] is the block.
from shared_protocol.interpreter import const

_STATE_SIZE = const(64)
_MASK = 2**64 - 1


def compress(work: bytearray, rounds: bytes, data: bytes | bytearray | memoryview, at: int) -> None:
    schedule = [int.from_bytes(data[i : i + 8], "big") for i in range(at, at + 128, 8)]
    state = [_word(work, i) for i in range(0, _STATE_SIZE, 8)]
    a, b, c, d, e, f, g, h = state
    for i in range(80):
        w = schedule[i & 15]
        if i > 15:
            early = schedule[i + 1 & 15]
            late = schedule[i + 14 & 15]
            w += _rotated(early, 1) ^ _rotated(early, 8) ^ early >> 7
            w += _rotated(late, 19) ^ _rotated(late, 61) ^ late >> 6
            w = w + schedule[i + 9 & 15] & _MASK
            schedule[i & 15] = w
        w += h + (_rotated(e, 14) ^ _rotated(e, 18) ^ _rotated(e, 41)) + (g ^ e & (f ^ g)) + _word(rounds, i * 8)
        h, g, f, e = g, f, e, d + w & _MASK
        w += (_rotated(a, 28) ^ _rotated(a, 34) ^ _rotated(a, 39)) + (a & b | c & (a | b))
        d, c, b, a = c, b, a, w & _MASK
    for i, added in enumerate((a, b, c, d, e, f, g, h)):
        word = state[i] + added
        work[i * 8 : i * 8 + 4] = (word >> 32 & 0xFFFFFFFF).to_bytes(4, "little")
        work[i * 8 + 4 : i * 8 + 8] = (word & 0xFFFFFFFF).to_bytes(4, "little")


def _word(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little") << 32 | int.from_bytes(data[at + 4 : at + 8], "little")


def _rotated(word: int, bits: int) -> int:
    return (word >> bits | word << 64 - bits) & _MASK
