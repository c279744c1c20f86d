"""Two ends of a connection over each medium, with identities that cost nothing to speak of."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from typing import TypeVar

import pytest

from bitrelay.identity.handshake_limit import HandshakeRate
from bitrelay.identity.local import LocalIdentity
from bitrelay.transports.address import Address, Mesh, parse
from bitrelay.transports.arq import ArqSettings
from bitrelay.transports.gate import Gate
from bitrelay.transports.link import Patience
from bitrelay.transports.mesh import MAX_SEGMENT, MeshTransport
from bitrelay.transports.open import transport_for
from bitrelay.transports.secure_transport import Limits, SecureTransport
from bitrelay.transports.transport import Connected, DataReceived, Event
from tests.identity.mined import BITS, local_identity
from tests.transports.bus import Bus

SCHEMES = ("tcp", "udp", "ws", "quic")
DEADLINE_S = 30.0
"""For what must happen; nothing is expected to take so long."""

every_transport = pytest.mark.parametrize("scheme", SCHEMES)
and_the_mesh = pytest.mark.parametrize("scheme", (*SCHEMES, "mesh"))
"""For what does not need somebody between the two."""

T = TypeVar("T", bound=Event)

LIMITS = Limits(base=BITS, handshakes=HandshakeRate(100_000, 100_000, 4096))
QUICK = replace(LIMITS, patience=Patience(alive_s=0.05, idle_s=0.3, goodbye_s=0.05))
"""Loses patience soon: for tests in which somebody is silent."""
TALKATIVE = replace(LIMITS, patience=Patience(alive_s=0.05, idle_s=3.0, goodbye_s=0.05))
"""Says something often, so that what is missing is noticed soon."""
CURT = replace(LIMITS, patience=Patience(goodbye_s=0.05))

# The bus's relays take no time.
_MESH_TIMES = ArqSettings(payload=MAX_SEGMENT, initial_timeout_s=0.1, min_timeout_s=0.05, max_timeout_s=0.5)
_mesh = [Bus()]


@cache
def identity(number: int) -> LocalIdentity:
    return local_identity(number, int(time.time()))


def peer_id(number: int) -> bytes:
    return identity(number).keys.peer_id


def anywhere(scheme: str, number: int = 1) -> Address:
    """An address to listen at: loopback, any port; in the mesh that of the one with this number."""
    if scheme == "mesh":
        return Mesh(peer_id(number))
    return parse(f"{scheme}://127.0.0.1:0")


def make(scheme: str, number: int, *, gate: Gate | None = None, limits: Limits = LIMITS) -> SecureTransport:
    if scheme == "mesh":
        return MeshTransport(_mesh[-1].port(), lambda: identity(number), gate=gate, limits=limits, settings=_MESH_TIMES)
    return transport_for(anywhere(scheme), lambda: identity(number), gate=gate, limits=limits)


@asynccontextmanager
async def ends(
    scheme: str, *numbers: int, limits: Limits = LIMITS, gate: Gate | None = None
) -> AsyncIterator[list[SecureTransport]]:
    """Transports that are closed afterwards; then nothing of them is left. gate: the first one's."""
    _mesh[:] = [Bus()]
    before = asyncio.all_tasks()
    made = [make(scheme, number, limits=limits, gate=None if at else gate) for at, number in enumerate(numbers)]
    try:
        yield made
    finally:
        for transport in made:
            await transport.close()
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        assert not left, left


async def until(transport: SecureTransport, kind: type[T], matches: Callable[[T], bool] = lambda event: True) -> T:
    """The next event of this kind; others are let pass."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            event = await transport.next_event()
            if isinstance(event, kind) and matches(event):
                return event


async def connected(server: SecureTransport, client: SecureTransport, scheme: str) -> tuple[bytes, bytes]:
    """Connect, and read both Connected; the PeerIds of server and client as the other one sees them."""
    address = await server.listen(anywhere(scheme))
    seen = await client.connect(address, timeout=DEADLINE_S)
    told = await until(client, Connected)
    assert told.peer_id == seen
    return seen, (await until(server, Connected)).peer_id


async def serves(server: SecureTransport, client: SecureTransport, address: Address) -> None:
    """A good peer is served."""
    peer = await client.connect(address, timeout=DEADLINE_S)
    await client.send(peer, b"well?")
    assert (await until(server, DataReceived)).data == b"well?"
