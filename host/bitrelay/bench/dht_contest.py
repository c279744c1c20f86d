"""Our DHT and `kademlia` from PyPI beside one another: as many nodes on loopback, the same values, the same deaths.

Every contestant does its work alone, one after the other, in the same process. Gets are asked of nodes that do not keep
the value themselves; datagrams are counted where they are sent, answers too.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from random import Random
from statistics import quantiles
from typing import Any, Final, Protocol

from ..dht.lookup import Plan
from ..dht.node import DEFAULT_PATHS
from ..dht.values import Kind, key_of
from ..errors import BrokenInstallation
from .local_nodes import LocalNode, datagrams, has_value, put_value, start_nodes

VALUE_SIZE: Final = 100

_AT_ONCE: Final = 32
_GET_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Contest:
    """How to measure. dies: part of the nodes that die before the second half of the lookups."""

    nodes: int = 100
    values: int = 100
    lookups: int = 1000
    dies: float = 0.2
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Gets:
    """What a number of lookups came to. messages: datagrams of each, on average; ms: milliseconds that one took.

    cpu_ms: processor time of each, on average, of all nodes together: it does not depend on what else runs here.
    """

    success: float
    per_second: float
    messages: float
    median_ms: float
    p95_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One contestant. built_s: seconds until all nodes had joined; before and after the deaths."""

    name: str
    built_s: float
    put: float
    before: Gets
    after: Gets


class Crowd(Protocol):
    """Nodes of one kind, numbered."""

    async def put(self, number: int, name: str, data: bytes) -> bool:
        """Have a node put a value; whether it could."""
        ...

    async def get(self, number: int, name: str, data: bytes) -> bool:
        """Whether a node finds the value."""
        ...

    def keeps(self, number: int, name: str, data: bytes) -> bool:
        """Whether a node has the value itself."""
        ...

    async def kill(self, numbers: Sequence[int]) -> None:
        """End nodes, without a word to the others."""
        ...

    def sent(self) -> int:
        """Datagrams so far."""
        ...


Build = Callable[[int, Random], AbstractAsyncContextManager[Crowd]]
Tell = Callable[[str], None]


async def run_contest(contest: Contest, tell: Tell = lambda what: None) -> list[Figures]:
    """Measure all of them. Raises BrokenInstallation if `kademlia` is not installed."""
    _demand_kademlia()
    contestants: list[tuple[str, Build]] = [
        ("bitrelay, one question at a time", lambda count, random: _ours(count, random, Plan(alpha=1))),
        ("bitrelay, 1 path", lambda count, random: _ours(count, random, Plan())),
        (f"bitrelay, {DEFAULT_PATHS} paths", lambda count, random: _ours(count, random, Plan(DEFAULT_PATHS))),
        ("kademlia", _theirs),
    ]
    return [await _measured(name, build, contest, tell) for name, build in contestants]


async def _measured(name: str, build: Build, contest: Contest, tell: Tell) -> Figures:
    random = Random(contest.seed)
    values = {f"value {number}": random.randbytes(VALUE_SIZE) for number in range(contest.values)}
    tell(f"{name}: joining")
    begun = time.monotonic()
    async with build(contest.nodes, random) as crowd:
        built_s = time.monotonic() - begun
        tell(f"{name}: putting")
        owners = [random.randrange(contest.nodes) for _ in values]
        puts = await _all(
            crowd.put(owner, value, data) for owner, (value, data) in zip(owners, values.items(), strict=True)
        )
        everybody = range(contest.nodes)
        tell(f"{name}: getting")
        before = await _gets(crowd, everybody, values, contest.lookups, random)
        dead = random.sample(everybody, round(contest.dies * contest.nodes))
        await crowd.kill(dead)
        tell(f"{name}: getting, {len(dead)} nodes dead")
        alive = [number for number in everybody if number not in set(dead)]
        after = await _gets(crowd, alive, values, contest.lookups, random)
    return Figures(name, built_s, sum(puts) / len(puts), before, after)


