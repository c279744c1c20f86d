"""Messages over QUIC (RFC 9000, aioquic): one bidirectional stream of a connection, the dialler's first.

The certificate is made on the spot and nobody checks it: TLS is there because QUIC has it, and who the peer is, Noise
proves. aioquic takes any amount of data, received or to be sent: `credit_stream` bounds it.
"""

import asyncio
import datetime
import logging
import math
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..errors import DeviceLost, LimitReached, MessageFault, MessageRefused
from ..identity.local import LocalIdentity
from .address import Address, HostAddress, Quic
from .credit_stream import WINDOW, MessageStream
from .gate import Gate
from .pipe import CLOSE_S, OPENING_S, Arrivals, Medium, Pipe
from .secure_transport import Limits, SecureTransport
from .sockets import bound, first_opened, listening_error, opening_error, resolve

ALPN: Final = "bitrelay/1"

_STREAM: Final = 0
# Longer than a transport waits for a sign of life.
_IDLE_S: Final = 60.0
_MISBEHAVED: Final = 1
_NAME: Final = "bitrelay"

# It tells of every connection that is not as it should be: a stranger could fill the log.
logging.getLogger("quic").setLevel(logging.CRITICAL)


class QuicProtocol(QuicConnectionProtocol):
    """aioquic's end of a connection, with the bounds that it does not have."""

    def __init__(self, quic: QuicConnection, dropped: Counter[str], **given: Any) -> None:
        super().__init__(quic, **given)
        self._dropped = dropped
        self.stream = MessageStream()
        self.changed = asyncio.Event()
        self.finished = False
        """Nothing more will be sent."""
        self.gone = False
        """The other end has finished, or the connection is over."""
        self.silent = False
        """There is no socket any more."""
        self.on_stream: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.heard_at = -math.inf
        """When something in the stream last came, by the loop's clock."""
        self._delivered = 0
        self._patience: asyncio.TimerHandle | None = None

    def give_up_after(self, seconds: float) -> None:
        """Unless there is a stream by then."""
        self._patience = self._loop.call_later(seconds, self.end, _MISBEHAVED)

    def send(self, data: bytes) -> None:
        """Into the stream."""
        if data and not self.gone and not self.finished:
            self._quic.send_stream_data(_STREAM, data)
            self._transmit_soon()

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        if not self.gone and not self.finished:
            self._quic.send_stream_data(_STREAM, b"", end_stream=True)
            self._transmit_soon()
        self.finished = True

    def end(self, code: int = 0) -> None:
        """Close the connection; what has not been acknowledged is not sent again."""
        if self._patience is not None:
            self._patience.cancel()
        self.gone = True
        if self._connected_waiter is not None:
            waiter, self._connected_waiter = self._connected_waiter, None
            if not waiter.done():
                waiter.set_exception(ConnectionError("the connection ended before it was there"))
                waiter.exception()  # perhaps nobody waits any more
        self.close(error_code=code)
        self.changed.set()

    def transmit(self) -> None:
        if not self.silent:
            super().transmit()

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        try:
            super().datagram_received(data, addr)
        except Exception as error:
            self._dropped[_fault(error)] += 1
            self.end(_MISBEHAVED)
        # aioquic raises its limits by what came, not by what was read: a stream with a gap would grow for ever.
        if self._quic._local_max_data.used - self._delivered > 4 * WINDOW:
            self.end(_MISBEHAVED)

    def error_received(self, exc: Exception) -> None:
        # Nothing listens there. Later on it may be a lie, and is left to the timeouts.
        if not self._connected and self._connected_waiter is not None:
            self._connected_waiter.set_exception(exc)
            self._connected_waiter = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self._on_data(event)
        elif isinstance(event, StreamReset | StopSendingReceived):
            self.end(_MISBEHAVED)
        elif isinstance(event, ConnectionTerminated):
            self.gone = True
            if self._patience is not None:
                self._patience.cancel()
            if self.on_gone is not None:
                self.on_gone()
        elif isinstance(event, HandshakeCompleted) and event.alpn_protocol != ALPN:
            self.end(_MISBEHAVED)
        self.changed.set()

    def _on_data(self, event: StreamDataReceived) -> None:
        if event.stream_id != _STREAM:
            self.end(_MISBEHAVED)
            return
        self._delivered += len(event.data)
        self.heard_at = self._loop.time()
        self.stream.feed(event.data)
        if event.end_stream:
            self.gone = True
        if self.on_stream is not None:
            arrived, self.on_stream = self.on_stream, None
            if self._patience is not None:
                self._patience.cancel()
            arrived()


