# Points of the curve Ed25519 in registers (fe25519_viper.py, fe25519_plain.py), and the two scalar multiplications that
# signatures need.
#
# The point at work is X, Y, Z with x = X/Z and y = Y/Z. Its fourth coordinate T = XY/Z is E H, and computed by who
# needs it: a doubling does not. Formulas: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited" (2008), for
# a = -1; they hold for every pair of points. A sum or difference is as wide as its terms together, and of the factors
# of a product one may be 3 wide and the other one 2.
#
# What ends in _steps is a generator that yields before it has kept other work waiting for long.
from shared_protocol.comb25519 import COLUMNS, TABLE
from shared_protocol.fe25519_program import NAMED, program, register
from shared_protocol.interpreter import const

try:
    from shared_protocol.fe25519_viper import load, registers, run, select, store
except (ImportError, ValueError):
    # CPython, or an interpreter for which the machine code was not made.
    from shared_protocol.fe25519_plain import load, registers, run, select, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    Steps = Generator[None, None, None]
    Registers = list[int]

_X = register("X")
_Y = register("Y")
_Z = register("Z")
_H = register("H")
_A = register("A")
_B = register("B")
# The comb's entry: m = y - x, p = y + x, t = 2dxy.
_COMB = NAMED
# Entries 1, 3, 5 and 7 times a point: m = Y - X, p = Y + X, t = 2dT, z = 2Z each.
_ODD = _COMB + 3
_ODD_COUNT = const(4)

_DOUBLE = program("A=X*X B=Y*Y C=Z*Z E=X+Y E=E*E H=A+B E=H-E G=A-B C=C+C F=C+G F=F%p X=E*F Y=G*H Z=F*G")
_ADD_COMB = program("C=E*H C=C*t D=Z+Z D=D%p A=Y-X A=A*m B=Y+X B=B*p E=B-A H=B+A F=D-C G=D+C X=E*F Y=G*H Z=F*G")
_ADD = program("C=E*H C=C*t D=Z*z A=Y-X A=A*m B=Y+X B=B*p E=B-A H=B+A F=D-C G=D+C X=E*F Y=G*H Z=F*G")
_SUBTRACT = program("C=E*H C=C*t D=Z*z A=Y-X A=A*p B=Y+X B=B*m E=B-A H=B+A F=D+C G=D-C X=E*F Y=G*H Z=F*G")
# The point as an entry; D is the curve's d.
_KEEP = program("C=E*H C=C*D t=C+C t=t%p m=Y-X p=Y+X z=Z+Z")

# C = E**(2**250 - 1) and B = E**11, by way of the exponents 2**n - 1 with n = 5, 10, 20, 40, 50, 100 and 200.
_POWER = (
    program("A=E^3 A=A*E B=E*E B=B*A C=B*B A=A*C C=A^5 C=C*A D=C^10 D=D*C"),
    program("A=D^20 A=A*D A=A^10 A=A*C D=A^20"),
    program("D=D^30 D=D*A C=D^15"),
    program("C=C^45"),
    program("C=C^40 C=C*D"),
    program("C=C^50 C=C*A"),
)
# A = 1 / E, and what it is for.
_INVERSE = "A=C^5 A=A*B "
_AFFINE = program(_INVERSE + "X=X*A Y=Y*A")
_MONTGOMERY = program(_INVERSE + "Y=Z+Y Y=Y*A")

# Of the point's y, with A = 1 and B = d: x**2 is u / v with G = u = y**2 - 1 and F = v = d y**2 + 1. If that has a
# root, it is u v**3 (u v**7)**((p - 5) / 8), or this times the root of -1. X = u v**3, E = u v**7.
_BEFORE_ROOT = program("C=Y*Y G=C-A G=G%p F=C*B F=F+A F=F%p X=F*F X=X*F E=X*X E=E*F E=E*G X=X*G")
# A = v x**2 - u and B = v x**2 + u.
_AFTER_ROOT = program("A=C^2 A=A*E X=X*A A=X*X C=A*F A=C-G B=C+G")
_OTHER_ROOT = program("X=X*A")
_NEGATE = program("A=X-X X=A-X")
_EXTEND = program("E=X%p H=Y%p")
_COPY_Z = program("E=Z%p")
_Z_MINUS_Y = program("E=Z-Y")
_ZERO = program("X=X-X E=E-E")

# Bits of a digit of a public scalar, and of the scalar itself.
_WINDOW = const(4)
_SCALAR_BITS = const(253)

# Columns and doublings between two yields.
_COLUMNS_AT_ONCE = const(2)
_DOUBLINGS_AT_ONCE = const(4)

_ONE = b"\x01" + bytes(31)
_CURVE_D = (
    b"\xa3\x78\x59\x13\xca\x4d\xeb\x75\xab\xd8\x41\x41\x4d\x0a\x70\x00"
    b"\x98\xe8\x79\x77\x79\x40\xc7\x8c\x73\xfe\x6f\x2b\xee\x6c\x03\x52"
)
_ROOT_OF_MINUS_1 = (
    b"\xb0\xa0\x0e\x4a\x27\x1b\xee\xc4\x78\xe4\x2f\xad\x06\x18\x43\x2f"
    b"\xa7\xd7\xfb\x3d\x99\x00\x4d\x2b\x0b\xdf\xc1\x4f\x80\x24\x83\x2b"
)


