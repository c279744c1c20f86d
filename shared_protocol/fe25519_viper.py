# Arithmetic modulo p = 2**255 - 19 as machine code: the same functions as fe25519_plain.py, whose comments say what
# they do. Nothing is allocated, and no branch or address depends on a number's value.
#
# A number is 20 words of 13 bits each, the lowest first: -4096..4095 after mul, load and carry (up to 4 more for one of
# them). A processor that gives 32 bits of a product can add up 20 products of such words, below 2**31 even if one
# factor is a sum of 3 such numbers and the other one a sum of 2.
#
# A machine word is 32 bits on a board and 64 on the unix port, where a load through ptr32 fills with zeros. So sums are
# taken modulo 2**32, and 2**31 is added to one that is to be shifted; what comes of it, 2**18 after a shift by 13, is
# taken off again. No constant here is wider than 31 bits.
# mypy: ignore-errors
# ruff: noqa: F821 (ptr8, ptr32 and uint are known to the viper compiler alone)
import micropython


# In front of the numbers, 80 bytes each, are a product of 40 words and twice a factor.
def registers(count: int):
    return bytearray(count * 80 + 240)


# The product is made in blocks of 5 by 5 words. Of a square, the blocks below the diagonal are left out and those above
# it doubled.
@micropython.viper
def run(w: ptr32, program: ptr8, entry: int):
    start = uint(w) + 240
    half = uint(1) << 31
    mask = half + (half - 1)
    # So that what is left is -4096 or more, and that 2**18 is taken off the carry before.
    half += 4096 - 262144
    while program[0]:
        operation = program[0]
        r = program[1]
        a = program[2]
        b = program[3]
        program = ptr8(uint(program) + 4)
        if r > 63:
            r += entry - 64
        if a > 63:
            a += entry - 64
        times = 1
        if operation == 4:
            times = b
            b = a
        elif b > 63:
            b += entry - 64
        z = ptr32(start + uint(r * 80))
        x = ptr32(start + uint(a * 80))
        y = ptr32(start + uint(b * 80))
        if operation < 3:
            i = 0
            while i < 4:
                if operation == 1:
                    z[0] = x[0] + y[0]
                    z[1] = x[1] + y[1]
                    z[2] = x[2] + y[2]
                    z[3] = x[3] + y[3]
                    z[4] = x[4] + y[4]
                else:
                    z[0] = x[0] - y[0]
                    z[1] = x[1] - y[1]
                    z[2] = x[2] - y[2]
                    z[3] = x[3] - y[3]
                    z[4] = x[4] - y[4]
                z = ptr32(uint(z) + 20)
                x = ptr32(uint(x) + 20)
                y = ptr32(uint(y) + 20)
                i += 1
            times = 0
        while times:
            w = x
            if operation != 5:
                w = ptr32(start - 80)
                i = 0
                while i < 4 and a == b:
                    w[0] = 2 * x[0]
                    w[1] = 2 * x[1]
                    w[2] = 2 * x[2]
                    w[3] = 2 * x[3]
                    w[4] = 2 * x[4]
                    x = ptr32(uint(x) + 20)
                    w = ptr32(uint(w) + 20)
                    i += 1
                w = ptr32(start - 240)
                i = 0
                while i < 4:
                    w[0] = 0
                    w[1] = 0
                    w[2] = 0
                    w[3] = 0
                    w[4] = 0
                    w[5] = 0
                    w[6] = 0
                    w[7] = 0
                    w[8] = 0
                    w[9] = 0
                    w = ptr32(uint(w) + 40)
                    i += 1
                i = 0
                while i < 80:
                    x = ptr32(start + uint(a * 80 + i))
                    j = 0
                    if a == b:
                        j = i
                    while j < 80:
                        y = ptr32(start + uint(b * 80 + j))
                        w = ptr32(start - 240 + uint(i + j))
                        w[0] = w[0] + x[0] * y[0]
                        w[1] = w[1] + x[0] * y[1] + x[1] * y[0]
                        w[2] = w[2] + x[0] * y[2] + x[1] * y[1] + x[2] * y[0]
                        w[3] = w[3] + x[0] * y[3] + x[1] * y[2] + x[2] * y[1] + x[3] * y[0]
                        w[4] = w[4] + x[0] * y[4] + x[1] * y[3] + x[2] * y[2] + x[3] * y[1] + x[4] * y[0]
                        w[5] = w[5] + x[1] * y[4] + x[2] * y[3] + x[3] * y[2] + x[4] * y[1]
                        w[6] = w[6] + x[2] * y[4] + x[3] * y[3] + x[4] * y[2]
                        w[7] = w[7] + x[3] * y[4] + x[4] * y[3]
                        w[8] = w[8] + x[4] * y[4]
                        if a == b:
                            x = ptr32(start - 80 + uint(i))
                        j += 20
                    i += 20
                # 2**260 is 608: that many times the upper half goes to the lower half.
                c = uint(262144)
                w = ptr32(start - 240)
                i = 0
                while i < 4:
                    v = uint(w[20]) + c + half & mask
                    w[0] = int(uint(w[0]) + ((v & 8191) - 4096) * 608)
                    v = uint(w[21]) + (v >> 13) + half & mask
                    w[1] = int(uint(w[1]) + ((v & 8191) - 4096) * 608)
                    v = uint(w[22]) + (v >> 13) + half & mask
                    w[2] = int(uint(w[2]) + ((v & 8191) - 4096) * 608)
                    v = uint(w[23]) + (v >> 13) + half & mask
                    w[3] = int(uint(w[3]) + ((v & 8191) - 4096) * 608)
                    v = uint(w[24]) + (v >> 13) + half & mask
                    w[4] = int(uint(w[4]) + ((v & 8191) - 4096) * 608)
                    c = v >> 13
                    w = ptr32(uint(w) + 20)
                    i += 1
                w = ptr32(start - 240)
                w[0] = int(uint(w[0]) + (c - 262144) * 369664)
            c = uint(262144)
            i = 0
            while i < 4:
                v = uint(w[0]) + c + half & mask
                z[0] = int((v & 8191) - 4096)
                v = uint(w[1]) + (v >> 13) + half & mask
                z[1] = int((v & 8191) - 4096)
                v = uint(w[2]) + (v >> 13) + half & mask
                z[2] = int((v & 8191) - 4096)
                v = uint(w[3]) + (v >> 13) + half & mask
                z[3] = int((v & 8191) - 4096)
                v = uint(w[4]) + (v >> 13) + half & mask
                z[4] = int((v & 8191) - 4096)
                c = v >> 13
                w = ptr32(uint(w) + 20)
                z = ptr32(uint(z) + 20)
                i += 1
            z = ptr32(start + uint(r * 80))
            v = uint(z[0]) + (c - 262144) * 608 + 262144 + half & mask
            z[0] = int((v & 8191) - 4096)
            v = uint(z[1]) + (v >> 13) + half & mask
            z[1] = int((v & 8191) - 4096)
            z[2] = int(uint(z[2]) + (v >> 13) - 262144)
            x = z
            a = r
            b = r
            times -= 1


