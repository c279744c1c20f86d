"""Strangers, and somebody in between: the same tests for TCP, UDP, WebSocket and QUIC."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bitrelay.errors import (
    DeviceLost,
    DeviceTimeout,
    HandshakeFailed,
    HandshakeFault,
    NotConnected,
    Unreachable,
)
from bitrelay.identity.handshake_limit import HandshakeRate
from bitrelay.transports.address import Address
from bitrelay.transports.arq import ArqSettings
from bitrelay.transports.pipe import Medium, Pipe
from bitrelay.transports.quic import QuicMedium, QuicPipe
from bitrelay.transports.tcp import StreamPipe, TcpMedium
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Failed
from bitrelay.transports.udp import UdpMedium
from bitrelay.transports.websocket import WebSocketMedium
from tests.transports.ends import (
    CURT,
    DEADLINE_S,
    LIMITS,
    QUICK,
    TALKATIVE,
    anywhere,
    ends,
    every_transport,
    peer_id,
    serves,
    until,
)
from tests.transports.proxies import Tamper, wire


def altered(to_listener: bool, number: int, data: bytes) -> list[bytes]:
    return [data[: len(data) // 2] + bytes((data[len(data) // 2] ^ 1,)) + data[len(data) // 2 + 1 :]]


def repeated(to_listener: bool, number: int, data: bytes) -> list[bytes]:
    return [data, data]


def shortened(to_listener: bool, number: int, data: bytes) -> list[bytes]:
    return [data[: len(data) // 2]]


def left_out(to_listener: bool, number: int, data: bytes) -> list[bytes]:
    return []


def swapped() -> Tamper:
    held: list[bytes] = []

    def swap(to_listener: bool, number: int, data: bytes) -> list[bytes]:
        if not held:
            held.append(data)
            return []
        return [data, held.pop()]

    return swap


def from_on(first: int, tamper: Tamper, every: int = 1, *, to: bool = True) -> Tamper:
    """Does that with what goes to the listener (or else the dialler) from that number on."""

    def passed(to_listener: bool, number: int, data: bytes) -> list[bytes]:
        meant = to_listener is to and number >= first and (number - first) % every == 0 and data
        return tamper(to_listener, number, data) if meant else [data]

    return passed


TAMPERS: dict[str, Callable[[], Tamper]] = {
    "alters": lambda: altered,
    "repeats": lambda: repeated,
    "shortens": lambda: shortened,
    "leaves out": lambda: left_out,
    "swaps": swapped,
}


@pytest.mark.requirement("SEC-11", "SEC-12")
@every_transport
@pytest.mark.parametrize("to_listener", [True, False], ids=["to the listener", "to the dialler"])
@pytest.mark.parametrize("does", TAMPERS)
async def test_nothing_that_somebody_between_makes_is_taken_for_the_peers(
    scheme: str, does: str, to_listener: bool
) -> None:
    said = [b"%d" % number * 700 for number in range(60)]
    async with (
        ends(scheme, 1, 2, limits=TALKATIVE) as (server, client),
        wire(await server.listen(anywhere(scheme))) as between,
    ):
        await client.connect(between.address)
        await until(server, Connected)
        speaker, hearer, names = (client, server, (2, 1)) if to_listener else (server, client, (1, 2))
        await speaker.send(peer_id(names[1]), said[0])
        heard = [(await until(hearer, DataReceived)).data]
        between.tamper = from_on(between.numbers[to_listener], TAMPERS[does](), every=7, to=to_listener)

        async def say() -> None:
            try:
                for data in said[1:]:
                    await speaker.send(peer_id(names[1]), data)
            except (DeviceLost, NotConnected):
                pass

        telling = asyncio.create_task(say())
        async with asyncio.timeout(DEADLINE_S):
            while len(heard) < len(said):
                event = await hearer.next_event()
                assert not isinstance(event, Connected | DataReceived) or event.peer_id == peer_id(names[0])
                if isinstance(event, DataReceived):
                    heard.append(event.data)
                elif isinstance(event, Disconnected):
                    assert event.reason in (Ended.MISBEHAVED, Ended.LOST)
                    break
        assert heard == said[: len(heard)]
        # Datagrams that are repeated, swapped or lost are made good.
        assert len(heard) < len(said) or scheme in ("udp", "quic")
        await speaker.disconnect(peer_id(names[1]))
        await telling


@pytest.mark.requirement("SEC-11")
@every_transport
@pytest.mark.parametrize("at", range(4))
async def test_a_handshake_that_was_tampered_with_brings_nobody(scheme: str, at: int) -> None:
    async with (
        ends(scheme, 1, 2, limits=replace(QUICK, handshake_s=0.3)) as (server, client),
        wire(await server.listen(anywhere(scheme)), from_on(at, altered, every=1000)) as between,
    ):
        try:
            seen = await client.connect(between.address, timeout=0.3)
            # Where the medium sends again what was damaged, it comes about all the same.
            assert seen == peer_id(1)
        except (HandshakeFailed, DeviceTimeout, Unreachable):
            pass
        assert set(server.connected_peers()) <= {peer_id(2)}


@pytest.mark.requirement("SEC-11", "SEC-12")
@every_transport
async def test_who_ends_the_handshake_in_between_is_seen_as_itself(scheme: str) -> None:
    async with ends(scheme, 1, 2, 9) as (server, client, between):
        await server.listen(anywhere(scheme))
        address = await between.listen(anywhere(scheme))
        with pytest.raises(HandshakeFailed):
            await client.connect(address, expected=peer_id(1))
        assert await client.connect(address) == peer_id(9)


GARBAGE = [b"\0", b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", random.Random(7).randbytes(1200), bytes(5000)]


@every_transport
async def test_garbage_instead_of_a_handshake_harms_nobody(scheme: str) -> None:
    async with ends(scheme, 1, 2, limits=replace(LIMITS, handshake_s=0.5)) as (server, client):
        address = await server.listen(anywhere(scheme))
        port = int(str(address).rpartition(":")[2].rstrip("/"))
        for junk in GARBAGE:
            kind = socket.SOCK_DGRAM if scheme in ("udp", "quic") else socket.SOCK_STREAM
            with socket.socket(type=kind) as sock:
                sock.connect(("127.0.0.1", port))
                sock.send(junk)
        await serves(server, client, address)


@every_transport
async def test_garbage_in_a_connection_ends_at_most_that_one(scheme: str) -> None:
    async with ends(scheme, 1, 2, 3, limits=CURT) as (server, client, other):
        address = await server.listen(anywhere(scheme))
        async with wire(address) as between:
            await client.connect(between.address)
            await other.connect(address)
            for junk in GARBAGE:
                between.inject(junk[:1200])
            if scheme in ("tcp", "ws"):
                assert (await until(server, Disconnected)).peer_id == peer_id(2)
            await other.send(peer_id(1), b"well?")
            assert await until(server, DataReceived) == DataReceived(peer_id(3), b"well?")
            assert server.is_connected(peer_id(3))


@asynccontextmanager
async def raw_pipes(address: Address, count: int = 1) -> AsyncIterator[list[Pipe]]:
    """Pipes to there, without any security, and with none of our own limits."""
    medium: Medium = {
        "tcp": TcpMedium,
        "udp": lambda: UdpMedium(ArqSettings(max_message=200_000)),
        "ws": WebSocketMedium,
        "quic": QuicMedium,
    }[address.scheme]()
    pipes: list[Pipe] = []
    try:
        for _ in range(count):
            pipes.append(await medium.open(address))
        yield pipes
    finally:
        for pipe in pipes:
            pipe.abort()
        await medium.close()


def say_too_much(pipe: Pipe, size: int) -> None:
    if isinstance(pipe, StreamPipe):
        pipe._writer.write(size.to_bytes(4, "big") + bytes(min(size, 70_000)))
    elif isinstance(pipe, QuicPipe):
        pipe._protocol.send(size.to_bytes(4, "big") + bytes(min(size, 70_000)))
    else:
        pipe.put(bytes(min(size, 100_000)))


@every_transport
@pytest.mark.parametrize("size", [1200, 70_000, 0x7FFFFFFF])
async def test_a_length_beyond_the_limit_ends_the_connection(scheme: str, size: int) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        address = await server.listen(anywhere(scheme))
        async with raw_pipes(address) as (pipe,):
            say_too_much(pipe, size)
            error = (await until(server, Failed)).error
            assert isinstance(error, HandshakeFailed) and error.fault is HandshakeFault.TOO_LONG
        await serves(server, client, address)


@every_transport
@pytest.mark.parametrize("says", [b"something", b""], ids=["says something", "says nothing"])
async def test_who_only_holds_a_place_gives_way(scheme: str, says: bytes) -> None:
    limits = replace(LIMITS, max_handshakes=4, handshake_s=DEADLINE_S)
    async with ends(scheme, 1, 2, limits=limits) as (server, client):
        address = await server.listen(anywhere(scheme))
        async with raw_pipes(address, 8) as pipes:
            for pipe in pipes:
                if says:
                    pipe.put(says)
            await serves(server, client, address)
            assert len(server._handshakes) <= 4
            # Garbage ends a handshake by itself.
            assert says or server.refused["max_handshakes"] >= 5


async def test_failures_that_nobody_reads_are_bounded() -> None:
    async with ends("tcp", 1, 2) as (server, client):
        address = await server.listen(anywhere("tcp"))
        async with raw_pipes(address, 100) as pipes:
            for pipe in pipes:
                pipe.put(b"no hello")
            for pipe in pipes:
                with pytest.raises(DeviceLost):
                    while True:
                        await pipe.receive(1000)
        await serves(server, client, address)
        assert server._events.dropped == 36


@every_transport
async def test_one_address_gets_so_many_handshakes(scheme: str) -> None:
    limits = replace(LIMITS, handshakes=HandshakeRate(2, 100, 10))
    async with ends(scheme, 1, 2, limits=limits) as (server, client):
        address = await server.listen(anywhere(scheme))
        for _ in range(2):
            await client.disconnect(await client.connect(address))
        with pytest.raises((HandshakeFailed, Unreachable, DeviceTimeout)):
            await client.connect(address, timeout=0.3)
        assert server.refused["handshake_rate"] >= 1


@every_transport
async def test_a_pipe_that_is_being_closed_takes_no_more(scheme: str) -> None:
    async with ends(scheme, 1) as (server,), raw_pipes(await server.listen(anywhere(scheme))) as (pipe,):
        pipe.put(b"something")
        closing = asyncio.create_task(pipe.close())
        await asyncio.sleep(0)
        with pytest.raises(DeviceLost):
            await pipe.room()
        pipe.put(b"too late, and harmless")
        await closing
        with pytest.raises(DeviceLost):
            await pipe.room()
