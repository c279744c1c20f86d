"""Gateways and meshes in memory, in virtual time, for tests of what they do together."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any

from bitrelay.bench.memory_mesh import MemoryLink, MemoryMesh
from bitrelay.gateway.config import DownlinkConfig, FederationConfig, GatewayConfig, MeshConfig, StoreConfig
from bitrelay.gateway.gateway import Gateway
from bitrelay.gateway.store import FrameStore
from bitrelay.gateway.told import Told
from bitrelay.mesh.relay_ledger import RelayLedger
from bitrelay.transports.address import Serial
from shared_protocol.frame import TYPE_MESSAGE, encode
from tests.gateway.memory_exchange import Hub, MemoryExchange
from tests.identity.mined import keys_of
from tests.transports.virtual_time import BoundedLoop

START_MS = 1_786_000_000_000
WIDE = DownlinkConfig(enabled=True, frames_per_minute=1_000_000, airtime_percent=100_000.0, queue=4096)


class Inline(Executor):
    """Does at once what it is given: virtual time does not wait for threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop whose clock jumps, with what goes to threads done at once."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def main() -> None:
            asyncio.get_running_loop()._default_executor = Inline()  # type: ignore[attr-defined]
            await test(*arguments, **named)

        with asyncio.Runner(loop_factory=BoundedLoop) as runner:
            runner.run(main())

    return run


def wall_s() -> float:
    """Unix seconds of the loop's time."""
    return START_MS / 1000 + asyncio.get_running_loop().time()


def author(number: int) -> bytes:
    return hashlib.sha256(b"author %d" % number).digest()[:8]


def said(number: int, by: int = 0, *, to: bytes | None = None, type: int = TYPE_MESSAGE, ttl: int = 7) -> bytes:
    """A frame that is said now; no two numbers are alike."""
    payload = b"%d says %d" % (by, number)
    return encode(type, ttl, int(wall_s() * 1000), author(by), payload, recipient=to)


@dataclass
class Site:
    """One gateway with what it told."""

    gateway: Gateway
    exchange: MemoryExchange
    links: list[MemoryLink]
    told: list[Told] = field(default_factory=list)

    def told_of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.told if isinstance(each, kind)]


class World:
    """async with World(folder) as world. add() starts a gateway; all of them are stopped in the end."""

    def __init__(self, folder: Path, *, delay_s: float = 0.005, radio_s: float = 0.02) -> None:
        self.hub = Hub(delay_s)
        self.sites: dict[str, Site] = {}
        self.meshes: dict[str, MemoryMesh] = {}
        self._folder = folder
        self._radio_s = radio_s

    async def __aenter__(self) -> "World":
        return self

    async def __aexit__(self, *_: object) -> None:
        for site in self.sites.values():
            await site.gateway.stop()

    def mesh(self, name: str) -> MemoryMesh:
        return self.meshes.setdefault(name, MemoryMesh(name, delay_s=self._radio_s))

    async def add(
        self,
        name: str,
        *meshes: str,
        downlink: DownlinkConfig = WIDE,
        store: StoreConfig = StoreConfig(),
        trust: frozenset[bytes] | None = None,
        mbps: float = 1000.0,
        **more: Any,
    ) -> Site:
        keys = keys_of(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
        configs = tuple(
            replace(MeshConfig(mesh, (Serial(f"{name}-{mesh}"),), downlink=downlink), **more) for mesh in meshes
        )
        config = GatewayConfig(
            name,
            configs,
            store=store,
            federation=FederationConfig(is_open=True),
            local_mbps=mbps,
            internet_mbps=mbps,
            metrics=None,
        )
        links = {mesh: [self.mesh(mesh).link(f"{name}-{mesh}")] for mesh in meshes}
        folder = self._folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        exchange = MemoryExchange(self.hub, keys.peer_id, trust=trust)
        told: list[Told] = []
        gateway = Gateway(
            keys.peer_id,
            config,
            exchange,
            links,
            FrameStore(folder / "frames.sqlite", store, wall_s),
            RelayLedger(folder / "ledger.sqlite", keys, wall_s),
            tell=told.append,
            clock=wall_s,
        )
        site = Site(gateway, exchange, [link for each in links.values() for link in each], told)
        self.sites[name] = site
        await gateway.start()
        await asyncio.sleep(0.1)
        return site
