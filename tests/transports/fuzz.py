"""Feeds mutated datagrams and stream frames to the listening end of every transport over the internet, in process.

    python tests/transports/fuzz.py --count 1000000 [--seed 1] [--transport udp]

What is mutated was said by a real dialler. Fails if a handler raises, something is logged as a fault, or memory grows.
"""

import argparse
import asyncio
import logging
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bitrelay.identity.handshake_limit import HandshakeRate
from bitrelay.transports.arq import Arq
from bitrelay.transports.credit_stream import MessageStream
from bitrelay.transports.link import Patience
from bitrelay.transports.quic import QuicMedium
from bitrelay.transports.secure_transport import SecureTransport
from bitrelay.transports.tcp import TcpMedium
from bitrelay.transports.transport import DataReceived
from bitrelay.transports.udp import UdpMedium
from bitrelay.transports.udp_wire import CONNECT, HEADER_SIZE, ID_SIZE, OPEN, header, opening
from bitrelay.transports.websocket import WebSocketMedium
from tests.transports.ends import LIMITS, anywhere, ends, until
from tests.transports.proxies import wire

MOST_GROWTH = 24 << 20
"""Bytes that the process may take more at the end than after its first tenth."""

FUZZED = replace(
    LIMITS,
    handshakes=HandshakeRate(10**9, 10**9, 1024),
    max_handshakes=64,
    handshake_s=1.0,
    patience=Patience(goodbye_s=0.05),
)


async def recorded(scheme: str) -> list[bytes]:
    """What a dialler says: chunks or datagrams, the handshake and some messages."""
    said: list[bytes] = []

    def keep(to_listener: bool, number: int, data: bytes) -> list[bytes]:
        if to_listener:
            said.append(data)
        return [data]

    async with (
        ends(scheme, 1, 2, limits=FUZZED) as (server, client),
        wire(await server.listen(anywhere(scheme)), keep) as between,
    ):
        peer = await client.connect(between.address)
        for size in (1, 100, 5000):
            await client.send(peer, bytes(size))
            await until(server, DataReceived)
    return said


def mutated(data: bytes, source: random.Random) -> bytes:
    """The same with some of it flipped, cut, repeated, put in or overwritten; or as it was."""
    changed = bytearray(data)
    for _ in range(source.randrange(4)):
        at = source.randrange(len(changed) + 1)
        match source.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = source.randbytes(source.randrange(1, 20))
            case 3:
                changed[at : at + 4] = source.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
            case _:
                changed[at:at] = changed[source.randrange(len(changed) + 1) :][:40]
    return bytes(changed)


