# The inner loops of the duplicate cache and of tables of ids as machine code: the same functions as scan_plain.py,
# whose comments say what they do. In bytecode the hash alone would cost more than everything else a frame costs.
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


# One loop for head, data and end: words come from `words` until `step` is at `stop`. Words are read where they are
# aligned, if `data` is (a board cannot do otherwise), and each is put together of two.
@micropython.viper
def hash8(work: ptr32, data: ptr8, at: int, n: int):
    v0 = uint(work[0])
    v1 = uint(work[1])
    v2 = uint(work[2])
    v3 = uint(work[3])
    mask = uint(work[4])
    words = work
    step = 5
    stop = 12
    part = 0
    shift = 0
    while part < 8:
        if step < stop:
            m = uint(words[step])
            step += 1
            if shift:
                m = m >> shift | uint(words[step]) << 32 - shift & mask
        elif part == 0:
            words = ptr32(data)
            step = at >> 2
            shift = (at & 3) << 3
            stop = step + (n >> 2)
            part = 1
            continue
        else:
            m = uint(0)
            if part == 1:
                at += n & -4
                m = uint((28 + n & 255) << 24)
                if n & 3 > 0:
                    m |= data[at]
                if n & 3 > 1:
                    m |= data[at + 1] << 8
                if n & 3 > 2:
                    m |= data[at + 2] << 16
            elif part == 2:
                v2 ^= 0xEE
            elif part == 5:
                work[12] = int(v1 ^ v3)
                v1 ^= 0xDD
            part += 1
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


@micropython.viper
def seek8(table: ptr8, at: int, count: int, buf: ptr8, id_at: int) -> int:
    first = buf[id_at]
    index = 0
    while index < count:
        if table[at] == first:
            i = 1
            while i < 8 and table[at + i] == buf[id_at + i]:
                i += 1
            if i == 8:
                return index
        at += 8
        index += 1
    return -1
