# SHA-512's compression function as machine code: the same as sha512_plain.py, whose comments say what the arguments
# are. A word's halves are x1 (upper) and x0 (lower); a lower sum smaller than what was added has a carry.
#
# A machine word is 32 bits on a board and 64 on the unix port: what may have more than 32 bits is cut with a mask. work
# and rounds are aligned because they are objects' own memory.
# mypy: ignore-errors
# ruff: noqa: F821 (ptr8, ptr32 and uint are known to the viper compiler alone)
import micropython


@micropython.viper
def compress(work: ptr32, rounds: ptr32, data: ptr8, at: int):
    one = uint(1) << 31
    mask = one + (one - 1)
    i = 16
    while i < 48:
        work[i] = data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
        at += 4
        i += 1
    a1 = uint(work[0])
    a0 = uint(work[1])
    b1 = uint(work[2])
    b0 = uint(work[3])
    c1 = uint(work[4])
    c0 = uint(work[5])
    d1 = uint(work[6])
    d0 = uint(work[7])
    e1 = uint(work[8])
    e0 = uint(work[9])
    f1 = uint(work[10])
    f0 = uint(work[11])
    g1 = uint(work[12])
    g0 = uint(work[13])
    h1 = uint(work[14])
    h0 = uint(work[15])
    i = 0
    while i < 160:
        k = (i & 31) + 16
        w1 = uint(work[k])
        w0 = uint(work[k + 1])
        if i > 31:
            n = (i + 2 & 31) + 16
            x1 = uint(work[n])
            x0 = uint(work[n + 1])
            y0 = ((x0 >> 1 | x1 << 31) ^ (x0 >> 8 | x1 << 24) ^ (x0 >> 7 | x1 << 25)) & mask
            y1 = ((x1 >> 1 | x0 << 31) ^ (x1 >> 8 | x0 << 24) ^ x1 >> 7) & mask
            w0 = w0 + y0 & mask
            w1 += y1 + uint(w0 < y0)
            n = (i + 28 & 31) + 16
            x1 = uint(work[n])
            x0 = uint(work[n + 1])
            y0 = ((x0 >> 19 | x1 << 13) ^ (x1 >> 29 | x0 << 3) ^ (x0 >> 6 | x1 << 26)) & mask
            y1 = ((x1 >> 19 | x0 << 13) ^ (x0 >> 29 | x1 << 3) ^ x1 >> 6) & mask
            w0 = w0 + y0 & mask
            w1 += y1 + uint(w0 < y0)
            n = (i + 18 & 31) + 16
            y0 = uint(work[n + 1])
            w0 = w0 + y0 & mask
            w1 = w1 + uint(work[n]) + uint(w0 < y0) & mask
            work[k] = int(w1)
            work[k + 1] = int(w0)
        w0 = w0 + h0 & mask
        w1 += h1 + uint(w0 < h0)
        y0 = ((e0 >> 14 | e1 << 18) ^ (e0 >> 18 | e1 << 14) ^ (e1 >> 9 | e0 << 23)) & mask
        w0 = w0 + y0 & mask
        w1 += ((e1 >> 14 | e0 << 18) ^ (e1 >> 18 | e0 << 14) ^ (e0 >> 9 | e1 << 23)) + uint(w0 < y0)
        y0 = g0 ^ e0 & (f0 ^ g0)
        w0 = w0 + y0 & mask
        w1 += (g1 ^ e1 & (f1 ^ g1)) + uint(w0 < y0)
        y0 = uint(rounds[i + 1])
        w0 = w0 + y0 & mask
        w1 = w1 + uint(rounds[i]) + uint(w0 < y0) & mask
        h1 = g1
        h0 = g0
        g1 = f1
        g0 = f0
        f1 = e1
        f0 = e0
        e0 = d0 + w0 & mask
        e1 = d1 + w1 + uint(e0 < d0) & mask
        y0 = ((a0 >> 28 | a1 << 4) ^ (a1 >> 2 | a0 << 30) ^ (a1 >> 7 | a0 << 25)) & mask
        w0 = w0 + y0 & mask
        w1 += ((a1 >> 28 | a0 << 4) ^ (a0 >> 2 | a1 << 30) ^ (a0 >> 7 | a1 << 25)) + uint(w0 < y0)
        y0 = a0 & b0 | c0 & (a0 | b0)
        w0 = w0 + y0 & mask
        w1 += (a1 & b1 | c1 & (a1 | b1)) + uint(w0 < y0)
        d1 = c1
        d0 = c0
        c1 = b1
        c0 = b0
        b1 = a1
        b0 = a0
        a1 = w1 & mask
        a0 = w0
        i += 2
    work[16] = int(a1)
    work[17] = int(a0)
    work[18] = int(b1)
    work[19] = int(b0)
    work[20] = int(c1)
    work[21] = int(c0)
    work[22] = int(d1)
    work[23] = int(d0)
    work[24] = int(e1)
    work[25] = int(e0)
    work[26] = int(f1)
    work[27] = int(f0)
    work[28] = int(g1)
    work[29] = int(g0)
    work[30] = int(h1)
    work[31] = int(h0)
    i = 0
    while i < 16:
        y0 = uint(work[i + 17])
        w0 = uint(work[i + 1]) + y0 & mask
        work[i] += work[i + 16] + int(w0 < y0)
        work[i + 1] = int(w0)
        i += 2
