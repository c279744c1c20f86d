# What a Noise session would cost a board: X25519 with a point of the other side, and ChaCha20-Poly1305 of a message of
# 200 bytes. Not part of the firmware. Checks itself against RFC 7748 and RFC 8439, then does one thing COUNT times; run
# twice under callgrind, the difference of COUNT tells what it costs.
# argv: "x25519" | "seal" | "chacha20" | "poly1305", COUNT
# ruff: noqa: F821 (ptr8, ptr32 and uint are known to the viper compiler alone)
import sys
from array import array
from binascii import unhexlify

import micropython

from shared_protocol import edwards
from shared_protocol.fe25519_program import NAMED, program
from shared_protocol.fe25519_viper import load, registers, run, store

# RFC 7748, section 5: x_2, z_2, x_3, z_3 are X, Z, Y, H; x_1 is G and a24 is F.
LADDER = program(
    "A=X+Z B=X-Z C=Y+H D=Y-H D=D*A C=C*B A=A*A B=B*B E=A-B Y=D+C Y=Y*Y H=D-C H=H*H H=H*G X=A*B C=E*F C=C+A Z=E*C"
)
START = program("Y=G%p")
DIVISOR = program("E=Z%p")
QUOTIENT = program("A=C^5 A=A*B X=X*A")
X, Y, Z, H, F, G = 0, 1, 2, 4, 9, 10


@micropython.viper
def swap(w: ptr32, a: int, b: int, bit: int):
    x = ptr32(uint(w) + uint(a * 80 + 240))
    y = ptr32(uint(w) + uint(b * 80 + 240))
    i = 0
    while i < 20:
        changed = (x[i] ^ y[i]) & (0 - bit)
        x[i] ^= changed
        y[i] ^= changed
        i += 1


def x25519(secret, point):
    w = registers(NAMED)
    load(w, G, point, 0)
    load(w, F, (121665).to_bytes(32, "little"), 0)
    one = (1).to_bytes(32, "little")
    load(w, X, one, 0)
    load(w, H, one, 0)
    run(w, START, 0)
    scalar = int.from_bytes(secret, "little") & 2**254 - 8 | 2**254
    bits = scalar.to_bytes(32, "little")
    swapped = 0
    for at in range(254, -1, -1):
        bit = bits[at >> 3] >> (at & 7) & 1
        swap(w, X, Y, bit ^ swapped)
        swap(w, Z, H, bit ^ swapped)
        swapped = bit
        run(w, LADDER, 0)
    swap(w, X, Y, swapped)
    swap(w, Z, H, swapped)
    run(w, DIVISOR, 0)
    for _ in edwards._power_steps(w):
        pass
    run(w, QUOTIENT, 0)
    out = bytearray(32)
    store(w, X, out, 0)
    return bytes(out)


QUARTERS = bytes(
    (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 5, 10, 15, 1, 6, 11, 12, 2, 7, 8, 13, 3, 4, 9, 14)
)


# One block of key stream from words 0 to 15, to words 16 to 31; then one is added to the counter.
@micropython.viper
def chacha20_block(words: ptr32, quarters: ptr8):
    one = uint(1) << 31
    mask = one + (one - 1)
    i = 0
    while i < 16:
        words[i + 16] = words[i]
        i += 1
    n = 0
    while n < 320:
        at = n & 31
        ia = quarters[at] + 16
        ib = quarters[at + 1] + 16
        ic = quarters[at + 2] + 16
        id = quarters[at + 3] + 16
        a = uint(words[ia])
        b = uint(words[ib])
        c = uint(words[ic])
        d = uint(words[id])
        a = a + b & mask
        d ^= a
        d = (d << 16 | d >> 16) & mask
        c = c + d & mask
        b ^= c
        b = (b << 12 | b >> 20) & mask
        a = a + b & mask
        d ^= a
        d = (d << 8 | d >> 24) & mask
        c = c + d & mask
        b ^= c
        b = (b << 7 | b >> 25) & mask
        words[ia] = int(a)
        words[ib] = int(b)
        words[ic] = int(c)
        words[id] = int(d)
        n += 4
    i = 0
    while i < 16:
        words[i + 16] = words[i + 16] + words[i]
        i += 1
    words[12] = words[12] + 1


@micropython.viper
def exclusive_or(data: ptr8, stream: ptr8, at: int, size: int):
    i = 0
    while i < size:
        data[at + i] ^= stream[64 + i]
        i += 1


def chacha20(key, nonce, counter, data):
    words = array("I", b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce + bytes(64))
    for at in range(0, len(data), 64):
        chacha20_block(words, QUARTERS)
        exclusive_or(data, words, at, min(64, len(data) - at))


# By MicroPython's own big integers.
def poly1305(key, data):
    p = 2**130 - 5
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at : at + 16] + b"\x01", "little")) * r % p
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def padded(data):
    return data + bytes(-len(data) % 16)


def seal(key, nonce, more, message):
    sealed = bytearray(message)
    chacha20(key, nonce, 1, sealed)
    once = bytearray(32)
    chacha20(key, nonce, 0, once)
    sizes = len(more).to_bytes(8, "little") + len(message).to_bytes(8, "little")
    return bytes(sealed) + poly1305(once, padded(more) + padded(bytes(sealed)) + sizes)


def check():
    secret = unhexlify("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = unhexlify("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(secret, point) == unhexlify("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    text += b"sunscreen would be it."
    nonce = unhexlify("070000004041424344454647")
    sealed = seal(bytes(range(0x80, 0xA0)), nonce, unhexlify("50515253c0c1c2c3c4c5c6c7"), text)
    assert sealed[:16] == unhexlify("d31a8d34648e60db7b86afbc53ef7ec2")
    assert sealed[-16:] == unhexlify("1ae10b594f09e26a7e902ecbd0600691")


def main(what, count):
    check()
    key = bytes(range(32))
    message = bytearray(200)
    for _ in range(count):
        if what == "x25519":
            x25519(key, key)
        elif what == "seal":
            seal(key, key[:12], b"", message)
        elif what == "chacha20":
            chacha20(key, key[:12], 1, message)
        else:
            poly1305(key, message)


main(sys.argv[1], int(sys.argv[2]))
