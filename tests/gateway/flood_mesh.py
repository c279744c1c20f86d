"""A hostile gateway floods a mesh over ours; what do the people in the mesh notice? Run as a command it measures.

python tests/gateway/flood_mesh.py [--seconds 30] [--rate 20] [--budget 30]

A line of lab relays with a phone at each end and our gateway on the one in the middle. Local frames go both ways all
the time; after as long again a gateway that we are linked with, and trust, sends 1,000 frames a second for the mesh.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bitrelay.bench.gateway_traffic import public_frames
from bitrelay.errors import BitrelayError
from bitrelay.gateway.config import DownlinkConfig, FederationConfig, GatewayConfig, MeshConfig, PeerConfig
from bitrelay.gateway.gateway import Gateway
from bitrelay.gateway.link_exchange import LinkExchange
from bitrelay.gateway.message import FrameMessage, Hello, MeshOffer
from bitrelay.gateway.relay_link import PortLink
from bitrelay.gateway.relay_opening import SerialOpening
from bitrelay.gateway.store import FrameStore
from bitrelay.gateway.told import Throttled, Told
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, run_flow
from bitrelay.mesh.relay_ledger import RelayLedger
from bitrelay.transports.address import Serial, Tcp
from bitrelay.transports.fair_queue import Traffic
from tests.identity.mined import BITS, local_identity

FLOOD_PER_S = 1000
SETTLE_S = 3.0


@dataclass(frozen=True)
class FloodFigures:
    """before, during: share of the local frames that arrived. flooded: frames sent by the hostile gateway; entered: of
    those, sent into the mesh; named: as what our gateway named the flooder, None if it did not."""

    before: float
    during: float
    flooded: int
    entered: int
    refused: int
    named: str | None


def line(relays: int) -> Scenario:
    names = ("alice", *(f"r{number}" for number in range(relays)), "bob")
    return Scenario(
        boards=tuple(map(BoardSpec, names[1:-1])),
        phones=(PhoneSpec("alice", "ios", announce=False), PhoneSpec("bob", "android", announce=False)),
        edges=tuple(Edge(a, b) for a, b in zip(names, names[1:], strict=False)),
    )


async def measure(relays: int, seconds: float, rate: float, budget: int) -> FloodFigures:
    now = int(time.time())
    ours, hostile = local_identity(1, now), local_identity(2, now)
    both = frozenset((ours.keys.peer_id, hostile.keys.peer_id))
    told: list[Told] = []
    async with Lab(line(relays), advertise=False) as lab, AsyncExitStack() as stack:
        await lab.ready()
        folder = Path(stack.enter_context(TemporaryDirectory()))
        exchange = LinkExchange(
            lambda: ours, FederationConfig(listen=(Tcp("127.0.0.1", 0),), trust=both), difficulty=BITS
        )
        port = lab.boards[f"r{relays // 2}"].port
        link = PortLink("r", SerialOpening(Serial(port)).opened)
        link.start()
        mesh = MeshConfig("village", (Serial(port),), downlink=DownlinkConfig(enabled=True, frames_per_minute=budget))
        config = GatewayConfig("ours", (mesh,), metrics=None)
        gateway = Gateway(
            ours.keys.peer_id, config, exchange, {"village": [link]},
            FrameStore(folder / "frames.sqlite", config.store, time.time),
            RelayLedger(folder / "ledger.sqlite", ours.keys, time.time),
            tell=told.append, clock=time.time,
        )  # fmt: skip
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        peers = (PeerConfig(exchange.bound[0], ours.keys.peer_id),)
        flooder = LinkExchange(lambda: hostile, FederationConfig(peers=peers, trust=both), difficulty=BITS)
        await flooder.start(Hello("hostile", (MeshOffer("elsewhere"),)))
        stack.push_async_callback(flooder.stop)
        await flooder.next_event()
        before = await local(lab, seconds, rate, 1)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for value in public_frames(10**9, authors=1000):
                try:
                    await flooder.send(
                        ours.keys.peer_id, FrameMessage("elsewhere", "village", value), Traffic.INTERACTIVE
                    )
                except BitrelayError:
                    await asyncio.sleep(0.1)
                sent += 1
                if sent % 10 == 0:
                    await asyncio.sleep(max(0.0, start + sent / FLOOD_PER_S - loop.time()))

        loop = asyncio.get_running_loop()
        start = loop.time()
        flooding = asyncio.create_task(flood())
        during = await local(lab, seconds, rate, 2)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        names = [each.name for each in told if isinstance(each, Throttled)]
        entered = gateway.numbers.frames["down", Traffic.INTERACTIVE]
        refused = gateway.numbers.peer(hostile.keys.peer_id).refused
        return FloodFigures(before, during, sent, entered, refused, names[0] if names else None)


async def local(lab: Lab, seconds: float, rate: float, seed: int) -> float:
    """The share of frames that arrive from phone to phone."""
    before = lab.ledger.report()
    count = int(seconds * rate)
    flows = [Flow(a, (b,), count=count, rate=rate) for a, b in (("alice", "bob"), ("bob", "alice"))]
    try:
        async with asyncio.timeout(seconds + SETTLE_S):
            await asyncio.gather(*(run_flow(flow, lab.phones, lab.ledger, seed) for flow in flows))
    except TimeoutError:
        pass
    after = lab.ledger.report()
    return (after.delivered - before.delivered) / max(1, after.sent - before.sent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relays", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--budget", type=int, default=30)
    options = parser.parse_args()
    random.seed(1)
    figures = asyncio.run(measure(options.relays, options.seconds, options.rate, options.budget))
    print(json.dumps(asdict(figures)))
    sys.exit(0 if figures.during >= 0.95 * figures.before and figures.named else 1)
