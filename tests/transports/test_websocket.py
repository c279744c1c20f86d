"""What is WebSocket's own: TLS, the path, and answers to pings that nobody reads."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bitrelay.errors import Unreachable, WrongAddress
from bitrelay.transports.address import WebSocket
from bitrelay.transports.transport import Connected, DataReceived
from bitrelay.transports.websocket import WebSocketTransport
from tests.transports.ends import DEADLINE_S, LIMITS, ends, identity, peer_id, until

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


@pytest.mark.requirement("EXE-01")
async def test_peers_over_tls(certificate: Path) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate)
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
