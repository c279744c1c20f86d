"""Messages over WebSocket, one binary message each (RFC 6455), with or without TLS (row EXE-01).

TLS is for networks that let nothing else through: who the peer is, Noise proves. Nothing is compressed, since what is
sealed does not get shorter; no redirect is followed and no proxy used.
"""

import asyncio
import logging
import math
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection, broadcast
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from ..errors import DeviceLost, LimitReached, MessageFault, MessageRefused, WrongAddress
from ..identity.local import LocalIdentity
from .address import Address, WebSocket
from .gate import Gate
from .pipe import CLOSE_S, MAX_RECORD, OPENING_S, Admission, Arrivals, Medium, Pipe
from .secure_transport import Limits, SecureTransport
from .sockets import bound, listening_error, opening_error

# Messages that wait in the library.
_QUEUE: Final = 4
_WRITE_LIMIT: Final = 1 << 16
# Our own writing stops far below: what gets here are answers to pings that the peer does not read.
_MOST_UNSENT: Final = 1 << 20

_BROKEN: Final = (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG)

# The library tells of every connection that is not as it should be, with a stack: a stranger could fill the log.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)


class _Flow(Connection):
    # Knows whether there is room to write, and bounds what a peer can make the library write.
    writable: asyncio.Event
    heard_at = -math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.writable.clear()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _MOST_UNSENT:
            self.transport.abort()


class _Dialled(_Flow, ClientConnection):
    pass


class _Dial(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # A server that we asked for must not choose where else we connect.
        return exc


class WebSocketPipe(Pipe):
    """A pipe over a WebSocket connection."""

    def __init__(self, remote: Address, connection: _Flow) -> None:
        super().__init__(remote)
        self._connection = connection

    @property
    def heard_at(self) -> float:
        return self._connection.heard_at

    async def room(self) -> None:
        await self._connection.writable.wait()
        if self._connection.state is not State.OPEN:
            raise DeviceLost("the connection broke", device=str(self.remote))

    def put(self, message: bytes) -> None:
        # The library's way to send without waiting: `room` waits.
        broadcast((self._connection,), message)

    async def receive(self, limit: int) -> bytes:
        try:
            message = await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            if error.sent is not None and not error.rcvd_then_sent and error.sent.code in _BROKEN:
                raise MessageRefused(MessageFault.TOO_LONG) from None
            raise DeviceLost("the connection broke", device=str(self.remote)) from None
        if not 0 < len(message) <= limit:
            raise MessageRefused(MessageFault.TOO_LONG if message else MessageFault.TOO_SHORT)
        return message

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except (OSError, TimeoutError, WebSocketException):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        self._connection.transport.abort()


class WebSocketMedium(Medium):
    """Pipes over WebSocket. server_tls: what to listen with at wss:// addresses; client_tls: what to dial them with, if
    not with the system's certificates."""

    def __init__(self, server_tls: ssl.SSLContext | None = None, client_tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._servers: list[Server] = []
        self._guests: set[_Guest] = set()

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        assert isinstance(address, WebSocket)
        if address.secure and self._server_tls is None:
            raise WrongAddress("a wss:// address needs a certificate to listen with")

        def at_path(connection: ServerConnection, request: Request) -> Response | None:
            return None if request.path == address.path else connection.respond(404, "Nothing is here.\n")

        async def accept(connection: ServerConnection) -> None:
            assert isinstance(connection, _Guest) and connection.admission is not None
            arrivals.arrived(WebSocketPipe(connection.remote, connection), connection.admission)
            await connection.wait_closed()

        class Guest(_Guest):
            pass

        Guest.arrivals, Guest.dropped, Guest.guests = arrivals, self.dropped, self._guests
        Guest.tls = self._server_tls if address.secure else None
        try:
            server = await serve(
                accept,
                address.host,
                address.port,
                create_connection=Guest,
                process_request=at_path,
                server_header=None,
                compression=None,
                open_timeout=OPENING_S,
                ping_interval=None,
                close_timeout=CLOSE_S,
                max_size=MAX_RECORD,
                max_queue=_QUEUE,
                write_limit=_WRITE_LIMIT,
                logger=_library_log,
            )
        except (OSError, UnicodeError) as error:
            raise listening_error(address, error) from None
        self._servers.append(server)
        return bound(address, next(iter(server.sockets)).getsockname())

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, WebSocket)
        tls: dict[str, Any] = {"ssl": self._client_tls} if address.secure and self._client_tls else {}
        try:
            connection = await _Dial(
                str(address),
                create_connection=_Dialled,
                user_agent_header=None,
                proxy=None,
                compression=None,
                open_timeout=None,
                ping_interval=None,
                close_timeout=CLOSE_S,
                max_size=MAX_RECORD,
                max_queue=_QUEUE,
                write_limit=_WRITE_LIMIT,
                logger=_library_log,
                **tls,
            )
        except (OSError, WebSocketException, UnicodeError, ValueError) as error:
            raise opening_error(address, error) from None
        assert isinstance(connection, _Dialled)
        return WebSocketPipe(address, connection)

    async def close(self) -> None:
        guests = tuple(self._guests)
        for guest in guests:
            guest.give_way()
        await asyncio.gather(*(guest.securing for guest in guests if guest.securing), return_exceptions=True)
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for server in servers:
            await server.wait_closed()


class _Guest(_Flow, ServerConnection):
    # Asks before TLS or the library does anything for a connection.
    arrivals: Arrivals
    dropped: Counter[str]
    guests: set["_Guest"]
    tls: ssl.SSLContext | None

    admission: Admission | None = None
    remote: WebSocket
    securing: asyncio.Task[None] | None = None
    _begun = False
    _lost = False
    # The peer's first words may come before we hear that TLS is ready.
    _early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        try:
            place = transport.get_extra_info("peername")
            self.remote = WebSocket(place[0], place[1])
            self.admission = self.arrivals.admit(self.remote)
        except (LimitReached, ValueError, TypeError, IndexError):
            self.dropped["refused"] += 1
            transport.abort()
            return
        self.admission.give_way = self.give_way
        self.guests.add(self)
        if self.tls is None:
            self._begin(transport)
        else:
            transport.pause_reading()
            self.securing = self.loop.create_task(self._secure(transport, self.tls))

    def give_way(self) -> None:
        if self.securing is not None:
            self.securing.cancel()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._begun:
            super().data_received(data)
        else:
            self._early += data

    def eof_received(self) -> None:
        if self._begun:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._begun:
            super().connection_lost(exc)
        self._forget()

    async def _secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        try:
            secured = await self.loop.start_tls(transport, self, tls, server_side=True, ssl_handshake_timeout=OPENING_S)
            if secured is not None and not self._lost:
                self._begin(secured)
        except OSError:
            pass
        finally:
            if not self._begun:
                # TLS does not tell of a connection that is lost meanwhile.
                transport.abort()
                self._forget()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._begun = True
        super().connection_made(transport)
        early, self._early = self._early, b""
        if early:
            super().data_received(early)

    def _forget(self) -> None:
        self.guests.discard(self)
        if self.admission is not None:
            self.admission.release()


class WebSocketTransport(SecureTransport):
    """Peers over WebSocket: reliable and ordered. TLS as WebSocketMedium has it."""

    accepts = (WebSocket,)

    def __init__(
        self,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(WebSocketMedium(server_tls, client_tls), own, gate=gate, limits=limits)
