"""Nodes among the computers in the mesh of a connected relay: found, and let find this one (packet type 0xB3).

Where two computers are in one mesh and each has a way to the internet, they need no first node that somebody runs. What
is found is an address to ask, no more: who is there has to prove it as everybody does.

    payload: nothing asks for nodes; else u8 addresses (1 to 4), each: u8 length (4 or 16), IP address, u16 port
"""

import asyncio
import ipaddress
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from shared_protocol.frame import ID_SIZE, MAX_TTL, TYPE_HOSTS, Header, encode

from ..errors import BitrelayError, TransportClosed
from ..transports.address import Udp
from ..transports.relay_port import RelayPort
from ..transports.token_bucket import TokenBucket

ASK_EVERY_S: Final = 600.0
"""Also when nobody answers: whoever comes later answers to his own question."""
ANSWER_AFTER_S: Final = 10.0
"""Since the last answer: it went to everybody."""
MOST_FOUND: Final = 64
TAKEN_PER_MIN: Final = 30

_MOST_ADDRESSES = 4


def encode_hosts(addresses: Sequence[Udp]) -> bytes:
    """The payload that tells of these; of more than four the first ones."""
    packed = [(ipaddress.ip_address(one.host).packed, one.port) for one in addresses[:_MOST_ADDRESSES]]
    return bytes((len(packed),)) + b"".join(
        bytes((len(host),)) + host + struct.pack(">H", port) for host, port in packed
    )


def decode_hosts(payload: bytes) -> tuple[Udp, ...]:
    """The addresses told of; none of a payload that is none, for any bytes."""
    if not payload or not 1 <= payload[0] <= _MOST_ADDRESSES:
        return ()
    found: list[Udp] = []
    at = 1
    for _ in range(payload[0]):
        size = payload[at] if at < len(payload) else 0
        end = at + 1 + size + 2
        if size not in (4, 16) or end > len(payload):
            return ()
        host = ipaddress.ip_address(payload[at + 1 : at + 1 + size])
        (port,) = struct.unpack_from(">H", payload, end - 2)
        if port and not (host.is_multicast or host.is_unspecified):
            found.append(Udp(str(host), port))
        at = end
    return tuple(found) if at == len(payload) else ()


class MeshDiscovery:
    """Asks and answers in the mesh of one relay, whose port this has from now on and closes.

    on_air_id: this computer's, 8 bytes. own: where this node is reached, as it is known now. Addresses that nobody
    takes in time are dropped, and counted.
    """

    def __init__(self, port: RelayPort, on_air_id: bytes, own: Callable[[], Sequence[Udp]]) -> None:
        self.dropped = 0
        self._port = port
        self._on_air_id = on_air_id
        self._own = own
        self._found: asyncio.Queue[Udp] = asyncio.Queue(MOST_FOUND)
        self._taken = TokenBucket(TAKEN_PER_MIN, TAKEN_PER_MIN / 60)
        self._answered_at = float("-inf")
        self._answer_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        begin = asyncio.get_running_loop().create_task
        self._tasks = [begin(self._listen()), begin(self._ask()), begin(self._answer())]

    async def next(self) -> Udp:
        """The next address at which a node is said to be. Waits for it. Raises TransportClosed when the relay has
        gone."""
        getting = asyncio.ensure_future(self._found.get())
        try:
            await asyncio.wait((getting, self._tasks[0]), return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
        finally:
            getting.cancel()
        raise TransportClosed("the relay has gone, and with it the way into the mesh")

    async def close(self) -> None:
        """Let go of the relay. Harmless when it is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._port.close()

    def hear(self, packet: bytes, header: Header, now: float) -> None:
        """Take a packet that the relay heard; header: its, parsed. now: seconds of a clock that does not go back."""
        if header.type != TYPE_HOSTS or header.original_size:
            return
        if packet[header.sender_at : header.sender_at + ID_SIZE] == self._on_air_id:
            return
        if not header.payload_len:
            if now - self._answered_at >= ANSWER_AFTER_S:
                self._answered_at = now
                self._answer_due.set()
            return
        for address in decode_hosts(packet[header.payload_at : header.payload_at + header.payload_len]):
            if self._found.full() or not self._taken.consume(now):
                self.dropped += 1
            else:
                self._found.put_nowait(address)

    async def _listen(self) -> None:
        header = Header()
        try:
            while True:
                packet = await self._port.receive()
                if header.parse(packet, len(packet)) > 0:
                    self.hear(packet, header, asyncio.get_running_loop().time())
        except BitrelayError:
            return  # next() tells

    async def _ask(self) -> None:
        while True:
            await self._send(b"")
            await asyncio.sleep(ASK_EVERY_S)

    async def _answer(self) -> None:
        while True:
            await self._answer_due.wait()
            self._answer_due.clear()
            if own := self._own():
                await self._send(encode_hosts(own))

    async def _send(self, payload: bytes) -> None:
        now_ms = time.time_ns() // 1_000_000
        try:
            await self._port.send(encode(TYPE_HOSTS, MAX_TTL, now_ms, self._on_air_id, payload))
        except BitrelayError:
            self.dropped += 1