class QuicPipe(Pipe):
    """A pipe in the one stream of a connection. own_socket: that of one we dialled, which ends with it."""

    def __init__(
        self, remote: Address, protocol: QuicProtocol, own_socket: asyncio.DatagramTransport | None = None
    ) -> None:
        super().__init__(remote)
        self._protocol = protocol
        self._own_socket = own_socket

    @property
    def heard_at(self) -> float:
        return self._protocol.heard_at

    async def room(self) -> None:
        while self._alive and not self._protocol.stream.has_room:
            await self._change()
        if not self._alive or self._protocol.finished:
            raise self._lost()

    def put(self, message: bytes) -> None:
        self._protocol.send(self._protocol.stream.frame(message))

    async def receive(self, limit: int) -> bytes:
        stream = self._protocol.stream
        while not stream.messages:
            if stream.fault is not None:
                raise MessageRefused(stream.fault)
            if not self._alive:
                raise self._lost()
            await self._change()
        message = stream.messages.popleft()
        self._protocol.send(stream.read(message))
        if len(message) > limit:
            raise MessageRefused(MessageFault.TOO_LONG)
        return message

    async def close(self) -> None:
        try:
            self._protocol.finish()
            async with asyncio.timeout(CLOSE_S):
                # Until the other end has finished, too, or closed: then it has all that we sent.
                while not self._protocol.gone:
                    await self._change()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        self._protocol.end()
        if self._own_socket is not None:
            self._protocol.silent = True
            self._own_socket.close()

    @property
    def _alive(self) -> bool:
        return not self._protocol.gone and self._protocol.stream.fault is None

    async def _change(self) -> None:
        self._protocol.changed.clear()
        await self._protocol.changed.wait()

    def _lost(self) -> DeviceLost:
        return DeviceLost("the connection broke", device=str(self.remote))


class _Server(QuicServer):
    # Asks before it keeps anything for a connection, and lets no error out of a handler.

    def __init__(self, configuration: QuicConfiguration, arrivals: Arrivals, dropped: Counter[str]) -> None:
        # retry: what comes from an address counts once the address was shown to be the sender's.
        super().__init__(configuration=configuration, create_protocol=self._admit, retry=True)
        self._arrivals = arrivals
        self._dropped = dropped
        self._source: Any = None

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        self._source = addr
        try:
            super().datagram_received(data, addr)
        except LimitReached:
            self._dropped["refused"] += 1
        except Exception as error:
            self._dropped[_fault(error)] += 1

    def close(self) -> None:
        for protocol in tuple(self._protocols.values()):
            protocol.close()
            cast(QuicProtocol, protocol).silent = True
        super().close()

    def _admit(self, connection: QuicConnection, **given: Any) -> QuicProtocol:
        remote = Quic(self._source[0], self._source[1])
        admission = self._arrivals.admit(remote)
        protocol = QuicProtocol(connection, self._dropped, **given)
        protocol.on_gone = admission.release
        admission.give_way = partial(protocol.end, _MISBEHAVED)
        protocol.on_stream = lambda: self._arrivals.arrived(QuicPipe(remote, protocol), admission)
        protocol.give_up_after(OPENING_S)
        return protocol


class QuicMedium(Medium):
    """Pipes over QUIC."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[_Server] = []

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        assert isinstance(address, HostAddress)
        configuration = _configuration(is_client=False)
        configuration.certificate, configuration.private_key = _certificate()
        try:
            _, server = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Server(configuration, arrivals, self.dropped), local_addr=(address.host, address.port)
            )
        except (OSError, UnicodeError) as error:
            raise listening_error(address, error) from None
        self._servers.append(server)
        assert server._transport is not None
        return bound(address, server._transport.get_extra_info("sockname"))

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, HostAddress)
        places = await resolve(address)
        return await first_opened(partial(self._open_at, address, place) for _, place in places)

    async def _open_at(self, address: HostAddress, place: tuple[str, int]) -> Pipe:
        configuration = _configuration(is_client=True)
        configuration.verify_mode = ssl.CERT_NONE
        configuration.server_name = _NAME
        try:
            socket, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: QuicProtocol(QuicConnection(configuration=configuration), self.dropped), remote_addr=place[:2]
            )
        except OSError as error:
            raise opening_error(address, error) from None
        pipe = QuicPipe(address, protocol, socket)
        try:
            protocol.connect(socket.get_extra_info("peername"))
            await protocol.wait_connected()
        except OSError as error:
            pipe.abort()
            raise opening_error(address, error) from None
        except BaseException:
            pipe.abort()
            raise
        return pipe

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []


class QuicTransport(SecureTransport):
    """Peers over QUIC: reliable and ordered."""

    accepts = (Quic,)

    def __init__(
        self,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(QuicMedium(), own, gate=gate, limits=limits)


def _fault(error: Exception) -> str:
    # What the library did not expect of a stranger's bytes is no reason to let it out of a handler.
    return f"fault: {type(error).__name__}"


def _configuration(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[ALPN], is_client=is_client, idle_timeout=_IDLE_S, max_data=WINDOW, max_stream_data=WINDOW
    )


def _certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    # Nobody looks at its times; two certificates of a host should not tell when it was started.
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), begin, begin.replace(year=2120)
    )
    return builder.sign(key, hashes.SHA256()), key
