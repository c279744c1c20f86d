# The duplicate cache's inner loops as machine code: the same functions as scan_plain.py, whose comments say what they
# do. In bytecode the hash alone would cost more than everything else a frame costs.
#
# A machine word is 32 bits on a board and 64 on the unix port. What must stay 32 bits is loaded and stored through
# ptr32, which fills a wider word with zeros, and cut with a mask that is loaded too: no constant here is wider than
# 31 bits.
# mypy: ignore-errors
# ruff: noqa: F821 (ptr8, ptr32 and uint are known to the viper compiler alone)
import micropython


@micropython.viper
def gather8(work: ptr8, buf: ptr8, sender_at: int, moment_at: int, rest_at: int):
    i = 0
    while i < 8:
        work[20 + i] = buf[sender_at + i]
        work[28 + i] = buf[moment_at + i]
        work[36 + i] = buf[rest_at + i] if rest_at else 0
        i += 1


@micropython.viper
def hash8(work: ptr32, data: ptr8, at: int, n: int):
    v0 = uint(work[0])
    v1 = uint(work[1])
    v2 = uint(work[2])
    v3 = uint(work[3])
    mask = uint(work[4])
    last = 7 + (n >> 2)
    step = 0
    while step < last + 7:
        m = uint(0)
        if step < 7:
            m = uint(work[5 + step])
        elif step < last:
            m = uint(data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24)
            at += 4
        elif step == last:
            m = uint((28 + n & 255) << 24)
            if n & 3 > 0:
                m |= data[at]
            if n & 3 > 1:
                m |= data[at + 1] << 8
            if n & 3 > 2:
                m |= data[at + 2] << 16
        elif step == last + 1:
            v2 ^= 0xEE
        elif step == last + 4:
            work[12] = int(v1 ^ v3)
            v1 ^= 0xDD
        v3 ^= m
        v0 = v0 + v1 & mask
        v1 = (v1 << 5 | v1 >> 27) & mask ^ v0
        v0 = (v0 << 16 | v0 >> 16) & mask
        v2 = v2 + v3 & mask
        v3 = (v3 << 8 | v3 >> 24) & mask ^ v2
        v0 = v0 + v3 & mask
        v3 = (v3 << 7 | v3 >> 25) & mask ^ v0
        v2 = v2 + v1 & mask
        v1 = (v1 << 13 | v1 >> 19) & mask ^ v2
        v2 = (v2 << 16 | v2 >> 16) & mask
        v0 ^= m
        step += 1
    work[13] = int(v1 ^ v3)


# Ring, work and chains are aligned because they are an array's own memory.
@micropython.viper
def find8(ring: ptr32, work: ptr32, chains: ptr16) -> int:
    low = work[12]
    index = chains[low & 255]
    while index != 0xFFFF:
        if ring[index * 2] == low and ring[index * 2 + 1] == work[13]:
            return index
        index = chains[256 + index]
    return -1


@micropython.viper
def leave8(ring: ptr8, chains: ptr16, index: int):
    if chains[256 + index] != 0xFFFE:
        at = int(ring[index * 8])
        while chains[at] != index:
            at = 256 + chains[at]
        chains[at] = chains[256 + index]
        chains[256 + index] = 0xFFFE


@micropython.viper
def enter8(ring: ptr32, work: ptr32, chains: ptr16, index: int):
    if chains[256 + index] != 0xFFFE:
        at = ring[index * 2] & 255
        while chains[at] != index:
            at = 256 + chains[at]
        chains[at] = chains[256 + index]
    low = work[12]
    ring[index * 2] = low
    ring[index * 2 + 1] = work[13]
    chains[256 + index] = chains[low & 255]
    chains[low & 255] = index
