"""A node's sockets, and what asking and answering have in common: keys, proofs, paths, counts."""

import asyncio
import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, cast

from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import BadDatagram, IdentityRefused, PortBusy, PortError, WrongAddress
from ..identity.keys import IdentityKeys
from ..transports.address import Udp
from .observed import version_of
from .paths import Paths
from .proofs import ProvenNodes, Verify
from .wire import Datagram, Head, Signer, unseal

_MOST_BUFFERED: Final = 1 << 18  # bytes that the system does not take yet
_RECEIVE_BUFFER: Final = 1 << 20

Receive = Callable[[bytes, Udp], None]


@dataclass(slots=True)
class Traffic:
    """Counts since the start. dropped: datagrams that came and were not taken, or did not go out, by reason."""

    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Endpoint:
    """UDP sockets, one of each IP version, under one node's keys.

    record: our identity record as it is now, None without a proof of work: others then answer us and do not remember
    us. base: the difficulty that others must have; verify: says whose work holds, instead. clock: Unix seconds; steady:
    seconds of a clock that does not go back. random: so many random bytes.
    """

    def __init__(
        self,
        keys: IdentityKeys,
        record: Callable[[], bytes | None],
        *,
        base: int = DIFFICULTY_BASE,
        verify: Verify | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.node_id = keys.peer_id
        self.record = record
        self.steady = steady
        self.random = random
        self.traffic = Traffic()
        self.signer = Signer(keys, clock)
        self.proofs = ProvenNodes(base, clock=clock, verify=verify)
        self.paths = Paths(steady)
        self._clock = clock
        self._sockets: dict[int, tuple[Udp, _Sender]] = {}

    @property
    def bound(self) -> tuple[Udp, ...]:
        """The addresses that it listens at."""
        return tuple(address for address, _ in self._sockets.values())

    def reaches(self, address: Udp) -> bool:
        """Whether there is a socket for its IP version; there is none for a name."""
        return version_of(address) in self._sockets

    async def listen(self, address: Udp, receive: Receive) -> Udp:
        """Open a socket at an IP address; the address it has become (port 0 means any). receive: gets what comes.

        Raises WrongAddress, PortBusy, PortError.
        """
        version = version_of(address)
        if version == 0:
            raise WrongAddress(f"{address} has no IP address to listen at")
        if version in self._sockets:
            raise WrongAddress(f"there is a socket for IPv{version} already")
        opened = _open_socket(address, version)
        try:
            _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Sender(self.traffic, receive), sock=opened
            )
        except BaseException:
            opened.close()
            raise
        became = Udp(*opened.getsockname()[:2])
        self._sockets[version] = (became, protocol)
        return became

    def send(self, datagram: bytes, place: Udp) -> None:
        """Send a datagram, or count that it could not be sent: the network may lose any."""
        found = self._sockets.get(version_of(place))
        if found is None or not found[1].send(datagram, place):
            self.traffic.dropped["NOT_SENT"] += 1
            return
        self.traffic.sent += 1
        self.traffic.bytes_sent += len(datagram)

    def unseal(self, datagram: bytes, head: Head) -> Datagram | None:
        """The datagram, checked; None, and counted, if it does not hold."""
        try:
            return unseal(datagram, head, self.node_id, self._clock())
        except BadDatagram as error:
            self.traffic.dropped[error.fault.name] += 1
            return None

    def admit(self, record: bytes, node_id: bytes, source: Udp) -> None:
        """Remember that this node's work holds; if it does not, count why."""
        try:
            self.proofs.admit(record, node_id, source)
        except IdentityRefused as error:
            self.traffic.dropped[f"WORK_{error.reason}"] += 1

    async def close(self) -> None:
        """Close the sockets. Harmless when they are."""
        for _, protocol in self._sockets.values():
            protocol.close()
        self._sockets.clear()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next round


class _Sender(asyncio.DatagramProtocol):
    # One socket.

    def __init__(self, traffic: Traffic, receive: Receive) -> None:
        self._traffic = traffic
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is no DatagramTransport by name before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._traffic.received += 1
        self._traffic.bytes_received += len(data)
        if self._transport is None or self._transport.is_closing() or not addr[1]:
            self._traffic.dropped["NOWHERE"] += 1
            return
        self._receive(data, _place(addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        # The system has no way there, or a router said so: whoever waits for an answer learns it by the clock.
        self._traffic.dropped["SYSTEM"] += 1

    def send(self, datagram: bytes, place: Udp) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or _waiting(transport) > _MOST_BUFFERED:
            return False
        transport.sendto(datagram, (place.host, place.port))
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@lru_cache(maxsize=4096)
def _place(host: str, port: int) -> Udp:
    return Udp(host, port)


def _waiting(transport: asyncio.DatagramTransport) -> int:
    # Bytes that the system did not take yet. The types of the standard library have forgotten it.
    size: int = transport.get_write_buffer_size()  # type: ignore[attr-defined]
    return size


def _open_socket(address: Udp, version: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        if version == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        opened.bind((address.host, address.port))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise PortBusy("the port is in use", device=str(address)) from None
        raise PortError(f"cannot listen: {error.strerror}", device=str(address)) from None
    return opened
