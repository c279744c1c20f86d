"""What the DHT must do on real sockets: every node finds every value, also after many nodes have died.

Nodes start in any order from one first node, and each puts a value. When all have joined, every node gets every value.
Then some die at once, and the others get values right away, after one refresh of their tables, and after two.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from ..dht.lookup import Plan
from ..dht.node import DEFAULT_PATHS
from .local_nodes import LocalNode, has_value, put_value, start_nodes

_AT_ONCE: Final = 32
_REFRESHES: Final = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """nodes: how many, and values, one each. dies: part of them that dies. lookups: so many after each refresh.

    ask_timeout_s: how long nobody waits longer for an answer.
    """

    nodes: int = 200
    dies: float = 0.3
    lookups: int = 2000
    seed: int = 1
    ask_timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ClaimFigures:
    """found: part of all pairs of node and value in which the node found it; after: parts of the lookups that did,
    right after the deaths, and after each refresh. Seconds for all to join, and in all.
    """

    nodes: int
    values: int
    pairs: int
    found: float
    died: int
    after: tuple[float, ...]
    joined_s: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether it is as it must be."""
        return self.found == 1.0 and self.after[-1] >= 0.99


async def run_claim(claim: Claim, tell: Callable[[str], None] = lambda what: None) -> ClaimFigures:
    """Try it; takes some minutes for 200 nodes."""
    random = Random(claim.seed)
    begun = time.monotonic()
    tell("joining")
    nodes = await start_nodes(claim.nodes, random, claim.ask_timeout_s)
    try:
        joined_s = time.monotonic() - begun
        values = {f"value {number}": random.randbytes(64) for number in range(claim.nodes)}
        tell("putting")
        puts = list(zip(nodes, values.items(), strict=True))
        await _rate([(local, name, data) for local, (name, data) in puts], put_value)
        tell("every node gets every value")
        pairs = [(local, name, data) for local in nodes for name, data in values.items()]
        found = await _rate(pairs, _gets)
        dead = random.sample(nodes, round(claim.dies * claim.nodes))
        for local in dead:
            await local.close()
        alive = [local for local in nodes if local not in dead]
        after = []
        for refreshes in range(_REFRESHES + 1):
            if refreshes:
                tell(f"refresh {refreshes}")
                await _refresh(alive)
            tell(f"getting after {refreshes} refreshes")
            some = [(random.choice(alive), *random.choice(list(values.items()))) for _ in range(claim.lookups)]
            after.append(await _rate(some, _gets))
    finally:
        for local in nodes:
            await local.close()
    return ClaimFigures(
        claim.nodes, len(values), len(pairs), found, len(dead), tuple(after), joined_s, time.monotonic() - begun
    )


async def _gets(local: LocalNode, name: str, data: bytes) -> bool:
    return await has_value(local, name, data, Plan(DEFAULT_PATHS))


async def _refresh(nodes: Sequence[LocalNode]) -> None:
    # All buckets, whenever they were refreshed last, as if the interval of 15 minutes had passed: one after the other,
    # as a node does it, and not all nodes at once. They share one processor, and would take one another for dead.
    left = iter(nodes)

    async def refresh_some() -> None:
        for local in left:
            node = local.node
            for index in node.table.stale(node.clock(), -1.0):
                await node.refresh(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(refresh_some())


async def _rate(
    work: Sequence[tuple[LocalNode, str, bytes]], do: Callable[[LocalNode, str, bytes], Awaitable[bool]]
) -> float:
    # The part of these that went well.
    left = iter(work)
    well = 0

    async def do_some() -> None:
        nonlocal well
        for local, name, data in left:
            if await do(local, name, data):
                well += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(do_some())
    return well / len(work)
