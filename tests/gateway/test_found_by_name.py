"""Gateways that know a node of the DHT and the name of each other's mesh, as they run: they link, and stand in."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bitrelay.dht.state_directory import StateDirectory
from bitrelay.gateway.config_file import load_config
from bitrelay.gateway.discovery import LIFETIME_S, NodeDht
from bitrelay.gateway.gateway_record import GatewayRecord, encode
from bitrelay.gateway.service import GatewayService
from bitrelay.gateway.told import Told
from bitrelay.transports.address import Address, Tcp
from shared_protocol import console, frame
from tests.dht.nodes import until
from tests.dht.test_service import give_identity, running
from tests.gateway.relays import HearingRelay
from tests.host.fake_relay import PtyRelay
from tests.identity.mined import BITS, keys_of
from tests.transports.ends import peer_id

FIRST, WEST, EAST, OTHER_EAST, STRANGER = 1, 2, 3, 4, 5
AUTHOR = b"somebody"

CONFIG = """
name = "gateway {number}"
state = "state"
difficulty = {bits}
[[mesh]]
name = "{mesh}"
relays = ["{port}"]
downlink = true
[federation]
listen = ["tcp://127.0.0.1:0"]
trust = [{trust}]
[dht]
listen = ["udp://127.0.0.1:0"]
bootstrap = ["{first}"]
{find}
[metrics]
listen = "off"
"""


class Running:
    """A gateway of its own folder, and the relay that it serves."""

    def __init__(self, service: GatewayService, relay: HearingRelay) -> None:
        self.service = service
        self.relay = relay

    @property
    def linked(self) -> set[bytes]:
        return {view.peer_id for view in self.service.gateway.exchange.gateways()}

    def hears(self, text: bytes) -> bytes:
        """Its relay hears this said now; the frame as it is to come into another mesh."""
        heard = frame.encode(frame.TYPE_MESSAGE, 7, time.time_ns() // 1_000_000, AUTHOR, text)
        self.relay.say(console.EVENT_FRAME, 0, {"conn": 1, "frame": heard, "verdict": "forward"})
        return heard[: frame.TTL] + bytes((6,)) + heard[frame.TTL + 1 :]

    def said(self) -> list[bytes]:
        """What its relay was given to send since it was asked last."""
        return [self.relay.said.get_nowait() for _ in range(self.relay.said.qsize())]


def written(folder: Path, number: int, mesh: str, port: str, first: Address, find: str) -> Path:
    """The file of a gateway that has its identity already, and trusts all the others but the stranger."""
    folder.mkdir()
    give_identity(folder / "state", number)
    trust = ", ".join(f'"{peer_id(each).hex()}"' for each in (WEST, EAST, OTHER_EAST) if each != number)
    sought = f'find = ["{find}"]' if find else ""
    path = folder / "gateway.toml"
    path.write_text(
        CONFIG.format(number=number, bits=BITS, mesh=mesh, port=port, trust=trust, first=first, find=sought)
    )
    return path


@asynccontextmanager
async def gateway(folder: Path, number: int, mesh: str, first: Address, find: str = "") -> AsyncIterator[Running]:
    """One that runs and has its relay. find: the name of the mesh that it is to find."""
    relay = HearingRelay()
    served = PtyRelay(relay)
    path = written(folder, number, mesh, served.port, first, find)
    config = load_config(path)
    assert config.state is not None
    directory = StateDirectory(config.state, time.time, "gateway")
    told: list[Told] = []
    service = GatewayService(path, config, directory, tell=told.append)
    try:
        await service.start()
        await until(lambda: any(link.is_up for links in service.gateway.relays.values() for link in links))
        yield Running(service, relay)
    finally:
        await service.stop()
        directory.close()
        served.close()


@pytest.mark.requirement("GWY-07", "GWY-19")
async def test_gateways_that_know_the_name_of_a_mesh_link_and_another_one_stands_in(tmp_path: Path) -> None:
    dialled: list[object] = []
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running(tmp_path / "first", number=FIRST))
        first = node.service.network.bound[0]
        trap = await asyncio.start_server(lambda *ends: dialled.append(ends), "127.0.0.1", 0)
        stack.push_async_callback(trap.wait_closed)
        stack.callback(trap.close)
        lying = GatewayRecord((Tcp("127.0.0.1", trap.sockets[0].getsockname()[1]),), downlink=True, capacity=60_000)
        await NodeDht(node.service, lambda: keys_of(STRANGER)).put("east", encode(lying), LIFETIME_S)

        easts, leaving = {}, {}
        for number in (EAST, OTHER_EAST):
            leaving[number] = await stack.enter_async_context(AsyncExitStack())
            easts[number] = await leaving[number].enter_async_context(
                gateway(tmp_path / str(number), number, "east", first)
            )
        west = await stack.enter_async_context(gateway(tmp_path / "west", WEST, "west", first, find="east"))
        await until(lambda: west.linked == {peer_id(EAST), peer_id(OTHER_EAST)})
        # Until the two of one mesh know of one another, too, what one brought in could come in by the other once more.
        await until(lambda: all(len(east.linked) == 2 for east in easts.values()))

        assert west.service.gateway.exchange.troubles() == {}

        expected = west.hears(b"hello")
        await until(lambda: any(east.relay.said.qsize() for east in easts.values()))
        (carrier,) = [number for number, east in easts.items() if east.said() == [expected]]
        other = EAST + OTHER_EAST - carrier
        expected = easts[other].hears(b"hello to you")
        await until(lambda: bool(west.relay.said.qsize()))
        assert west.said() == [expected]

        await leaving[carrier].aclose()
        expected = west.hears(b"still there?")
        await until(lambda: bool(easts[other].relay.said.qsize()))
        assert easts[other].said() == [expected]
        assert dialled == []
