"""Datagrams of the UDP transport, and the cookie that a server gives away instead of remembering who asked.

    0x11 open      dialler   connection id, padding       asks for a cookie; as long as the answer
    0x12 cookie    listener  connection id, cookie        for this address and id, good for half a minute to a minute
    0x13 connect   dialler   connection id, cookie        only now the listener keeps anything
    0x14 accept    listener  connection id
    0x15 segment   both      connection id, what `arq` says
    0x16 datagram  both      connection id, one sealed datagram
    0x17 reset     both      connection id                there is no such connection (any more)

The id is 8 random bytes of the dialler's: who does not see the datagrams cannot guess it. No answer is longer than what
it answers, so nobody can be flooded by way of us.
"""

import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

OPEN: Final = 0x11
COOKIE: Final = 0x12
CONNECT: Final = 0x13
ACCEPT: Final = 0x14
SEGMENT: Final = 0x15
DATAGRAM: Final = 0x16
RESET: Final = 0x17

MAX_DATAGRAM: Final = 1200
"""With the headers of UDP and IPv6 it fits 1,280 bytes, which every path takes."""
ID_SIZE: Final = 8
HEADER_SIZE: Final = 1 + ID_SIZE
COOKIE_SIZE: Final = 16
MAX_BODY: Final = MAX_DATAGRAM - HEADER_SIZE

_EPOCH_S: Final = 30.0

Place = tuple[str, int] | tuple[str, int, int, int]
"""A socket address, as the system has it."""


def header(kind: int, connection: bytes) -> bytes:
    return bytes((kind,)) + connection


def opening(connection: bytes) -> bytes:
    return header(OPEN, connection) + bytes(COOKIE_SIZE)


class Cookies:
    """Makes and checks cookies. Keeps a secret and nothing else."""

    def __init__(self, secret: bytes | None = None, pack: Callable[[Place], bytes] | None = None) -> None:
        """pack: a place as bytes, where places are other than IP addresses and ports."""
        self._secret = secret or os.urandom(32)
        self._pack = pack or _packed

    def make(self, place: Place, connection: bytes, now: float) -> bytes:
        """now: seconds of a clock that does not go back."""
        return self._cookie(place, connection, int(now // _EPOCH_S))

    def holds(self, cookie: bytes, place: Place, connection: bytes, now: float) -> bool:
        """Whether it was made for this address and connection not long ago."""
        epoch = int(now // _EPOCH_S)
        return any(
            hmac.compare_digest(cookie, self._cookie(place, connection, epoch - age)) for age in (0, 1) if epoch >= age
        )

    def _cookie(self, place: Place, connection: bytes, epoch: int) -> bytes:
        said = self._pack(place) + struct.pack(">Q", epoch) + connection
        return hmac.digest(self._secret, hashlib.sha256(said).digest(), "sha256")[:COOKIE_SIZE]


def _packed(place: Place) -> bytes:
    host = place[0].partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host) + struct.pack(">H", place[1])
