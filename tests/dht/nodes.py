"""UDP networks on loopback for tests, some with faults, and one who asks by hand."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bitrelay.dht.endpoint import Endpoint
from bitrelay.dht.flood import FloodLimits
from bitrelay.dht.messages import Answer, Contact, FindNode, FindValue, Nodes, Ping, Pong, Question, Stored, Values
from bitrelay.dht.udp import UdpNetwork
from bitrelay.dht.wire import Datagram, Signer, peek, unseal
from bitrelay.identity.keys import IdentityKeys
from bitrelay.transports.address import Udp
from tests.identity.mined import BITS, keys_of, local_identity, record_of

LOOPBACK = Udp("127.0.0.1", 0)
DEADLINE_S = 20


@cache
def record(number: int) -> bytes:
    """The record of an identity that was mined just now, easily."""
    return record_of(local_identity(number, int(time.time())))


class LossyEndpoint(Endpoint):
    """Loses what it is told to: `loses` says of each datagram that would go out whether it does."""

    loses: Callable[[bytes], bool] = staticmethod(lambda datagram: False)

    def send(self, datagram: bytes, place: Udp) -> None:
        if not self.loses(datagram):
            super().send(datagram, place)


@dataclass
class Peer:
    """A node's network, and what it was asked."""

    network: UdpNetwork
    endpoint: LossyEndpoint
    keys: IdentityKeys
    asked: list[tuple[Contact | None, Question]] = field(default_factory=list)
    answers: Callable[[Question], Answer] | None = None

    @property
    def contact(self) -> Contact:
        return Contact(self.keys.peer_id, self.network.bound)

    async def answer(self, asker: Contact | None, question: Question) -> Answer:
        self.asked.append((asker, question))
        if self.answers is not None:
            return self.answers(question)
        match question:
            case Ping():
                return Pong()
            case FindNode():
                return Nodes(())
            case FindValue():
                return Values((), False, ())
        return Stored()


@asynccontextmanager
async def peer(
    number: int,
    *,
    address: Udp = LOOPBACK,
    shows: Callable[[], bytes | None] | None = None,
    limits: FloodLimits = FloodLimits(),
    base: int = BITS,
    **how: Any,
) -> AsyncIterator[Peer]:
    """A node of this number. shows: its record, if not its own."""
    keys = keys_of(number)
    own = record(number)
    endpoint = LossyEndpoint(keys, shows or (lambda: own), base=base, **how)
    network = UdpNetwork(endpoint, limits)
    made = Peer(network, endpoint, keys)
    network.serve(made.answer)
    await network.listen(address)
    try:
        yield made
    finally:
        await network.close()


class ByHand:
    """Somebody with keys and a socket, who asks datagram by datagram."""

    def __init__(self, number: int) -> None:
        self.keys = keys_of(number)
        self.signer = Signer(self.keys, time.time)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def place(self) -> Udp:
        return Udp(*self._socket.getsockname())

    def send(self, datagram: bytes, to: Peer) -> None:
        place = to.network.bound[0]
        self._socket.sendto(datagram, (place.host, place.port))

    async def receive(self) -> bytes:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self._socket, 2048), DEADLINE_S)

    async def exchange(self, datagram: bytes, to: Peer) -> tuple[Datagram, int]:
        """What comes back, and how long it is."""
        self.send(datagram, to)
        answer = await self.receive()
        return unseal(answer, peek(answer), self.keys.peer_id, time.time()), len(answer)

    def close(self) -> None:
        self._socket.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it does, with a deadline."""

    async def look() -> None:
        while not holds():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), DEADLINE_S)


async def all_of(*work: Awaitable[Any]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*work), DEADLINE_S)