# Registers for all that is here; what is in them does not matter.
def all_registers() -> "Registers":
    w: "Registers" = registers(_ODD + 4 * _ODD_COUNT)
    return w


def _set_zero(w: "Registers") -> None:
    run(w, _ZERO, 0)
    for one in (_Y, _Z, _H):
        load(w, one, _ONE, 0)


# The point becomes the multiple of the base point that digits (comb25519.py) say. Every column costs the same doubling
# and the same addition, whatever its digits are.
def base_steps(w: "Registers", digits: bytes) -> "Steps":
    _set_zero(w)
    for column in range(COLUMNS - 1, -1, -1):
        run(w, _DOUBLE, 0)
        select(w, _COMB, TABLE, digits, column)
        run(w, _ADD_COMB, _COMB)
        if column % _COLUMNS_AT_ONCE == 0:
            yield


# The point, which decode_steps made, becomes digits times the base point minus scalar times what it was. Not for
# secrets: what it costs depends on both.
def verifying_steps(w: "Registers", digits: bytes, scalar: bytes) -> "Steps":
    yield from _odd_multiples_steps(w)
    signed = _signed_digits(scalar)
    yield
    _set_zero(w)
    for bit in range(_SCALAR_BITS, -1, -1):
        run(w, _DOUBLE, 0)
        digit = signed[bit] - 2 * _ODD_COUNT
        if digit:
            run(w, _SUBTRACT if digit > 0 else _ADD, _ODD + (abs(digit) >> 1) * 4)
        if bit < COLUMNS:
            select(w, _COMB, TABLE, digits, bit)
            run(w, _ADD_COMB, _COMB)
        if bit % _DOUBLINGS_AT_ONCE == 0:
            yield


# The point's multiples 1, 3, 5, 7 as entries.
def _odd_multiples_steps(w: "Registers") -> "Steps":
    _keep(w, _ODD)
    run(w, _DOUBLE, 0)
    # Twice the point, where the last entry will be.
    twice = _ODD + 4 * (_ODD_COUNT - 1)
    _keep(w, twice)
    yield
    added = _ODD
    for entry in range(_ODD + 4, twice + 4, 4):
        run(w, _ADD, added)
        _keep(w, entry)
        added = twice
        yield


def _keep(w: "Registers", entry: int) -> None:
    load(w, register("D"), _CURVE_D, 0)
    run(w, _KEEP, entry)


# Digits of which _WINDOW neighbours have one that is not 0, an odd one from -7 to 7; each with 8 added.
def _signed_digits(scalar: bytes) -> bytearray:
    signed = bytearray(b"\x08" * (_SCALAR_BITS + 1))
    scalar += b"\0"
    at = 0
    over = 0
    while at <= _SCALAR_BITS:
        word = (scalar[at >> 3] | scalar[(at >> 3) + 1] << 8) >> (at & 7)
        if word & 1 == over:
            at += 1
            continue
        digit = (word & (1 << _WINDOW) - 1) + over
        over = digit >> _WINDOW - 1
        signed[at] = digit - (over << _WINDOW) + 2 * _ODD_COUNT
        at += _WINDOW
    return signed


# The 32 bytes that stand for the point: y, with the lowest bit of x on top.
def encode_steps(w: "Registers") -> "Generator[None, None, bytes]":
    run(w, _COPY_Z, 0)
    yield from _power_steps(w)
    run(w, _AFFINE, 0)
    out = bytearray(32)
    store(w, _X, out, 0)
    odd = out[0] & 1
    store(w, _Y, out, 0)
    out[31] |= odd << 7
    return bytes(out)


# The coordinate that the point has on Curve25519 (RFC 7748, section 4.1): (1 + y) / (1 - y).
def montgomery_steps(w: "Registers") -> "Generator[None, None, bytes]":
    run(w, _Z_MINUS_Y, 0)
    yield from _power_steps(w)
    run(w, _MONTGOMERY, 0)
    out = bytearray(32)
    store(w, _Y, out, 0)
    return bytes(out)


# The point becomes the one that 32 bytes stand for; False if there is none (RFC 8032, section 5.1.3). A y of p or more
# and the x of 0 with a sign pass: whoever needs to know has to look.
def decode_steps(w: "Registers", encoded: bytes) -> "Generator[None, None, bool]":
    load(w, _Y, encoded, 0)
    load(w, _Z, _ONE, 0)
    load(w, _A, _ONE, 0)
    load(w, _B, _CURVE_D, 0)
    run(w, _BEFORE_ROOT, 0)
    yield from _power_steps(w)
    run(w, _AFTER_ROOT, 0)
    out = bytearray(32)
    zero = bytes(32)
    store(w, _A, out, 0)
    if out != zero:
        store(w, _B, out, 0)
        if out != zero:
            return False
        load(w, _A, _ROOT_OF_MINUS_1, 0)
        run(w, _OTHER_ROOT, 0)
    store(w, _X, out, 0)
    if out[0] & 1 != encoded[31] >> 7:
        run(w, _NEGATE, 0)
    run(w, _EXTEND, 0)
    yield
    return True


def _power_steps(w: "Registers") -> "Steps":
    for part in _POWER:
        run(w, part, 0)
        yield
