"""A UDP socket read in batches: a datagram costs less than with asyncio's own, which polls before each."""

import asyncio
import socket
from collections import Counter
from typing import Protocol

from .udp_wire import MAX_DATAGRAM, Place

_BATCH = 64
_BUFFER = 4 << 20


class Datagrams(Protocol):
    """Who takes what comes to the socket, and gets its `send`, which drops what the system has no room for."""

    def on_datagram(self, data: bytes, place: Place) -> None: ...

    def on_batch_end(self) -> None: ...


def open_socket(family: socket.AddressFamily, place: tuple[str, int] | None) -> socket.socket:
    """A non-blocking socket, bound to the place or to any port. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            except OSError:
                # macOS refuses what Linux cuts.
                pass
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place or (("::", 0) if family == socket.AF_INET6 else ("0.0.0.0", 0)))
    except OSError:
        sock.close()
        raise
    return sock


class UdpEndpoint:
    """A socket and who takes what comes to it. dropped: counts what could not be sent."""

    def __init__(self, sock: socket.socket, taker: Datagrams, dropped: Counter[str]) -> None:
        self._sock = sock
        self._taker = taker
        self._dropped = dropped
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    @property
    def place(self) -> tuple[str, int]:
        """What it is bound to."""
        name = self._sock.getsockname()
        return name[0], name[1]

    def send(self, datagram: bytes, place: Place) -> None:
        """Send, or drop: datagrams may be lost anyway."""
        try:
            self._sock.sendto(datagram, place)
        except OSError:
            self._dropped["not sent"] += 1

    def close(self) -> None:
        """Harmless when it is closed."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _on_readable(self) -> None:
        for _ in range(_BATCH):
            try:
                # One byte more than there may be, to tell what is too long.
                data, place = self._sock.recvfrom(MAX_DATAGRAM + 1)
            except BlockingIOError:
                break
            except OSError:
                # An earlier datagram of ours was refused somewhere.
                continue
            self._taker.on_datagram(data, place)
        self._taker.on_batch_end()
