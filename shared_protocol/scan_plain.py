# The inner loops of the duplicate cache and of tables of ids in plain Python: for CPython, and for a MicroPython
# without native code. What `work` and `chains` are is in work_area.py.
from array import array

from shared_protocol.interpreter import const
from shared_protocol.work_area import APART, BUCKETS, END, HASH, HEAD, WORK_SIZE

_MASK = const(0xFFFFFFFF)


# Sender, moment and rest (8 bytes each) of buf into the head; rest_at 0 stands for zeros.
def gather8(work: bytearray, buf: bytes | bytearray | memoryview, sender_at: int, moment_at: int, rest_at: int) -> None:
    work[HEAD : HEAD + 8] = buf[sender_at : sender_at + 8]
    work[HEAD + 8 : HEAD + 16] = buf[moment_at : moment_at + 8]
    work[HEAD + 16 : HEAD + 24] = buf[rest_at : rest_at + 8] if rest_at else bytes(8)


# HalfSipHash-1-3 (Aumasson and Bernstein; what Linux calls hsiphash) of the head and then data[at:at + n]: a keyed hash
# made for tables that strangers fill, of 32-bit additions, rotations and exclusive ors.
def hash8(work: bytearray, data: bytes | bytearray | memoryview, at: int, n: int) -> None:
    v0, v1, v2, v3 = [int.from_bytes(work[i : i + 4], "little") for i in (0, 4, 8, 12)]
    message = bytes(work[HEAD:HASH]) + bytes(data[at : at + n])
    message += bytes(3 - (n & 3)) + bytes((len(message) & 255,))
    for i in range(0, len(message), 4):
        m = int.from_bytes(message[i : i + 4], "little")
        v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ m)
        v0 ^= m
    v2 ^= 0xEE
    for half_at in (HASH, HASH + 4):
        for _ in range(3):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        work[half_at : half_at + 4] = (v1 ^ v3).to_bytes(4, "little")
        v1 ^= 0xDD


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK
    v1 = _rotated(v1, 5) ^ v0
    v0 = _rotated(v0, 16)
    v2 = v2 + v3 & _MASK
    v3 = _rotated(v3, 8) ^ v2
    v0 = v0 + v3 & _MASK
    v3 = _rotated(v3, 7) ^ v0
    v2 = v2 + v1 & _MASK
    v1 = _rotated(v1, 13) ^ v2
    return v0, v1, _rotated(v2, 16), v3


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _MASK


# The entry of ring that equals the hash, or -1.
def find8(ring: bytearray, work: bytearray, chains: "array[int]") -> int:
    wanted = work[HASH:WORK_SIZE]
    index = chains[work[HASH]]
    while index != END:
        if ring[index * 8 : index * 8 + 8] == wanted:
            return index
        index = chains[BUCKETS + index]
    return -1


# Takes an entry out of its chain, if it is in one.
def leave8(ring: bytearray, chains: "array[int]", index: int) -> None:
    if chains[BUCKETS + index] == APART:
        return
    at = ring[index * 8]
    while chains[at] != index:
        at = BUCKETS + chains[at]
    chains[at] = chains[BUCKETS + index]
    chains[BUCKETS + index] = APART


# Makes an entry the newest one with the hash, whatever it was before.
def enter8(ring: bytearray, work: bytearray, chains: "array[int]", index: int) -> None:
    leave8(ring, chains, index)
    ring[index * 8 : index * 8 + 8] = work[HASH:WORK_SIZE]
    chains[BUCKETS + index] = chains[work[HASH]]
    chains[work[HASH]] = index


# Which of the `count` ids (8 bytes each) from table[at] on is the one at buf[id_at], or -1.
def seek8(
    table: bytes | bytearray | memoryview, at: int, count: int, buf: bytes | bytearray | memoryview, id_at: int
) -> int:
    wanted = buf[id_at : id_at + 8]
    for index in range(count):
        if table[at + 8 * index : at + 8 * index + 8] == wanted:
            return index
    return -1
