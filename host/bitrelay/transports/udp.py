"""Messages over UDP, acknowledged and in order, and beside them sealed datagrams that may be lost (row TRN-03).

A connection belongs to the two addresses it began with.
"""

import socket
from collections.abc import Callable
from functools import partial

from ..errors import BadData, Unreachable
from ..identity.local import LocalIdentity
from .address import Address, HostAddress, Udp
from .arq import ArqSettings
from .channel import DATAGRAM_OVERHEAD
from .gate import Gate
from .pipe import Arrivals, Medium, Pipe
from .secure_transport import Limits, SecureTransport
from .sockets import bound, first_opened, listening_error, resolve
from .udp_connections import UdpConnections
from .udp_endpoint import UdpEndpoint, open_socket
from .udp_wire import MAX_BODY, Place


class UdpMedium(Medium):
    """Pipes over UDP. One socket for each address listened at, and one of each family to dial from.

    From a socket that listens at all addresses it is dialled, too, so that a way in that was made for it can be used.
    """

    def __init__(self, settings: ArqSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or ArqSettings()
        self._sockets: list[tuple[UdpEndpoint, UdpConnections]] = []
        # By family.
        self._diallers: dict[int, UdpConnections] = {}

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        assert isinstance(address, HostAddress)
        family, place = (await resolve(address, passive=True))[0]
        try:
            sock = open_socket(family, place)
        except OSError as error:
            raise listening_error(address, error) from None
        endpoint, connections = self._serve(sock, arrivals)
        if place[0] in ("0.0.0.0", "::"):
            self._diallers[family] = connections
        return bound(address, endpoint.place)

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, HostAddress)
        places = await resolve(address)
        return await first_opened(partial(self._open_at, address, family, place) for family, place in places)

    async def _open_at(self, address: Address, family: socket.AddressFamily, place: Place) -> Pipe:
        if family not in self._diallers:
            try:
                sock = open_socket(family, None)
            except OSError as error:
                raise Unreachable(f"nobody was reached: {error.strerror}", device=str(address)) from None
            _, self._diallers[family] = self._serve(sock, None)
        return await self._diallers[family].open(address, place)

    async def close(self) -> None:
        for endpoint, connections in self._sockets:
            for pipe in tuple(connections.pipes.values()):
                pipe.abort()
            endpoint.close()
        self._sockets = []
        self._diallers = {}

    def _serve(self, sock: socket.socket, arrivals: Arrivals | None) -> tuple[UdpEndpoint, UdpConnections]:
        connections = UdpConnections(self.settings, self.dropped, arrivals)
        endpoint = UdpEndpoint(sock, connections, self.dropped)
        connections.send = endpoint.send
        self._sockets.append((endpoint, connections))
        return endpoint, connections


class UdpTransport(SecureTransport):
    """Peers over UDP. What `send` sends is acknowledged and in order; `send_unreliable` sends and forgets."""

    accepts = (Udp,)

    max_unreliable = MAX_BODY - DATAGRAM_OVERHEAD
    """Bytes of what send_unreliable takes."""

    def __init__(
        self,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        settings: ArqSettings | None = None,
    ) -> None:
        super().__init__(UdpMedium(settings), own, gate=gate, limits=limits)

    def send_unreliable(self, peer: bytes, data: bytes) -> None:
        """Send one sealed datagram; it comes once, some time, or never, and is a DataReceived like others.

        Raises NotConnected, BadData for one that is too long, NoSession after 2**32 of them on one connection.
        """
        link = self._link(peer)
        if len(data) > self.max_unreliable:
            raise BadData(f"a datagram has at most {self.max_unreliable} bytes, not {len(data)}")
        link.send_datagram(data)