async def _gets(crowd: Crowd, askers: Sequence[int], values: dict[str, bytes], lookups: int, random: Random) -> Gets:
    wanted = []
    named = list(values.items())
    for _ in range(lookups):
        name, data = random.choice(named)
        without = [number for number in askers if not crowd.keeps(number, name, data)]
        wanted.append((random.choice(without or list(askers)), name, data))
    took: list[float] = []

    async def get(number: int, name: str, data: bytes) -> bool:
        begun = time.monotonic()
        try:
            return await asyncio.wait_for(crowd.get(number, name, data), _GET_TIMEOUT_S)
        except TimeoutError:
            return False
        finally:
            took.append(time.monotonic() - begun)

    sent, begun, cpu = crowd.sent(), time.monotonic(), time.process_time()
    found = await _all(get(*one) for one in wanted)
    seconds, cpu_s = time.monotonic() - begun, time.process_time() - cpu
    cuts = quantiles(took, n=20) if len(took) > 1 else [took[0]] * 19
    return Gets(
        success=sum(found) / lookups,
        per_second=lookups / seconds,
        messages=(crowd.sent() - sent) / lookups,
        median_ms=cuts[9] * 1000,
        p95_ms=cuts[18] * 1000,
        cpu_ms=cpu_s / lookups * 1000,
    )


async def _all(work: Iterable[Awaitable[bool]]) -> list[bool]:
    # As many at once as on a busy host, no more. What is left when one fails has not been begun.
    left = iter(work)
    done: list[bool] = []

    async def do_some() -> None:
        for one in left:
            done.append(await one)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(do_some())
    return done


class _Ours:
    def __init__(self, nodes: list[LocalNode], plan: Plan) -> None:
        self._nodes = nodes
        self._plan = plan

    async def put(self, number: int, name: str, data: bytes) -> bool:
        return await put_value(self._nodes[number], name, data)

    async def get(self, number: int, name: str, data: bytes) -> bool:
        return await has_value(self._nodes[number], name, data, self._plan)

    def keeps(self, number: int, name: str, data: bytes) -> bool:
        key = key_of(Kind.APPLICATION, name)
        node = self._nodes[number].node
        return bool(node.store.find(key, bytes(32), 1, time.time())[0])

    async def kill(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self._nodes[number].close()

    def sent(self) -> int:
        return datagrams(self._nodes)


@asynccontextmanager
async def _ours(count: int, random: Random, plan: Plan) -> AsyncIterator[Crowd]:
    nodes = await start_nodes(count, random)
    try:
        yield _Ours(nodes, plan)
    finally:
        for local in nodes:
            await local.close()


class _Theirs:
    def __init__(self, servers: list[Any], sent: list[int]) -> None:
        self._servers = servers
        self._sent = sent

    async def put(self, number: int, name: str, data: bytes) -> bool:
        return bool(await self._servers[number].set(name, data))

    async def get(self, number: int, name: str, data: bytes) -> bool:
        return bool(await self._servers[number].get(name) == data)

    def keeps(self, number: int, name: str, data: bytes) -> bool:
        from kademlia.utils import digest

        return self._servers[number].storage.get(digest(name)) is not None

    async def kill(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._servers[number].stop()
        await asyncio.sleep(0)

    def sent(self) -> int:
        return self._sent[0]


class _CountingTransport:
    # What kademlia sends with, and how often.

    def __init__(self, transport: Any, sent: list[int]) -> None:
        self._transport = transport
        self._sent = sent

    def sendto(self, datagram: bytes, address: Any) -> None:
        self._sent[0] += 1
        self._transport.sendto(datagram, address)


@asynccontextmanager
async def _theirs(count: int, random: Random) -> AsyncIterator[Crowd]:
    from kademlia.network import Server

    for name in ("kademlia", "rpcudp"):
        # It logs each timeout as an error.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sent = [0]
    servers: list[Any] = []
    try:
        for _ in range(count):
            server = Server(node_id=random.randbytes(20))
            servers.append(server)
            await server.listen(0, interface="127.0.0.1")
            server.protocol.transport = _CountingTransport(server.transport, sent)
        first = servers[0].transport.get_extra_info("sockname")
        await _all(_bootstrapped(server, first) for server in servers[1:])
        yield _Theirs(servers, sent)
    finally:
        for server in servers:
            server.stop()
        await asyncio.sleep(0)


async def _bootstrapped(server: Any, first: Any) -> bool:
    await server.bootstrap([first])
    return True


def _demand_kademlia() -> None:
    try:
        import kademlia.network  # noqa: F401
    except ImportError:
        raise BrokenInstallation(
            "kademlia is not installed, beside which the DHT is measured", hint="pip install 'bitrelay[test]'"
        ) from None
