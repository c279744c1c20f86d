"""Messages over TCP: each behind its length (u32, big-endian), which is checked before anything is allocated."""

import asyncio
import math
import struct
from collections.abc import Callable
from typing import Final

from ..errors import DeviceLost, LimitReached, MessageFault, MessageRefused
from ..identity.local import LocalIdentity
from .address import Address, HostAddress, Tcp
from .gate import Gate
from .pipe import CLOSE_S, Arrivals, Medium, Pipe
from .secure_transport import Limits, SecureTransport
from .sockets import STAGGER_S, bound, listening_error, opening_error

HEADER: Final = struct.Struct(">I")

_BACKLOG = 256
# What is thrown away of a peer that goes on talking after our goodbye.
_LAST_WORDS = 1 << 20


def framed(message: bytes) -> bytes:
    """A message as it goes into a stream."""
    return HEADER.pack(len(message)) + message


def checked_length(header: bytes, limit: int) -> int:
    """The length that a header of 4 bytes says. Raises MessageRefused for one that is none, or above the limit."""
    (length,) = HEADER.unpack(header)
    if not 0 < length <= limit:
        raise MessageRefused(MessageFault.TOO_LONG if length else MessageFault.TOO_SHORT)
    return int(length)


class StreamPipe(Pipe):
    """A pipe in a byte stream of asyncio."""

    def __init__(self, remote: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(remote)
        self._reader = reader
        self._writer = writer
        self._closing = False
        self._heard_at = -math.inf

    @property
    def heard_at(self) -> float:
        return self._heard_at

    async def room(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise self._lost(error) from None
        if self._closing or self._writer.is_closing():
            raise self._lost(None)

    def put(self, message: bytes) -> None:
        if not self._closing:
            self._writer.write(framed(message))

    async def receive(self, limit: int) -> bytes:
        try:
            left = checked_length(await self._reader.readexactly(HEADER.size), limit)
            parts = []
            while left:
                self._heard_at = asyncio.get_running_loop().time()
                part = await self._reader.read(left)
                if not part:
                    raise self._lost(None)
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise self._lost(error) from None

    async def close(self) -> None:
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._writer.drain()
                self._writer.write_eof()
                # To close with something unread would reset the connection, and what is on the way to the peer with it.
                left = _LAST_WORDS
                while left > 0 and (said := await self._reader.read(min(left, 1 << 16))):
                    left -= len(said)
        except (OSError, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()

    def _lost(self, error: Exception | None) -> DeviceLost:
        said = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        return DeviceLost(f"the connection broke{said}", device=str(self.remote))


class TcpMedium(Medium):
    """Pipes over TCP."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[asyncio.Server] = []

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        assert isinstance(address, HostAddress)

        # A plain function: for a coroutine asyncio would make a task, and say what becomes of it in its own log.
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                place = writer.get_extra_info("peername")
                remote = Tcp(place[0], place[1])
                admission = arrivals.admit(remote)
            except (LimitReached, ValueError, TypeError, IndexError):
                # No name: it has gone already.
                self.dropped["refused"] += 1
                writer.transport.abort()
                return
            arrivals.arrived(StreamPipe(remote, reader, writer), admission)

        try:
            server = await asyncio.start_server(accept, address.host, address.port, backlog=_BACKLOG)
        except (OSError, UnicodeError) as error:
            raise listening_error(address, error) from None
        self._servers.append(server)
        return bound(address, server.sockets[0].getsockname())

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, HostAddress)
        try:
            reader, writer = await asyncio.open_connection(address.host, address.port, happy_eyeballs_delay=STAGGER_S)
        except (OSError, UnicodeError) as error:
            raise opening_error(address, error) from None
        return StreamPipe(address, reader, writer)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []


class TcpTransport(SecureTransport):
    """Peers over TCP: reliable and ordered."""

    accepts = (Tcp,)

    def __init__(
        self,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(TcpMedium(), own, gate=gate, limits=limits)
