"""How many frames a second one gateway process carries between two meshes in memory, and what that takes."""

import asyncio
import resource
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ..errors import TransportClosed, Unreachable
from ..gateway.config import DownlinkConfig, GatewayConfig, MeshConfig
from ..gateway.exchange import Exchange, ExchangeEvent, GatewayView
from ..gateway.gateway import Gateway
from ..gateway.message import FrameMessage, Hello, Message
from ..gateway.store import FrameStore
from ..identity.keys import IdentityKeys
from ..mesh.relay_ledger import RelayLedger
from ..transports.address import Serial
from ..transports.fair_queue import Traffic
from .gateway_traffic import public_frames
from .memory_mesh import MemoryLink, MemoryMesh

OPEN: Final = DownlinkConfig(enabled=True, frames_per_minute=10**9, airtime_percent=1e9, queue=4096)
"""A budget that nothing reaches."""
_AT_ONCE = 64
_MOST_UNDERWAY = 1024
_STUCK_S = 10.0
_TELL_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class RateFigures:
    """cpu_us: processor time of the whole process for each frame, the makers and meshes of the trial included;
    resident_kib: at a tenth of the frames, at half of them, and at the end; tables are full
    after some 250,000. missing, repeated: frames that did not cross, or twice."""

    frames: int
    seconds: float
    per_s: float
    cpu_us: float
    resident_kib: tuple[int, int, int]
    missing: int
    repeated: int
    recorded: int


class NoExchange(Exchange):
    """There are no other gateways."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def start(self, hello: Hello) -> None:
        pass

    def update(self, hello: Hello) -> None:
        pass

    def gateways(self) -> Sequence[GatewayView]:
        return ()

    async def send(self, gateway: bytes, message: Message, traffic: Traffic) -> None:
        raise Unreachable("there are no other gateways")

    async def send_to_mesh(
        self, message: FrameMessage, author: bytes, traffic: Traffic, avoid: Collection[bytes] = ()
    ) -> bytes | None:
        raise Unreachable("there are no other gateways")

    async def next_event(self) -> ExchangeEvent:
        await self._stopped.wait()
        raise TransportClosed("it was stopped")

    async def stop(self) -> None:
        self._stopped.set()


class _Crossed:
    # Counts what was brought, and wakes who waits for so many.
    def __init__(self) -> None:
        self.count = 0
        self._wanted = 0
        self._there = asyncio.Event()

    def one(self, value: bytes, by: MemoryLink) -> None:
        self.count += 1
        if self.count >= self._wanted:
            self._there.set()

    async def at_least(self, count: int) -> bool:
        self._wanted = count
        self._there.clear()
        if self.count >= count:
            return True
        try:
            await asyncio.wait_for(self._there.wait(), _STUCK_S)
        except TimeoutError:
            return False
        return True


async def run_rate(frames: int, tell: Callable[[str], None] = lambda text: None) -> RateFigures:
    """Have a gateway carry so many frames, half of them each way, as fast as it can; store and ledger are on disk."""
    meshes = {name: MemoryMesh(name) for name in ("west", "east")}
    crossed = _Crossed()
    for mesh in meshes.values():
        mesh.keep_counts = False
        mesh.on_brought = crossed.one
    with TemporaryDirectory() as folder:
        keys = IdentityKeys.fresh()
        config = GatewayConfig(
            "rate", tuple(MeshConfig(name, (Serial(name),), downlink=OPEN) for name in meshes),
            local_mbps=1e6, internet_mbps=1e6, metrics=None,
        )  # fmt: skip
        links = {name: [mesh.link(name)] for name, mesh in meshes.items()}
        store = FrameStore(Path(folder, "frames.sqlite"), config.store, time.time)
        ledger = RelayLedger(Path(folder, "ledger.sqlite"), keys, time.time)
        gateway = Gateway(
            keys.peer_id, config, NoExchange(), links, store, ledger, tell=lambda told: None, clock=time.time
        )
        await gateway.start()
        try:
            return await _measure(frames, meshes, gateway, crossed, tell)
        finally:
            await gateway.stop()


async def _measure(
    frames: int,
    meshes: dict[str, MemoryMesh],
    gateway: Gateway,
    crossed: _Crossed,
    tell: Callable[[str], None],
) -> RateFigures:
    loop = asyncio.get_running_loop()
    sides = list(meshes.values())
    early = half = 0
    start, cpu, next_told = loop.time(), time.process_time(), loop.time() + _TELL_EVERY_S
    for number, value in enumerate(public_frames(frames)):
        sides[number & 1].say(value)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
            if not await crossed.at_least(number - _MOST_UNDERWAY):
                break
            if loop.time() > next_told:
                next_told += _TELL_EVERY_S
                tell(f"{crossed.count:,} of {frames:,} frames have crossed")
        if number == frames // 10:
            early = _resident_kib()
        if number == frames // 2:
            half = _resident_kib()
    await crossed.at_least(frames)
    seconds = loop.time() - start
    cpu_us = (time.process_time() - cpu) * 1e6 / frames
    late = _resident_kib()
    await gateway.stop()
    return RateFigures(
        frames,
        seconds,
        crossed.count / seconds,
        cpu_us,
        (early, half, late),
        max(0, frames - crossed.count),
        max(0, crossed.count - frames),
        gateway.record.recorded,
    )


def _resident_kib() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
