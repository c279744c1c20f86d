"""Two meshes in memory with several gateways each, joined by a real engine: is everything there, once, and how soon?"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from ..gateway.bridge_frame import parse_frame
from ..gateway.config import EngineKind, FederationConfig, GatewayConfig, MeshConfig, MqttConfig, PeerConfig
from ..gateway.exchange import Exchange
from ..gateway.gateway import Gateway
from ..gateway.link_exchange import LinkExchange
from ..gateway.store import FrameStore
from ..identity.generate import generate
from ..identity.local import LocalIdentity
from ..mesh.relay_ledger import RelayLedger
from ..transports.address import Serial, Tcp
from .gateway_rate import OPEN
from .gateway_traffic import public_frames
from .memory_mesh import MemoryLink, MemoryMesh

RADIO_S: Final = 0.03
"""From a relay to the others of its mesh."""
JOIN_S: Final = 30.0
QUIET_S: Final = 12.0
"""Nothing can come any more when nothing has for so long: longer than every patience."""
CIRCULATES_S: Final = 1.0
"""What would go round and round has time to."""
_BITS = 8
_SIDES = ("west", "east")
_TELL_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class PairFigures:
    """sent: frames said. missing, repeated: never brought, or more than once; circulated: brought to where they were
    said. delay_ms: p50, p95 and the longest, from being said to being brought, without the radio. shares: frames each
    gateway brought. taken_over: carried by another gateway than the elected one."""

    engine: str
    gateways_per_mesh: int
    sent: int
    missing: int
    repeated: int
    circulated: int
    killed: int
    delay_ms: tuple[float, float, float]
    per_s: float
    shares: dict[str, int] = field(default_factory=dict)
    taken_over: int = 0
    drops: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Everything arrived once; with gateways killed, what was in flight may be missing."""
        return not self.repeated and not self.circulated and (not self.missing or bool(self.killed))


class _Account:
    # When what was said, where it was brought, and how often.
    def __init__(self) -> None:
        self.said: dict[bytes, tuple[str, float]] = {}
        self.brought: dict[str, Counter[bytes]] = {side: Counter() for side in _SIDES}
        self.delays: list[float] = []
        self.shares: Counter[str] = Counter()
        self._came = asyncio.Event()

    async def all_there(self, count: int) -> None:
        # Until so many were brought, or nothing has come for long.
        while len(self.delays) < count:
            self._came.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._came.wait()
            except TimeoutError:
                return

    def say(self, mesh: MemoryMesh, value: bytes, now: float) -> None:
        frame = parse_frame(value)
        assert frame is not None
        self.said[frame.key] = (mesh.name, now)
        mesh.say(value)

    def bring(self, mesh: str) -> Callable[[bytes, MemoryLink], None]:
        loop = asyncio.get_running_loop()

        def brought(value: bytes, by: MemoryLink) -> None:
            frame = parse_frame(value)
            if frame is None or frame.key not in self.said:
                return
            self.brought[mesh][frame.key] += 1
            self.shares[by.name] += 1
            self._came.set()
            if self.brought[mesh][frame.key] == 1:
                self.delays.append((loop.time() - self.said[frame.key][1] - RADIO_S) * 1000)

        return brought


