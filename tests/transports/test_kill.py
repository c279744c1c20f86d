"""A listener whose process is killed, and one that comes back."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bitrelay.transports.address import parse
from bitrelay.transports.link import Patience
from bitrelay.transports.transport import Disconnected, Ended
from tests.transports.ends import DEADLINE_S, LIMITS, SCHEMES, make, peer_id, until

ROOT = Path(__file__).resolve().parents[2]

LISTENER = """
import asyncio, sys
from tests.transports.ends import SCHEMES, anywhere, make

async def main():
    made = [make(scheme, 1) for scheme in SCHEMES]
    print(*[await each.listen(anywhere(scheme)) for each, scheme in zip(made, SCHEMES)], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
async def test_a_peer_whose_process_is_killed_is_lost() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTENER, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    limits = replace(LIMITS, patience=Patience(alive_s=0.05, idle_s=1.0, goodbye_s=0.05))
    clients = [make(scheme, 2, limits=limits) for scheme in SCHEMES]
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            addresses = (await process.stdout.readline()).decode().split()
        for client, address in zip(clients, addresses, strict=True):
            assert await client.connect(parse(address)) == peer_id(1)
        process.send_signal(signal.SIGKILL)
        for client in clients:
            assert await until(client, Disconnected) == Disconnected(peer_id(1), Ended.LOST)
            assert not client.connected_peers()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        for client in clients:
            await client.close()
