"""Somebody between two ends: passes on what goes by, or does with it what a test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from bitrelay.transports.address import Address, HostAddress

Tamper = Callable[[bool, int, bytes], list[bytes]]
"""Takes whether it goes to the listener, its number in that direction, and a chunk or datagram; gives what goes on."""


def honest(to_listener: bool, number: int, data: bytes) -> list[bytes]:
    return [data]


class Wire:
    """tamper: may be exchanged at any time. frozen: nothing goes through any more, and nobody is told."""

    def __init__(self, target: HostAddress, tamper: Tamper) -> None:
        self.target = target
        self.tamper = tamper
        self.frozen = False
        self.numbers = {True: 0, False: 0}
        self.port = 0

    @property
    def address(self) -> Address:
        """Where to dial instead of the target."""
        return replace(self.target, port=self.port)

    def passed(self, to_listener: bool, data: bytes) -> list[bytes]:
        if self.frozen:
            return []
        number = self.numbers[to_listener]
        self.numbers[to_listener] += 1
        return self.tamper(to_listener, number, data)


class StreamWire(Wire):
    def __init__(self, target: HostAddress, tamper: Tamper) -> None:
        super().__init__(target, tamper)
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        self.cut()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    def inject(self, data: bytes) -> None:
        """Say something to the listener of the latest connection."""
        self.writers[-1].write(data)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.tasks.append(asyncio.ensure_future(self._join(reader, writer)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self.target.host, self.target.port)
        self.writers.append(far_writer)
        await asyncio.gather(self._carry(reader, far_writer, True), self._carry(far_reader, writer, False))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_listener: bool) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                for part in self.passed(to_listener, chunk):
                    writer.write(part)
                await writer.drain()
        except OSError:
            pass
        if not self.frozen:
            writer.close()


class DatagramWire(Wire):
    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.front = self._socket()
        self.port = self.front.getsockname()[1]
        self.backs: dict[object, socket.socket] = {}
        self.loop.add_reader(self.front, self._from_dialler)

    async def stop(self) -> None:
        for sock in (self.front, *self.backs.values()):
            self.loop.remove_reader(sock)
            sock.close()

    def cut(self) -> None:
        self.frozen = True

    def inject(self, data: bytes) -> None:
        list(self.backs.values())[-1].sendto(data, (self.target.host, self.target.port))

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        return sock

    def _from_dialler(self) -> None:
        for data, place in _waiting(self.front):
            back = self.backs.get(place)
            if back is None:
                back = self.backs[place] = self._socket()
                self.loop.add_reader(back, self._from_listener, back, place)
            for part in self.passed(True, data):
                _send(back, part, (self.target.host, self.target.port))

    def _from_listener(self, back: socket.socket, place: tuple[str, int]) -> None:
        for data, _ in _waiting(back):
            for part in self.passed(False, data):
                _send(self.front, part, place)


def _waiting(sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    found = []
    for _ in range(64):
        try:
            found.append(sock.recvfrom(2048))
        except OSError:
            break
    return found


def _send(sock: socket.socket, data: bytes, place: tuple[str, int]) -> None:
    try:
        sock.sendto(data, place)
    except OSError:
        pass


@asynccontextmanager
async def wire(target: Address, tamper: Tamper = honest) -> AsyncIterator[StreamWire | DatagramWire]:
    """Something between a dialler and this address."""
    assert isinstance(target, HostAddress)
    made = (DatagramWire if target.scheme in ("udp", "quic") else StreamWire)(target, tamper)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
