"""Two computers, each on the cable of a relay at one end of a line, talk in secret through the mesh between them."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from relays import DEADLINE_S, on_air_id

from bitrelay.identity.handshake_limit import HandshakeRate
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, Scenario
from bitrelay.transports.address import Mesh, Serial
from bitrelay.transports.link import Patience
from bitrelay.transports.mesh import MeshTransport
from bitrelay.transports.relay_port import ConsolePort
from bitrelay.transports.secure_transport import Limits
from bitrelay.transports.transport import Connected, DataReceived, Event
from tests.identity.mined import BITS, local_identity

LINE = Scenario(
    boards=(BoardSpec("west"), BoardSpec("middle"), BoardSpec("east")),
    edges=(Edge("west", "middle"), Edge("middle", "east")),
)
LIMITS = Limits(base=BITS, handshake_s=30.0, handshakes=HandshakeRate(), patience=Patience(60.0, 180.0, 300.0))
MESSAGES = 20


async def next_of(transport: MeshTransport, kind: type[Event]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        while not isinstance(event := await transport.next_event(), kind):
            pass
        return event


@pytest.mark.requirement("TRN-09")
async def test_two_computers_talk_through_three_relays() -> None:
    async with Lab(LINE) as lab, AsyncExitStack() as stack:
        await lab.ready()
        ends = []
        for number, name in enumerate(("west", "east"), 1):
            board = lab.boards[name]
            await on_air_id(board)
            own = local_identity(number, int(time.time()))
            transport = MeshTransport(await ConsolePort.open(Serial(board.port)), lambda own=own: own, limits=LIMITS)  # type: ignore[misc]
            stack.push_async_callback(transport.close)
            await transport.listen(Mesh(own.keys.peer_id))
            ends.append((transport, own.keys.peer_id))
        (west, anna), (east, bela) = ends
        assert await west.connect(Mesh(bela), timeout=DEADLINE_S) == bela
        assert await next_of(east, Connected) == Connected(anna, Mesh(anna), inbound=True)
        messages = [bytes((number,)) * (1 + 97 * number) for number in range(MESSAGES)]
        for message in messages:
            await west.send(bela, message)
        for message in messages:
            assert await next_of(east, DataReceived) == DataReceived(anna, message)
        await east.send(anna, b"all of it came")
        assert await next_of(west, DataReceived) == DataReceived(bela, b"all of it came")
