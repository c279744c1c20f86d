"""What is WebSocket's own: TLS, the path, and answers to pings that nobody reads."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bitrelay.errors import LimitReached, Unreachable, WrongAddress
from bitrelay.transports.address import Address, WebSocket
from bitrelay.transports.gate import OpenGate
from bitrelay.transports.transport import Connected, DataReceived
from bitrelay.transports.websocket import WebSocketTransport
from tests.transports.ends import DEADLINE_S, LIMITS, ends, identity, peer_id, serves, until

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class CountingTls(ssl.SSLContext):
    """Counts the connections that it was used for."""

    used = 0

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        self.used += 1
        return super().wrap_bio(*given, **named)


@pytest.fixture
def server_tls(certificate: Path) -> CountingTls:
    context = CountingTls(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class Counted(OpenGate):
    """inside: how many were let in and have not left; nobody: set when the last of them leaves."""

    def __init__(self) -> None:
        self.inside = 0
        self.nobody = asyncio.Event()

    def admit(self, address: Address) -> None:
        self.inside += 1
        self.nobody.clear()

    def left(self, address: Address) -> None:
        self.inside -= 1
        if not self.inside:
            self.nobody.set()


class Closed(OpenGate):
    """Lets nobody in."""

    def admit(self, address: Address) -> None:
        raise LimitReached("nobody is let in", limit="banned")


@asynccontextmanager
async def silent(port: int, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that say nothing, in the order in which they came."""
    opened = [await asyncio.open_connection(LOOPBACK, port) for _ in range(count)]
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def cut_off(reader: asyncio.StreamReader) -> bytes:
    """What was said before the other end hung up."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("secure", [True, False], ids=["wss", "ws"])
async def test_who_is_not_let_in_gets_no_tls(server_tls: CountingTls, secure: bool) -> None:
    server = WebSocketTransport(lambda: identity(1), limits=LIMITS, gate=Closed(), server_tls=server_tls)
    try:
        address = await server.listen(WebSocket(LOOPBACK, 0, secure=secure))
        assert isinstance(address, WebSocket)
        async with silent(address.port, 5) as readers:
            assert [await cut_off(reader) for reader in readers] == [b""] * 5
        assert server.refused["banned"] == server.dropped["refused"] == 5
        assert server_tls.used == 0
    finally:
        await server.close()


@pytest.mark.parametrize("secure", [True, False], ids=["wss", "ws"])
async def test_who_does_not_get_as_far_as_a_handshake_gives_way(
    certificate: Path, server_tls: CountingTls, secure: bool
) -> None:
    gate = Counted()
    limits = replace(LIMITS, max_handshakes=4)
    server = WebSocketTransport(lambda: identity(1), limits=limits, gate=gate, server_tls=server_tls)
    client_tls = ssl.create_default_context(cafile=str(certificate))
    client = WebSocketTransport(lambda: identity(2), limits=LIMITS, client_tls=client_tls)
    try:
        address = await server.listen(WebSocket(LOOPBACK, 0, secure=secure))
        assert isinstance(address, WebSocket)
        async with silent(address.port, 20) as readers:
            for reader in readers[:16]:
                assert await cut_off(reader) == b""
            await serves(server, client, address)
            assert await cut_off(readers[16]) == b""
            # The one that was served is none of them any more.
            assert len(server._handshakes) == 3 and server.refused["max_handshakes"] == 17
    finally:
        for transport in (client, server):
            await transport.close()
    assert gate.inside == 0


async def test_who_says_no_tls_or_hangs_up_in_the_middle_leaves_nothing(server_tls: CountingTls) -> None:
    gate = Counted()
    server = WebSocketTransport(lambda: identity(1), limits=LIMITS, gate=gate, server_tls=server_tls)
    try:
        address = await server.listen(WebSocket(LOOPBACK, 0, secure=True))
        assert isinstance(address, WebSocket)
        for said in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(LOOPBACK, address.port)
            writer.write(said)
            writer.write_eof()
            await cut_off(reader)
            writer.close()
        async with asyncio.timeout(DEADLINE_S):
            await gate.nobody.wait()
        assert not server._handshakes
    finally:
        await server.close()


@pytest.mark.requirement("EXE-01")
async def test_peers_over_tls(certificate: Path, server_tls: CountingTls) -> None:
    client_tls = ssl.create_default_context(cafile=str(certificate))
    server = WebSocketTransport(lambda: identity(1), limits=LIMITS, server_tls=server_tls)
    client = WebSocketTransport(lambda: identity(2), limits=LIMITS, client_tls=client_tls)
    stranger = WebSocketTransport(lambda: identity(3), limits=LIMITS)
    try:
        address = await server.listen(WebSocket(LOOPBACK, 0, "/mesh", secure=True))
        assert str(address).startswith("wss://")
        peer = await client.connect(address, expected=peer_id(1))
        await client.send(peer, b"over TLS")
        assert (await until(server, DataReceived)).data == b"over TLS"
        with pytest.raises(Unreachable):
            await stranger.connect(address)
    finally:
        for transport in (server, client, stranger):
            await transport.close()


@pytest.mark.requirement("EXE-01")
async def test_one_socket_has_many_peers_at_its_path_only() -> None:
    async with ends("ws", 1, 2, 3) as (server, client, other):
        address = await server.listen(WebSocket(LOOPBACK, 0, "/mesh"))
        assert isinstance(address, WebSocket)
        with pytest.raises(Unreachable):
            await client.connect(WebSocket(LOOPBACK, address.port, "/elsewhere"))
        for transport, number in ((client, 2), (other, 3)):
            await transport.connect(address)
            assert (await until(server, Connected)).peer_id == peer_id(number)


async def test_tls_needs_a_certificate() -> None:
    async with ends("ws", 1) as (server,):
        with pytest.raises(WrongAddress):
            await server.listen(WebSocket(LOOPBACK, 0, secure=True))


async def test_who_pings_and_does_not_read_is_cut_off() -> None:
    # Not for want of a handshake.
    async with ends("ws", 1, limits=replace(LIMITS, handshake_s=10 * DEADLINE_S)) as (server,):
        address = await server.listen(WebSocket(LOOPBACK, 0))
        assert isinstance(address, WebSocket)
        with socket.create_connection((LOOPBACK, address.port)) as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            sock.setblocking(False)
            ping = (b"\x89\xfd" + bytes(4) + bytes(125)) * 500
            loop = asyncio.get_running_loop()
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(DEADLINE_S):
                    while True:
                        await loop.sock_sendall(sock, ping)
