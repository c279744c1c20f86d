"""Who is addressed in the mesh is reached in another mesh, too, when gateways join the two."""

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from bitrelay.bench.memory_mesh import MemoryLink, MemoryMesh
from bitrelay.transports.address import Mesh
from bitrelay.transports.mesh import MeshTransport
from bitrelay.transports.relay_port import RelayPort
from bitrelay.transports.transport import DataReceived
from tests.gateway import sites
from tests.transports.test_mesh import LIMITS, QUICK, identity, next_of, peer_id

ANNA, BELA = 1, 2
DEADLINE_S = 30.0


class PhonePort(RelayPort):
    """The way into a mesh in memory of somebody who is no gateway."""

    def __init__(self, mesh: MemoryMesh) -> None:
        self.peer_id = bytes(32)
        self._mesh = mesh
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        mesh.on_brought = self._hear

    @property
    def dropped(self) -> int:
        return 0

    async def send(self, frame: bytes) -> None:
        self._mesh.say(frame)

    async def receive(self) -> bytes:
        return await self._heard.get()

    async def close(self) -> None:
        pass

    def _hear(self, frame: bytes, by: MemoryLink) -> None:
        self._heard.put_nowait(frame)


@pytest.mark.requirement("TRN-09")
async def test_two_computers_in_two_meshes_talk_through_two_gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "wall_s", time.time)  # their frames say when they were sent
    async with sites.World(tmp_path, delay_s=0.001, radio_s=0.001) as world, AsyncExitStack() as stack:
        await world.add("tower", "west")
        await world.add("harbour", "east")
        ends = []
        for number, mesh in ((ANNA, "west"), (BELA, "east")):
            port = PhonePort(world.mesh(mesh))
            end = MeshTransport(port, partial(identity, number), limits=LIMITS, settings=QUICK)
            stack.push_async_callback(end.close)
            await end.listen(Mesh(peer_id(number)))
            ends.append(end)
        anna, bela = ends
        assert await anna.connect(Mesh(peer_id(BELA)), timeout=DEADLINE_S) == peer_id(BELA)
        messages = [bytes((number,)) * (1 + 97 * number) for number in range(8)]
        for message in messages:
            await anna.send(peer_id(BELA), message)
        for message in messages:
            assert await next_of(bela, DataReceived) == DataReceived(peer_id(ANNA), message)
        await bela.send(peer_id(ANNA), b"all of it came")
        assert await next_of(anna, DataReceived) == DataReceived(peer_id(BELA), b"all of it came")
        assert world.mesh("west").brought and world.mesh("east").brought
