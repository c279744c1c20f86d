# Ed25519 (RFC 8032): signing, and checking as strictly as libsodium does; and the public key of X25519 (RFC 7748),
# which is the same multiplication.
#
# What ends in _steps is a generator: it yields often enough for other work, and what it returns is the result
# (`signature = yield from sign_steps(...)`, or finish(sign_steps(...))). They work in registers of 2.6 KB in one piece:
# who has no such piece at any time makes them early (all_registers) and gives them to one after the other as w.
#
# Which signatures are good. RFC 8032 leaves open what no honest signer makes. Both ends of this project must come to
# one verdict, so it is that of libsodium, which the host uses:
# - S of L or more is refused: S + L would be a second signature of the same message.
# - A and R are refused if the bytes say a y of p or more, or if they are of order 1, 2, 4 or 8: of such a key one
#   signature is good for many messages. The x of 0 with a sign is among these.
# - The equation is S B = R + h A without the cofactor, and R is compared as bytes. A and R with a part of small order,
#   which no honest signer has, pass where these parts cancel.
# Every honest signature is good for the phones too. By the table of "Taming the many EdDSAs" (Chalkias, Garillot,
# Nikolaenko, 2020), Apple's CryptoKit refuses S of L or more and has no cofactor either, but takes points of small
# order and an A with a y of p or more; Bouncy Castle, which Android apps use, takes points of small order too.
#
# What a clock can tell. The machine code has no branch and no address that depends on a secret: every column of the
# comb is one doubling and one addition, from a table that is read as a whole. It is otherwise with MicroPython's own
# big integers, for the comb's digits and for r + h a mod L: their time depends a little on how long numbers are, a few
# operations of hundreds of thousands. And with plain Python, where there is no machine code. Both are accepted: who
# listens sees a signature after queues and connection intervals of many milliseconds.
from shared_protocol.comb25519 import ORDER, digits
from shared_protocol.edwards import (
    all_registers,
    base_steps,
    decode_steps,
    encode_steps,
    montgomery_steps,
    verifying_steps,
)
from shared_protocol.sha512 import sha512_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeVar

    Result = TypeVar("Result")
    Data = bytes | bytearray | memoryview
    Bytes = Generator[None, None, bytes]
    Registers = list[int]

_P = 2**255 - 19
_SIGN = 2**255
# y of a point of order 8; p minus this is the other one. 0 is y of those of order 4, p - 1 and 1 those of 2 and 1.
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


# Runs steps to their end, for who has nothing else to do.
def finish(steps: "Generator[None, None, Result]") -> "Result":
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: "Result" = done.value
            return result


# The 32-byte public key of a 32-byte secret seed.
def public_key_steps(seed: "Data", w: "Registers | None" = None) -> "Bytes":
    expanded = yield from sha512_steps(seed)
    key = yield from _base_point_steps(_clamped(expanded), w)
    return key


# The 64-byte signature of a message. public_key must be the seed's own: two signatures by different ones would tell the
# secret.
def sign_steps(seed: "Data", public_key: "Data", message: "Data", w: "Registers | None" = None) -> "Bytes":
    expanded = yield from sha512_steps(seed)
    hashed = yield from sha512_steps(expanded[32:], message)
    nonce = int.from_bytes(hashed, "little") % ORDER
    point = yield from _base_point_steps(nonce, w)
    hashed = yield from sha512_steps(point, public_key, message)
    answer = (nonce + int.from_bytes(hashed, "little") % ORDER * _clamped(expanded)) % ORDER
    return point + answer.to_bytes(32, "little")


# Whether the signature is one of the message by the key's owner. False for whatever is not; nothing raises.
def verify_steps(
    public_key: "Data", message: "Data", signature: "Data", w: "Registers | None" = None
) -> "Generator[None, None, bool]":
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = bytes(public_key)
    point = bytes(signature[:32])
    answer = int.from_bytes(signature[32:], "little")
    if answer >= ORDER or not _is_strict(key) or not _is_strict(point):
        return False
    w = w or all_registers()
    on_curve = yield from decode_steps(w, key)
    if not on_curve:
        return False
    hashed = yield from sha512_steps(point, key, message)
    challenge = int.from_bytes(hashed, "little") % ORDER
    yield from verifying_steps(w, digits(answer), challenge.to_bytes(32, "little"))
    encoded = yield from encode_steps(w)
    return encoded == point


# The 32-byte public key of a 32-byte X25519 secret.
def x25519_public_steps(secret: "Data", w: "Registers | None" = None) -> "Bytes":
    w = w or all_registers()
    yield from base_steps(w, digits(_clamped(secret) % ORDER))
    key = yield from montgomery_steps(w)
    return key


def _base_point_steps(scalar: int, w: "Registers | None") -> "Bytes":
    w = w or all_registers()
    yield from base_steps(w, digits(scalar % ORDER))
    encoded = yield from encode_steps(w)
    return encoded


def _clamped(secret: "Data") -> int:
    return int.from_bytes(secret[:32], "little") & 2**254 - 8 | 2**254


# Whether 32 bytes that ought to be a point have a y below p, and are none of order 1, 2, 4 or 8.
def _is_strict(encoded: bytes) -> bool:
    y = int.from_bytes(encoded, "little") % _SIGN
    return 1 < y < _P - 1 and y != _ORDER_8_Y and y != _P - _ORDER_8_Y