@micropython.viper
def load(w: ptr32, r: int, data: ptr8, at: int):
    x = ptr32(uint(w) + uint(r * 80 + 240))
    c = 4096
    bit = 0
    i = 0
    while i < 19:
        n = at + (bit >> 3)
        c += (data[n] | data[n + 1] << 8 | data[n + 2] << 16) >> (bit & 7) & 8191
        x[i] = (c & 8191) - 4096
        c = (c >> 13) + 4096
        bit += 13
        i += 1
    x[19] = ((data[at + 30] | data[at + 31] << 8) >> 7 & 255) + c - 4096


@micropython.viper
def store(w: ptr32, r: int, out: ptr8, at: int):
    x = ptr32(uint(w) + uint(r * 80 + 240))
    one = uint(1)
    top = one << 31
    mask = top + (top - 1)
    i = 0
    while i < 20:
        w[i] = x[i]
        i += 1
    # Three times what is above 2**255 comes down as 19 times itself, and then the number is below. Is it still p or
    # more, 19 more make it come down once again; and are taken off again.
    n = 0
    while n < 5:
        if n == 3:
            w[0] = w[0] + 19
        if n == 4:
            w[0] -= 19
        c = uint(0)
        i = 0
        while i < 19:
            v = uint(w[i]) + c + top & mask
            c = (v >> 13) - 262144
            w[i] = int(v & 8191)
            i += 1
        v = uint(w[19]) + c + top & mask
        w[19] = int(v & 255)
        w[0] = int(uint(w[0]) + ((v >> 8) - 8388608) * 19)
        n += 1
    held = 0
    bits = 0
    i = 0
    while i < 20:
        held |= w[i] << bits
        bits += 13
        while bits > 7 and at >= 0:
            out[at] = held
            at += 1
            held >>= 8
            bits -= 8
        i += 1


# All entries of the table are read, and the one wanted kept by a mask.
@micropython.viper
def select(w: ptr32, r: int, table: ptr32, scalar: ptr8, column: int):
    at = column + 204
    plus = scalar[at >> 3] >> (at & 7) & 1
    wanted = 0
    i = 3
    while i >= 0:
        at = column + 51 * i
        wanted = wanted * 2 + (scalar[at >> 3] >> (at & 7) & 1 ^ plus ^ 1)
        i -= 1
    i = 0
    while i < 24:
        w[i] = 0
        i += 1
    start = uint(w)
    i = 0
    while i < 48:
        kept = (i & 15 ^ wanted) - 1 >> 8
        if i & 15 == 0:
            x = ptr32(uint(table) + uint(i * 2))
            w = ptr32(start + uint(i * 2))
        w[0] = w[0] | x[0] & kept
        w[1] = w[1] | x[1] & kept
        w[2] = w[2] | x[2] & kept
        w[3] = w[3] | x[3] & kept
        w[4] = w[4] | x[4] & kept
        w[5] = w[5] | x[5] & kept
        w[6] = w[6] | x[6] & kept
        w[7] = w[7] | x[7] & kept
        x = ptr32(uint(x) + 96)
        i += 1
    w = ptr32(start)
    # The negative of a point: y - x and y + x change places, and 2dxy its sign.
    minus = plus - 1
    i = 0
    while i < 8:
        changed = (w[i] ^ w[i + 8]) & minus
        w[i] ^= changed
        w[i + 8] ^= changed
        i += 1
    data = ptr8(w)
    x = ptr32(uint(w) + uint(r * 80 + 240))
    n = 0
    while n < 3:
        c = 4096
        bit = 0
        i = 0
        while i < 19:
            at = bit >> 3
            c += (data[at] | data[at + 1] << 8 | data[at + 2] << 16) >> (bit & 7) & 8191
            x[i] = (c & 8191) - 4096
            c = (c >> 13) + 4096
            bit += 13
            i += 1
        x[19] = ((data[30] | data[31] << 8) >> 7 & 255) + c - 4096
        data = ptr8(uint(data) + 32)
        x = ptr32(uint(x) + 80)
        n += 1
    i = 0
    while i < 20:
        x[i - 20] = (x[i - 20] ^ minus) - minus
        i += 1
