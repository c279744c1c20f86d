"""What a flood of questions does to a node and a peer that it knows: real datagrams, from one address and from many."""

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import quantiles
from typing import Final

from ..dht.flood import FloodLimits
from ..dht.messages import FindNode
from ..errors import BitrelayError, BrokenInstallation
from .local_nodes import LocalNode, start_node

_PACE_S: Final = 0.01
_ASK_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """How a known peer was served: its questions a hundred a second. flooded: questions of others, each second.

    lost: questions without an answer; dropped: of others; grown_kib: how much more memory this process needed.
    """

    what: str
    flooded: float
    asked: int
    lost: int
    median_ms: float
    p95_ms: float
    dropped: int
    grown_kib: int


async def run_flood(
    rate: int = 1000, seconds: float = 10.0, addresses: Sequence[int] = (1, 1000), tell: Callable[[str], None] = print
) -> list[Served]:
    """Measure idle, and under floods of this rate from so many addresses; more than one on Linux alone.

    Raises BrokenInstallation.
    """
    random = Random(1)
    node = await start_node(random, _ASK_TIMEOUT_S, FloodLimits())
    peer = await start_node(random, _ASK_TIMEOUT_S, FloodLimits())
    try:
        await peer.network.ask(node.network.contact, FindNode(bytes(32)))
        figures = [await _served("idle", node, peer, seconds, None)]
        for count in addresses:
            if count > 1 and not sys.platform.startswith("linux"):
                continue  # others have one loopback address alone
            what = f"{rate} a second from {count} address{'es' * (count > 1)}"
            tell(what)
            figures.append(await _served(what, node, peer, seconds, (count, rate)))
    finally:
        await node.close()
        await peer.close()
    return figures


async def _served(what: str, node: LocalNode, peer: LocalNode, seconds: float, flood: tuple[int, int] | None) -> Served:
    before, memory = sum(node.network.traffic.dropped.values()), _memory_kib()
    flooding = asyncio.create_task(_flood(node, seconds, *flood)) if flood else None
    took: list[float] = []
    lost = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            await peer.network.ask(node.network.contact, FindNode(bytes(32)), _ASK_TIMEOUT_S)
            took.append(time.monotonic() - begun)
        except BitrelayError:
            lost += 1
        await asyncio.sleep(_PACE_S)
    sent = await flooding if flooding is not None else 0
    cuts = quantiles(took, n=20)
    return Served(
        what,
        sent / seconds,
        len(took) + lost,
        lost,
        cuts[9] * 1000,
        cuts[18] * 1000,
        sum(node.network.traffic.dropped.values()) - before,
        _memory_kib() - memory,
    )


async def _flood(node: LocalNode, seconds: float, addresses: int, rate: int) -> int:
    # In a process of its own: it must not take our time.
    port, name = node.network.bound[0].port, "bitrelay.bench.dht_flooder"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", name, str(port), node.keys.peer_id.hex(), str(addresses), str(rate), str(seconds),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds + 30)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise BrokenInstallation("the process that floods has failed")
    return int(out)


def _memory_kib() -> int:
    # The most that was ever needed: it never shrinks.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
