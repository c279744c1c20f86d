"""Frames for trials of gateways: cheap to make, no two alike."""

import hashlib
import time
from collections.abc import Iterator

from shared_protocol.frame import TYPE_MESSAGE, encode

_FILL = bytes(range(32, 126)) * 6


def author_of(number: int) -> bytes:
    """An on-air id, 8 bytes."""
    return hashlib.sha256(b"author %d" % number).digest()[:8]


def public_frames(count: int, *, authors: int = 100, size: int = 200, start: int = 0) -> Iterator[bytes]:
    """Public messages of so many authors in turn, made when they are asked for. size: bytes of a frame, 60 to 500."""
    ids = [author_of(start * 7919 + number) for number in range(authors)]
    for number in range(start, start + count):
        head = b"%d of %d " % (number, start)
        payload = head + _FILL[: size - 22 - len(head)]
        yield encode(TYPE_MESSAGE, 7, time.time_ns() // 1_000_000, ids[number % authors], payload)
