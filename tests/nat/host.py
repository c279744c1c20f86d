"""One of the programs of test_punching.py, in its namespace: `node`, or `host NUMBER PEER ROUNDS`.

The hosts are connected to the node over TCP, and over that exchange what it takes to open a direct path.
"""

import asyncio
import json
import sys
import time

from namespaces import PUBLIC, PUBLIC_2

from bitrelay.errors import BitrelayError
from bitrelay.identity.local import LocalIdentity
from bitrelay.nat.kind import nat_kind
from bitrelay.nat.punch import PunchedPath
from bitrelay.nat.punch_transport import PunchTransport
from bitrelay.nat.rendezvous import RendezvousNode
from bitrelay.nat.stun_client import find_out
from bitrelay.nat.stun_server import StunServer
from bitrelay.transports.address import Tcp, Udp, Via
from bitrelay.transports.secure_transport import Limits
from bitrelay.transports.tcp import TcpTransport
from bitrelay.transports.transport import DataReceived, Disconnected
from tests.identity.mined import BITS, local_identity

STUN = Udp(PUBLIC, 3478)
NODE = Tcp(PUBLIC, 8765)
LIMITS = Limits(base=BITS)
DEADLINE_S = 25
PUNCH_S = 5


def identity(number: int) -> LocalIdentity:
    return local_identity(number, int(time.time()))


def tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


async def node() -> None:
    own = identity(0)
    transport = TcpTransport(lambda: own, limits=LIMITS)
    rendezvous = RendezvousNode(transport.send, transport.is_connected, time.monotonic)
    stun = await StunServer.open(STUN, Udp(PUBLIC_2, 3479))
    try:
        await transport.listen(NODE)
        tell(up=True)
        while True:
            event = await transport.next_event()
            if isinstance(event, DataReceived):
                await rendezvous.hear(event.peer_id, event.data)
    finally:
        stun.close()
        await transport.close()


async def host(number: int, peer: int, rounds: int) -> None:
    """The one without rounds waits; the other one punches and has so many messages come back."""
    own, other, helper = identity(number), identity(peer).keys.peer_id, identity(0).keys.peer_id
    kind = nat_kind(await find_out([STUN], timeout=0.6))
    to_node = TcpTransport(lambda: own, limits=LIMITS)
    direct = PunchTransport(to_node.send, lambda starts: PunchedPath(starts, STUN), lambda: own, limits=LIMITS)

    async def listen() -> None:
        while True:
            event = await to_node.next_event()
            if isinstance(event, DataReceived):
                await direct.hear(event.peer_id, event.data)

    listening = asyncio.create_task(listen())
    told: dict[str, object] = {"kind": kind.name}
    try:
        async with asyncio.timeout(DEADLINE_S):
            await direct.listen(Via(own.keys.peer_id, helper))
            await to_node.connect(NODE, expected=helper)
            tell(here=True)
            if rounds:
                await direct.connect(Via(other, helper), expected=other, timeout=PUNCH_S)
                told["echoed"] = await echoes(direct, other, rounds)
            else:
                await echo(direct)
    except BitrelayError as error:
        told["error"] = type(error).__name__
    finally:
        listening.cancel()
        await direct.close()
        await to_node.close()
    tell(**told)


async def echo(direct: PunchTransport) -> None:
    while not isinstance(event := await direct.next_event(), Disconnected):
        if isinstance(event, DataReceived):
            await direct.send(event.peer_id, event.data)


async def echoes(direct: PunchTransport, peer: bytes, rounds: int) -> int:
    echoed = 0
    for number in range(rounds):
        message = number.to_bytes(4, "big") * 1000
        await direct.send(peer, message)
        while not isinstance(event := await direct.next_event(), DataReceived):
            pass
        echoed += event == DataReceived(peer, message)
    return echoed


if __name__ == "__main__":
    if sys.argv[1] == "node":
        asyncio.run(node())
    else:
        asyncio.run(host(*map(int, sys.argv[2:])))
