"""One of the programs of test_punching.py, in its namespace: `node`, or `host NAME PEER ROUNDS`.

The connection to the node is plain TCP: who a peer is and what is sealed on it is not what is shown here.
"""

import asyncio
import hashlib
import json
import sys
import time

from namespaces import PUBLIC, PUBLIC_2

from bitrelay.errors import BitrelayError, NotConnected
from bitrelay.nat.kind import nat_kind
from bitrelay.nat.punch import PunchedPath
from bitrelay.nat.rendezvous import Rendezvous, RendezvousNode
from bitrelay.nat.stun_client import find_out
from bitrelay.nat.stun_server import StunServer
from bitrelay.transports.address import Udp

STUN = Udp(PUBLIC, 3478)
PORT = 8765
DEADLINE_S = 25


def id_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


async def read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def write(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(2, "big") + message)


async def node() -> None:
    peers: dict[bytes, asyncio.StreamWriter] = {}

    async def send(peer: bytes, message: bytes) -> None:
        if peer not in peers:
            raise NotConnected("gone", device=peer.hex())
        write(peers[peer], message)

    rendezvous = RendezvousNode(send, peers.__contains__, time.monotonic)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = await read(reader)
        peers[peer] = writer
        print(json.dumps({"came": peer.hex()}), flush=True)
        try:
            while True:
                await rendezvous.hear(peer, await read(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            peers.pop(peer, None)
            writer.close()

    stun = await StunServer.open(STUN, Udp(PUBLIC_2, 3479))
    server = await asyncio.start_server(serve, PUBLIC, PORT)
    print(json.dumps({"up": True}), flush=True)
    async with server:
        try:
            await server.serve_forever()
        finally:
            stun.close()


async def host(name: str, peer: str, rounds: int) -> None:
    """The one without rounds waits; the other one punches and has so many datagrams come back."""
    found = await find_out([STUN], timeout=0.6)
    reader, writer = await asyncio.open_connection(PUBLIC, PORT)
    write(writer, id_of(name))
    done = asyncio.Event()

    async def send(_node: bytes, message: bytes) -> None:
        write(writer, message)

    async def echo(_peer: bytes, path: PunchedPath) -> None:
        try:
            while (datagram := await path.receive()) != b"done":
                await path.send(datagram)
        finally:
            await path.close()
            done.set()

    rendezvous = Rendezvous(send, lambda starts: PunchedPath(starts, STUN), on_path=echo)

    async def listen() -> None:
        while True:
            await rendezvous.hear(b"", await read(reader))

    listening = asyncio.create_task(listen())
    told: dict[str, object] = {"kind": nat_kind(found).name}
    print(json.dumps({"here": True}), flush=True)
    try:
        async with asyncio.timeout(DEADLINE_S):
            if rounds:
                told["echoed"] = await punch(rendezvous, peer, rounds)
            else:
                await done.wait()
    except BitrelayError as error:
        told["error"] = type(error).__name__
    finally:
        listening.cancel()
        await rendezvous.close()
        writer.close()
    print(json.dumps(told), flush=True)


async def punch(rendezvous: Rendezvous, peer: str, rounds: int) -> int:
    path = await rendezvous.punch(b"", id_of(peer), timeout=5)
    echoed = 0
    try:
        for number in range(rounds):
            datagram = number.to_bytes(4, "big") * 100
            await path.send(datagram)
            echoed += await path.receive() == datagram
        await path.send(b"done")
    finally:
        await path.close()
    return echoed


if __name__ == "__main__":
    if sys.argv[1] == "node":
        asyncio.run(node())
    else:
        asyncio.run(host(sys.argv[2], sys.argv[3], int(sys.argv[4])))