class Memory(asyncio.Transport):
    """The far end of a stream that nobody listens at."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 8)})
        self.protocol: Any = None
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def writelines(self, list_of_data: Any) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


Feed = Callable[[random.Random], int]
"""Feeds some frames; how many."""


def stream_feed(server: SecureTransport, corpus: list[bytes]) -> Feed:
    medium = server._medium
    assert isinstance(medium, TcpMedium | WebSocketMedium)
    listening: Any = medium._servers[0]
    # The library's server has asyncio's within.
    factory: Any = getattr(listening, "server", listening)

    before: list[Memory] = []

    def feed(source: random.Random) -> int:
        # The one before has had its turn.
        while before:
            before.pop().abort()
        transport = Memory()
        transport.protocol = factory._protocol_factory()
        transport.protocol.connection_made(transport)
        before.append(transport)
        kept = source.randrange(len(corpus))
        for fed, chunk in enumerate(corpus):
            if transport.closed:
                return fed or 1
            transport.protocol.data_received(chunk if fed < kept else mutated(chunk, source))
        return len(corpus)

    return feed


def udp_feed(server: SecureTransport, corpus: list[bytes]) -> Feed:
    assert isinstance(server._medium, UdpMedium)
    _, connections = server._medium._sockets[0]
    answers: list[bytes] = []
    connections.send = lambda datagram, place: answers.append(datagram)

    def feed(source: random.Random) -> int:
        place, connection = ("127.0.0.1", source.randrange(1, 65536)), source.randbytes(ID_SIZE)
        answers.clear()
        connections.on_datagram(opening(connection), place)
        connections.on_datagram(header(CONNECT, connection) + answers[-1][HEADER_SIZE:], place)
        for said in corpus:
            if said[0] in (OPEN, CONNECT) and source.randrange(4):
                continue
            changed = mutated(said, source)
            if source.randrange(8):
                changed = changed[:1] + connection + changed[HEADER_SIZE:]
            answers.clear()
            connections.on_datagram(changed, place)
            assert sum(map(len, answers)) <= max(len(changed), HEADER_SIZE), "an answer is longer than its question"
        connections.on_batch_end()
        for pipe in list(connections.pipes.values())[:-64]:
            pipe.abort()
        return len(corpus) + 2

    return feed


def quic_feed(server: SecureTransport, corpus: list[bytes]) -> Feed:
    assert isinstance(server._medium, QuicMedium)
    protocol = server._medium._servers[0]

    def feed(source: random.Random) -> int:
        place = ("127.0.0.1", source.randrange(1, 65536))
        for said in corpus:
            protocol.datagram_received(mutated(said, source), place)
        return len(corpus)

    return feed


def inner_feed(corpus: list[bytes]) -> Feed:
    """What is behind QUIC's own encryption, and the acknowledged datagrams alone: nothing has checked it before."""

    def feed(source: random.Random) -> int:
        stream, arq = MessageStream(), Arq(0.0)
        for at, said in enumerate(corpus):
            changed = mutated(said, source)
            stream.feed(changed)
            while stream.messages:
                stream.read(stream.messages.popleft())
            arq.on_datagram(changed, at * 0.01)
            arq.poll(at * 0.01)
            arq.receive()
        return 2 * len(corpus)

    return feed


def memory() -> int:
    """Of this process, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        # Where there is no /proc, the most there ever was.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Faults(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


async def fuzz(scheme: str, count: int, seed: int) -> dict[str, float]:
    """Feed so many frames to one transport. Raises AssertionError."""
    source = random.Random(f"{seed} {scheme}")
    corpus = await recorded(scheme if scheme != "inner" else "udp")
    faults = Faults()
    logging.getLogger().addHandler(faults)
    began = time.monotonic()
    fed, first = 0, 0
    try:
        async with ends(scheme if scheme != "inner" else "tcp", 1, limits=FUZZED) as (server,):
            feeds = {"tcp": stream_feed, "ws": stream_feed, "udp": udp_feed, "quic": quic_feed}
            if scheme == "inner":
                feed = inner_feed([said[HEADER_SIZE:] for said in corpus if len(said) > HEADER_SIZE])
            else:
                await server.listen(anywhere(scheme))
                feed = feeds[scheme](server, corpus)
            while fed < count:
                fed += feed(source)
                for _ in range(3):
                    await asyncio.sleep(0)
                if not first and fed >= count / 10:
                    first = memory()
            grown = memory() - first
            assert not server.connected_peers(), "a peer came of it"
            dropped = {name for name in server._medium.dropped if name.startswith("fault")}
            assert not dropped, dropped
    finally:
        logging.getLogger().removeHandler(faults)
    assert not faults.seen, "\n".join(faults.seen[:5])
    assert grown < MOST_GROWTH, f"memory grew by {grown} bytes"
    return {"frames": fed, "seconds": round(time.monotonic() - began, 1), "grown_kib": grown >> 10}


TRANSPORTS = ("tcp", "udp", "ws", "quic", "inner")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--count", type=int, default=10_000, help="frames, of all transports together")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--transport", choices=TRANSPORTS, action="append")
    given = options.parse_args()
    chosen = given.transport or TRANSPORTS
    for scheme in chosen:
        print(scheme, asyncio.run(fuzz(scheme, given.count // len(chosen), given.seed)), flush=True)


if __name__ == "__main__":
    main()
