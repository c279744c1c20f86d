"""A gateway at work: relays, policy, other gateways, store and ledger brought together."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..errors import BitrelayError, TransportClosed
from ..mesh.relay_fee import HopFee
from ..mesh.relay_ledger import RelayLedger
from ..transports.token_bucket import TokenBucket
from .bridge import Bridge, Drop
from .bridge_frame import BridgeFrame, parse_frame
from .config import GatewayConfig
from .exchange import Exchange, GatewayDown, GatewayUp, GatewayView, MessageCame
from .local_crossing import LocalCrossing
from .mesh_feed import MeshFeed
from .message import FrameMessage, Hello, MeshOffer, Notice, NoticeMessage, Outcome, Receipt
from .numbers import Numbers
from .other_gateways import OtherGateways
from .relay_link import RelayLink
from .relay_record import RECENT_MS, RelayRecord
from .sibling_notices import SiblingNotices
from .steady import steadily
from .store import FrameStore
from .told import (
    GatewayJoined,
    GatewayLost,
    MeshReachable,
    MeshUnreachable,
    RelayLost,
    RelayUp,
    Throttled,
    Told,
    Trouble,
)
from .uplink import TICK_S, Uplink
from .waiting_room import WaitingRoom

_log = logging.getLogger(__name__)

UPKEEP_S: Final = 1.0
HELLO_S: Final = 10.0
PRUNE_S: Final = 60.0
_BURST_S = 1.0
_TOLD_AGAIN_S = 10.0
_MOST_DOUBT_S = 0.5


class Gateway:
    """Carries frames between its meshes and those of other gateways, from start() to stop().

    relays: by the name of their mesh; closed in the end, as exchange, store and ledger are. ledger: None to keep none.
    tell: called with what happens; must not raise. clock: Unix seconds. memory: the file in which other meshes are
    remembered, or None. Use it in one event loop.
    """

    def __init__(
        self,
        own: bytes,
        config: GatewayConfig,
        exchange: Exchange,
        relays: Mapping[str, Sequence[RelayLink]],
        store: FrameStore,
        ledger: RelayLedger | None,
        *,
        tell: Callable[[Told], None],
        clock: Callable[[], float],
        memory: Path | None = None,
    ) -> None:
        self.own = own
        self.config = config
        self.exchange = exchange
        self.relays = relays
        self.bridge = Bridge(own, config.meshes)
        self.numbers = Numbers()
        self.others = OtherGateways(relays, memory)
        self._tell = tell
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._run = secrets.randbits(32)
        self._reachable: frozenset[str] = frozenset()
        self._throttled: Counter[bytes] = Counter()
        self._throttled_told: dict[bytes, float] = {}
        self._troubled: dict[str, float] = {}
        self._relays_up: dict[tuple[str, str], bool] = {}
        self._make_buckets()
        self.room = WaitingRoom(
            store, expires_in=self.bridge.expires_in, wall_ms=self._wall_ms, failed=self._not_stored
        )
        self.record = RelayRecord(ledger, HopFee(config.ledger.base_fee), wall_ms=self._wall_ms, failed=self._failed)
        notices = self._notices = SiblingNotices(exchange, self.others.joined)
        self.feed = MeshFeed(
            own, self.bridge, exchange, dict(relays), self.record, notices, self.numbers, wall_ms=self._wall_ms
        )
        self._across = LocalCrossing(own, self.others.siblings_of_both, self._doubt_s, self._bring_across)
        self.uplink = Uplink(
            own,
            self.bridge,
            exchange,
            self.room,
            notices,
            self.numbers,
            siblings=self.others.siblings,
            keeps=self.others.keeps,
            wall_ms=self._wall_ms,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self) -> None:
        """Begin. Raises what Exchange.start raises, and what reading the ledger does."""
        self.bridge.offers = self.others.offers
        before = await asyncio.to_thread(self.record.recent)
        await self.exchange.start(self.hello())
        self.feed.start(before)
        self._loop.call_later(RECENT_MS / 1000, self.feed.forget_before)
        self._begin(self._hear_gateways)
        self._begin(self._look_after)
        self._begin(self._tick)
        for mesh, links in self.relays.items():
            for link in links:
                link.on_change = self._look_at_relays
                self._begin(partial(self._hear_mesh, mesh, link))

    async def stop(self) -> None:
        """Say goodbye, keep what is under way, and close. Harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.feed.stop()
        await self.uplink.stop()
        await self._notices.close()
        await self.exchange.stop()
        await self._remember_meshes()
        for links in self.relays.values():
            await asyncio.gather(*(link.close() for link in links))
        await self.record.close()
        await self.room.close()

    def configure(self, config: GatewayConfig) -> None:
        """Go on with other budgets, subscriptions and limits; its meshes and their relays stay as they are."""
        self.config = config
        self.bridge.configure(config.meshes)
        self._make_buckets()
        self.exchange.update(self.hello())
        for mesh in self.relays:
            self.feed.wake(mesh)

    def hello(self) -> Hello:
        """What we say of ourselves now."""
        meshes = tuple(
            MeshOffer(mesh.name, mesh.geohash, mesh.downlink.enabled, mesh.uplink, mesh.subscribe)
            for mesh in self.config.meshes
        )
        capacity = sum(mesh.downlink.frames_per_minute for mesh in self.config.meshes if mesh.downlink.enabled)
        uptime_s = int(self._loop.time() - self._started_at)
        load = self.bridge.load()
        return Hello(self.config.name, meshes, self.config.federation.fee, capacity, load, uptime_s, self._run)

    def underway(self) -> dict[str, int]:
        """Frames that are on their way: "standby", "sending", "awaiting receipts"."""
        return self.uplink.underway()

    def reachable_meshes(self) -> frozenset[str]:
        """Meshes of others for which some gateway takes frames now."""
        return self.others.reachable

    # --- from the mesh ---

    async def _hear_mesh(self, mesh: str, link: RelayLink) -> None:
        while True:
            try:
                value = await link.receive()
            except TransportClosed:
                return
            self._heard(mesh, value)

    def _heard(self, mesh: str, value: bytes) -> None:
        frame = parse_frame(value)
        if frame is None:
            self.numbers.events["malformed from a mesh"] += 1
            return
        now = self._loop.time()
        heard = self.bridge.heard(mesh, frame, now, self._wall_ms())
        if not heard.targets:
            return
        ours = [target for target in heard.targets if target in self.relays]
        theirs = [target for target in heard.targets if target not in self.relays]
        # An announce that has to be there first must not wait behind what it comes before.
        first = [replace(each, traffic=frame.traffic) for each in heard.before]
        for each in (*first, frame):
            size = len(each.value)
            if theirs and not self._internet.consume(now, size * len(theirs)):
                self.bridge.drops["up", each.traffic, Drop.BANDWIDTH] += 1
            elif theirs:
                self.uplink.heard(mesh, each, theirs, now)
            for target in ours:
                self._across.heard(mesh, each, target, self.own, now)
            self.numbers.crossed("up", each.traffic, size)

    # --- from other gateways ---

    async def _hear_gateways(self) -> None:
        while True:
            try:
                event = await self.exchange.next_event()
            except TransportClosed:
                return
            match event:
                case GatewayUp(view):
                    self._gateway_up(view)
                case GatewayDown(peer_id, reason):
                    self._gateway_down(peer_id, reason)
                case MessageCame(peer_id, message):
                    self._message_came(peer_id, message)

    def _message_came(self, gateway: bytes, message: Any) -> None:
        match message:
            case FrameMessage():
                self._frame_came(gateway, message)
            case Receipt():
                self.uplink.receipt(gateway, message)
            case NoticeMessage(what, mesh, keys, target):
                if gateway not in self.others.joined(mesh):
                    self.numbers.events["notices of strangers"] += 1
                elif what is Notice.CARRIED:
                    self.uplink.carried(gateway, mesh, keys, target)
                    self._across.known(mesh, keys)
                else:
                    self.bridge.brought(mesh, keys, self._loop.time())
                    self._across.brought(mesh, keys, self._loop.time())
                    self.uplink.brought(mesh, keys)

    def _frame_came(self, gateway: bytes, message: FrameMessage) -> None:
        now = self._loop.time()
        size = len(message.value)
        self.numbers.carried(size)
        view = self.others.views.get(gateway)
        outcome = None
        if not self._internet_down.consume(now, size) or self._local.tokens(now) < size:
            outcome = Outcome.OVER_BUDGET
            self.numbers.events["bandwidth"] += 1
        elif message.target not in self.relays:
            outcome = Outcome.REFUSED
        elif view is None or view.hello.mesh(message.origin) is None:
            # Of a mesh that it does not join.
            outcome = Outcome.REFUSED
        elif message.origin in self.relays and gateway not in self.others.joined(message.origin):
            # Of ours, and it is no other gateway of that: nothing goes back where it came from.
            outcome = Outcome.REFUSED
        frame = parse_frame(message.value)
        if frame is None:
            self.numbers.events["malformed from a gateway"] += 1
            return
        if outcome is not None:
            self.numbers.peer(gateway).refused += 1
            self.feed.answer(gateway, message.target, frame.key, outcome)
            return
        heard_at = now - message.waited_ms / 1000
        if message.origin not in self.relays or message.origin == message.target:
            # What is refused goes nowhere, so it takes nothing from what others bring.
            if self.feed.arrived(message.target, frame, message.origin, gateway, heard_at) is Outcome.QUEUED:
                self._local.take(size)
        elif self._across.heard(message.origin, frame, message.target, gateway, now):
            # Our relay may not have heard it. Whoever it falls to has, or we bring it in a moment.
            self.feed.answer(gateway, message.target, frame.key, Outcome.KNOWN)

    def _gateway_up(self, view: GatewayView) -> None:
        known = self.others.put(view)
        self._others_changed()
        if known is None:
            self._tell(GatewayJoined(view))
        elif known.hello.run != view.hello.run:
            # What waited there is gone.
            self.uplink.gateway_restarted(view.peer_id)

    def _gateway_down(self, peer_id: bytes, reason: str) -> None:
        if not self.others.remove(peer_id):
            return
        self._others_changed()
        self.uplink.gateway_gone(peer_id)
        self._across.gateway_gone(peer_id)
        self.feed.gateway_gone(peer_id)
        self._tell(GatewayLost(peer_id, reason))

    def _others_changed(self) -> None:
        others = self.others
        self.bridge.offers = others.offers
        for mesh in sorted(others.reachable - self._reachable):
            if self.room.waiting(mesh):
                self._tell(MeshReachable(mesh, self.room.waiting(mesh)))
            self.uplink.reachable(mesh)
        for mesh in sorted(self._reachable - others.reachable):
            self._tell(MeshUnreachable(mesh))
        self._reachable = others.reachable

    def _bring_across(self, target: str, frame: BridgeFrame, origin: str, gateway: bytes, heard_at: float) -> None:
        outcome = self.feed.arrived(target, frame, origin, gateway, heard_at)
        is_taken = outcome in (Outcome.QUEUED, Outcome.KNOWN) and any(link.is_up for link in self.relays[target])
        if gateway == self.own and is_taken:
            self._notices.tell(Notice.CARRIED, origin, frame.key, target)

    def _doubt_s(self, mesh: str) -> float:
        farthest_s = self.others.farthest_s(mesh)
        return 0.0 if farthest_s is None else min(_MOST_DOUBT_S, farthest_s + TICK_S)

    # --- upkeep ---

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.uplink.tick()
            self._across.tick(self._loop.time())

    async def _look_after(self) -> None:
        next_hello = self._loop.time() + HELLO_S
        next_prune = self._loop.time() + PRUNE_S
        while True:
            await asyncio.sleep(UPKEEP_S)
            now = self._loop.time()
            self.numbers.tick(UPKEEP_S)
            self.bridge.forget(now)
            self._look_at_relays()
            self._tell_throttled(now)
            await self.room.expire()
            for mesh in self._reachable:
                self.uplink.reachable(mesh)
            if now >= next_hello:
                next_hello = now + HELLO_S
                self.exchange.update(self.hello())
                await self._remember_meshes()
            if now >= next_prune:
                next_prune = now + PRUNE_S
                await self.record.prune(self.config.ledger.keep_s)

    async def _remember_meshes(self) -> None:
        try:
            await self.others.save()
        except BitrelayError as error:
            self._trouble("the meshes of others", error)

    def _look_at_relays(self) -> None:
        for mesh, links in self.relays.items():
            for link in links:
                was = self._relays_up.get((mesh, link.name))
                if link.is_up == was or (was is None and not link.is_up and link.trouble is None):
                    continue  # nothing new, or it was not tried yet
                self._relays_up[mesh, link.name] = link.is_up
                if link.is_up:
                    self._tell(RelayUp(mesh, link.name))
                else:
                    self._tell(RelayLost(mesh, link.name, link.trouble or "it has gone"))
                self.feed.wake(mesh)
            pressures = [link.pressure for link in links if link.is_up]
            if pressures:
                self.bridge.relay_pressure(mesh, min(pressures), self._loop.time())

    def _tell_throttled(self, now: float) -> None:
        throttled, self.bridge.throttled = self.bridge.throttled, Counter()
        self._throttled += throttled
        for gateway, count in list(self._throttled.items()):
            if now - self._throttled_told.get(gateway, -_TOLD_AGAIN_S) >= _TOLD_AGAIN_S:
                del self._throttled[gateway]
                self._throttled_told[gateway] = now
                view = self.others.views.get(gateway)
                self._tell(Throttled(gateway, view.hello.name if view else "", count))
        self._throttled_told = {who: at for who, at in self._throttled_told.items() if now - at < _TOLD_AGAIN_S}

    def _failed(self, count: int, error: BitrelayError) -> None:
        self.numbers.events["not in the ledger"] += count
        self._trouble("the ledger", error)

    def _not_stored(self, frames: Sequence[BridgeFrame], error: BitrelayError) -> None:
        for frame in frames:
            self.bridge.drops["up", frame.traffic, Drop.STORE_FULL] += 1
        self._trouble("the store", error)

    def _trouble(self, what: str, error: BitrelayError) -> None:
        # Not with every frame.
        now = self._loop.time()
        if now - self._troubled.get(what, -_TOLD_AGAIN_S) >= _TOLD_AGAIN_S:
            self._troubled[what] = now
            _log.warning("There is trouble with %s: %s", what, error)
            self._tell(Trouble(error))

    def _make_buckets(self) -> None:
        # A second's worth at once.
        local, internet = (mbps * 1e6 / 8 for mbps in (self.config.local_mbps, self.config.internet_mbps))
        self._local = TokenBucket(local * _BURST_S, local)
        self._internet = TokenBucket(internet * _BURST_S, internet)
        self._internet_down = TokenBucket(internet * _BURST_S, internet)

    def _wall_ms(self) -> int:
        return int(self._clock() * 1000)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(self._loop.create_task(steadily(work, self.numbers.failed)))