async def run_pairs(
    frames: int,
    *,
    per_mesh: int = 2,
    per_s: float = 500.0,
    kill: bool = False,
    mqtt: MqttConfig | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> PairFigures:
    """Say so many frames, half of them in each mesh. kill: one gateway of each mesh ends without a word in the middle.
    mqtt: the broker that joins them; without one they link with one another."""
    meshes = {side: MemoryMesh(side, delay_s=RADIO_S) for side in _SIDES}
    account = _Account()
    for side, mesh in meshes.items():
        mesh.on_brought = account.bring(side)
    async with _gateways(meshes, per_mesh, mqtt) as gateways:
        await _joined(list(gateways.values()))
        seconds = await _traffic(frames, per_s, meshes, account, gateways, kill, tell)
        return _figures(account, gateways, per_mesh, kill, seconds, mqtt)


async def with_mosquitto(run: Callable[..., Coroutine[Any, Any, PairFigures]]) -> PairFigures:
    """Run it with `mqtt`, a broker that is started for it. Raises BrokenInstallation if there is none."""
    from ..lab.broker import start_broker

    with TemporaryDirectory() as folder:
        process, broker = await start_broker(Path(folder))
        try:
            key = bytes.fromhex(broker.fleet_key.read_text())
            return await run(mqtt=MqttConfig("127.0.0.1", broker.port, fleet_key=key))
        finally:
            await process.stop()


async def _traffic(
    frames: int,
    per_s: float,
    meshes: dict[str, MemoryMesh],
    account: _Account,
    gateways: dict[str, Gateway],
    kill: bool,
    tell: Callable[[str], None],
) -> float:
    loop = asyncio.get_running_loop()
    start, next_told = loop.time(), loop.time() + _TELL_EVERY_S
    for number, value in enumerate(public_frames(frames)):
        await asyncio.sleep(max(0.0, start + number / per_s - loop.time()))
        account.say(meshes[_SIDES[number & 1]], value, loop.time())
        if kill and number == frames // 2:
            await asyncio.gather(*(_kill(gateways[f"{side}1"]) for side in _SIDES))
        if loop.time() > next_told:
            next_told += _TELL_EVERY_S
            tell(f"{number:,} of {frames:,} frames said, {len(account.delays):,} brought")
    seconds = loop.time() - start
    await account.all_there(frames)
    await asyncio.sleep(CIRCULATES_S)
    return seconds


async def _kill(gateway: Gateway) -> None:
    # As the system ends a process: its ports and sockets close, nothing is said, nothing is saved.
    for links in gateway.relays.values():
        for link in links:
            assert isinstance(link, MemoryLink)
            link.unplug()
    await gateway.exchange.stop()


def _figures(
    account: _Account,
    gateways: dict[str, Gateway],
    per_mesh: int,
    kill: bool,
    seconds: float,
    mqtt: MqttConfig | None,
) -> PairFigures:
    delays = sorted(account.delays) or [0.0]
    circulated = missing = 0
    for key, (origin, _) in account.said.items():
        circulated += account.brought[origin][key]
        missing += not account.brought[_SIDES[origin == _SIDES[0]]][key]
    drops: Counter[str] = Counter()
    for gateway in gateways.values():
        for (direction, _, reason), count in gateway.bridge.drops.items():
            drops[f"{direction}: {reason}"] += count
    return PairFigures(
        str(EngineKind.MQTT if mqtt else EngineKind.LINKS),
        per_mesh,
        len(account.said),
        missing,
        sum(count - 1 for counts in account.brought.values() for count in counts.values() if count > 1),
        circulated,
        len(_SIDES) if kill else 0,
        (delays[len(delays) // 2], delays[len(delays) * 95 // 100], delays[-1]),
        len(account.said) / seconds,
        dict(account.shares),
        sum(gateway.numbers.events["taken over"] for gateway in gateways.values()),
        dict(drops),
    )


@asynccontextmanager
async def _gateways(
    meshes: dict[str, MemoryMesh], per_mesh: int, mqtt: MqttConfig | None
) -> AsyncIterator[dict[str, Gateway]]:
    names = [(f"{side}{number}", side) for number in range(1, per_mesh + 1) for side in _SIDES]
    gateways: dict[str, Gateway] = {}
    with TemporaryDirectory() as folder:
        own = {name: (await generate(Path(folder, name, "own.identity"), _BITS)).local for name, _ in names}
        trust = frozenset(local.keys.peer_id for local in own.values())
        peers: list[PeerConfig] = []
        try:
            for name, side in names:
                federation = FederationConfig(listen=(Tcp("127.0.0.1", 0),), peers=tuple(peers), trust=trust)
                config = GatewayConfig(
                    name, (MeshConfig(side, (Serial(name),), downlink=OPEN),), federation=federation, metrics=None
                )  # fmt: skip
                exchange = _exchange(own[name], federation, mqtt)
                gateway = gateways[name] = _gateway(config, own[name], exchange, meshes[side], Path(folder, name))
                await gateway.start()
                if isinstance(exchange, LinkExchange):
                    peers.append(PeerConfig(exchange.bound[0], gateway.own))
            yield gateways
        finally:
            await asyncio.gather(*(gateway.stop() for gateway in gateways.values()))


def _exchange(own: LocalIdentity, federation: FederationConfig, mqtt: MqttConfig | None) -> Exchange:
    if mqtt is None:
        return LinkExchange(lambda: own, federation, difficulty=_BITS)
    from ..gateway.mqtt_exchange import MqttExchange

    return MqttExchange(own.keys.peer_id, mqtt)


def _gateway(config: GatewayConfig, own: LocalIdentity, exchange: Exchange, mesh: MemoryMesh, folder: Path) -> Gateway:
    return Gateway(
        own.keys.peer_id,
        config,
        exchange,
        {mesh.name: [mesh.link(config.name)]},
        FrameStore(folder / "frames.sqlite", config.store, time.time),
        RelayLedger(folder / "ledger.sqlite", own.keys, time.time),
        tell=lambda told: None,
        clock=time.time,
    )


async def _joined(gateways: list[Gateway]) -> None:
    # Until every gateway can reach every other one.
    async with asyncio.timeout(JOIN_S):
        # A trial has no event of all of them to wait for.
        while any(len(gateway.others.views) < len(gateways) - 1 for gateway in gateways):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
