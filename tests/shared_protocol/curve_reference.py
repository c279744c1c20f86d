"""Ed25519's curve in the plainest way, against which the one that is made for speed is tested."""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
ZERO: Point = (0, 1)


def plus(p: Point, q: Point) -> Point:
    product = D * p[0] * p[1] * q[0] * q[1] % P
    x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + product, -1, P) % P
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - product, -1, P) % P
    return x, y


def minus(p: Point) -> Point:
    return -p[0] % P, p[1]


def times(scalar: int, point: Point) -> Point:
    """In coordinates X, Y, Z, so that only the end divides: RFC 8032, section 5.1.4."""
    total = (0, 1, 1, 0)
    added = (point[0], point[1], 1, point[0] * point[1] % P)
    while scalar:
        if scalar & 1:
            total = _plus(total, added)
        added = _plus(added, added)
        scalar >>= 1
    inverse = pow(total[2], -1, P)
    return total[0] * inverse % P, total[1] * inverse % P


def _plus(p: tuple[int, int, int, int], q: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a = (p[1] - p[0]) * (q[1] - q[0])
    b = (p[1] + p[0]) * (q[1] + q[0])
    c = 2 * D * p[3] * q[3]
    d = 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def with_y(y: int, odd: int) -> Point | None:
    """The point of the curve with this y and such an x; None if there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square:
        return None
    return (x if x & 1 == odd else -x % P), y % P


def encoded(point: Point) -> bytes:
    return as_bytes(point[1] | (point[0] & 1) << 255)


def decoded(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    return with_y(number % 2**255, number >> 255)


def as_bytes(number: int) -> bytes:
    return number.to_bytes(32, "little")


def hashed(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def small_order_points() -> list[Point]:
    """The multiples 0 to 7 of a point of order 8."""
    y = 2
    while True:
        point = with_y(y, 0)
        if point:
            small = times(ORDER, point)
            if times(4, small) != ZERO:
                return [times(i, small) for i in range(8)]
        y += 1


BASE = with_y(4 * pow(5, -1, P) % P, 0) or ZERO
