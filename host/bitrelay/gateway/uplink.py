"""What leaves our meshes: who of several gateways carries a frame, to whom, and what happens when that fails.

A frame is carried by the gateway that its author falls to (`election`). The others hold it, and carry it themselves
when they are not told in time that it was carried. A frame that was sent is kept until the gateway at the other end
says what became of it; when that gateway goes or stays silent, another one gets it. When nobody is left the frame is
stored, and everything that comes for that mesh waits behind it, so that an author's frames keep their order.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import BitrelayError, Unreachable
from ..transports.adaptive_timeout import AdaptiveTimeout, TimeoutRange
from ..transports.fair_queue import FairQueue
from ..watched_task import watched
from .bridge import Bridge, Drop
from .bridge_frame import BridgeFrame
from .election import elected
from .exchange import Exchange
from .frame_cache import FrameCache
from .message import FrameMessage, Notice, Outcome, Receipt
from .numbers import Numbers
from .sibling_notices import SiblingNotices
from .waiting_room import WaitingRoom

_log = logging.getLogger(__name__)

TAKEOVER: Final = TimeoutRange(base_s=1.0, min_s=0.3, max_s=5.0)
"""How long another gateway of our mesh may take to say that it has carried a frame."""
RECEIPT: Final = TimeoutRange(base_s=2.0, min_s=0.5, max_s=10.0)
"""How long a gateway may take to say what becomes of a frame."""
MOST_STANDBY: Final = 4096
MOST_AWAITING: Final = 8192
"""Frames without a word about them, for all meshes; each mesh may have _SENDING in any case."""
MOST_PROMISED: Final = 8192
"""Frames that wait at other gateways; of more, the oldest is left to the one that has it."""
TICK_S: Final = 0.05
_SENDING = 256
_MOST_CARRIED = 1 << 14
_MOST_TRIES = 4
_BATCH = 64

_REFUSED = (Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.STALE, Outcome.MALFORMED)


@dataclass(slots=True, eq=False)
class Carry:
    """A frame on its way to one mesh. until: when phones refuse it. number: its place in the store, if it was there.

    gateway: whom it was sent to; tried: who failed with it. settled: of one from the store, True once a gateway has it
    or it was refused for good, False if it has to stay there.
    """

    frame: BridgeFrame
    origin: str
    target: str
    heard_at: float
    until: float
    number: int | None = None
    gateway: bytes | None = None
    tried: set[bytes] = field(default_factory=set)
    tries: int = 0
    due: float = 0.0
    settled: "asyncio.Future[bool] | None" = None

    def reopen(self) -> None:
        """It is not settled after all."""
        if self.settled is not None and self.settled.done():
            self.settled = self.settled.get_loop().create_future()


@dataclass(slots=True, eq=False)
class _Standby:
    carries: list[Carry]
    elected: bytes
    due: float


class Uplink:
    """siblings: trusted gateways that carry for this mesh of ours, too, by its name. keeps: whether what is for a mesh
    waits for it. wall_ms: Unix milliseconds."""

    def __init__(
        self,
        own: bytes,
        bridge: Bridge,
        exchange: Exchange,
        room: WaitingRoom,
        notices: SiblingNotices,
        numbers: Numbers,
        *,
        siblings: Callable[[str], Iterable[bytes]],
        keeps: Callable[[str], bool],
        wall_ms: Callable[[], int],
    ) -> None:
        self._own = own
        self._bridge = bridge
        self._exchange = exchange
        self._room = room
        self._notices = notices
        self._numbers = numbers
        self._siblings = siblings
        self._keeps = keeps
        self._wall_ms = wall_ms
        self._loop = asyncio.get_running_loop()
        self._standby: OrderedDict[tuple[str, bytes], _Standby] = OrderedDict()
        self._awaiting: dict[tuple[str, bytes], Carry] = {}
        self._awaited: Counter[str] = Counter()
        """How many of them are for each mesh."""
        self._promised: OrderedDict[tuple[str, bytes], Carry] = OrderedDict()
        """What a gateway has said that it will send (QUEUED)."""
        self._carried: FrameCache[bool] = FrameCache(_MOST_CARRIED)
        self._takeover: dict[bytes, AdaptiveTimeout] = {}
        self._patience: dict[bytes, AdaptiveTimeout] = {}
        self._queues: dict[str, FairQueue[Carry]] = {}
        self._sending: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._drains: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def underway(self) -> dict[str, int]:
        """Frames on standby, being sent, and sent without a last word."""
        sending = sum(map(len, self._queues.values())) + sum(self._sending.values())
        awaiting = len(self._awaiting) + len(self._promised)
        return {"standby": len(self._standby), "sending": sending, "awaiting receipts": awaiting}

    def heard(self, mesh: str, frame: BridgeFrame, targets: Iterable[str], heard_at: float) -> None:
        """A frame of a mesh of ours is to cross to meshes of other gateways."""
        until = self._loop.time() + self._bridge.expires_in(frame, self._wall_ms())
        carries = [Carry(frame, mesh, target, heard_at, until) for target in targets]
        others = set(self._siblings(mesh))
        if others:
            # Another one may have heard it before us: through the mesh it takes longer than over the internet.
            carries = [carry for carry in carries if not self._carried.get(_across(mesh, carry.target, frame.key))]
            if not carries:
                self._numbers.events["carried by another"] += 1
                return
        chosen = elected(frame.sender, (self._own, *others)) if others else self._own
        assert chosen is not None
        if chosen == self._own:
            for carry in carries:
                self._start(carry)
            return
        if len(self._standby) >= MOST_STANDBY:
            self._take_over(self._standby.popitem(last=False)[1])
        due = self._loop.time() + self._takeover_of(chosen).current_s
        self._standby[mesh, frame.key] = _Standby(carries, chosen, due)

    def carried(self, gateway: bytes, mesh: str, keys: Iterable[bytes], target: str) -> None:
        """Another gateway of our mesh has carried these to another mesh. Which ones it reaches is its affair."""
        now = self._loop.time()
        for key in keys:
            standby = self._standby.get((mesh, key))
            if standby is None:
                self._carried.put(_across(mesh, target, key), True, now)
                continue
            standby.carries = [carry for carry in standby.carries if carry.target != target]
            if not standby.carries:
                del self._standby[mesh, key]
            self._takeover_of(gateway).succeeded()

    def brought(self, mesh: str, keys: Iterable[bytes]) -> None:
        """These are not of our mesh after all: another gateway brought them, and we heard it before it told us."""
        for key in keys:
            self._standby.pop((mesh, key), None)

    def receipt(self, gateway: bytes, receipt: Receipt) -> None:
        """A gateway says what became of a frame."""
        place = receipt.mesh, receipt.key
        carry = self._awaiting.get(place) or self._promised.get(place)
        # Without a chosen gateway it is the broker who knows whose it is.
        if carry is None or carry.gateway not in (None, gateway):
            self._numbers.events["stray receipts"] += 1
            return
        self._patience_of(gateway).succeeded()
        outcome = receipt.outcome
        if outcome is Outcome.NO_RELAY:
            self._again(carry, gateway)
            return
        if place not in self._promised:
            self._notices.tell(Notice.CARRIED, carry.origin, receipt.key, carry.target)
        if outcome is Outcome.QUEUED:
            self._promise(carry, gateway)
            return
        if outcome in _REFUSED:
            self._numbers.peer(gateway).refused += 1
            self._numbers.events[f"refused: {outcome.name.lower().replace('_', ' ')}"] += 1
        self._settle(carry)

    def gateway_gone(self, gateway: bytes) -> None:
        """What it had to do is done by others."""
        self._takeover.pop(gateway, None)
        self._patience.pop(gateway, None)
        for place, standby in list(self._standby.items()):
            if standby.elected == gateway:
                del self._standby[place]
                self._take_over(standby)
        for carry in [*self._promised.values(), *self._awaiting.values()]:
            if carry.gateway == gateway:
                self._again(carry, gateway)

    def gateway_restarted(self, gateway: bytes) -> None:
        """What it had is sent again, to it or another: what it knows already it will say."""
        for carry in [*self._promised.values(), *self._awaiting.values()]:
            if carry.gateway == gateway:
                self._again(carry, None)

    def reachable(self, mesh: str) -> None:
        """Somebody takes frames for this mesh: what waits for it goes."""
        if self._room.waiting(mesh) and mesh not in self._drains:
            task = self._drains[mesh] = self._begin(self._drain(mesh))
            task.add_done_callback(lambda _: self._drains.pop(mesh, None))

    def tick(self) -> None:
        """To be called every TICK_S: does what is due."""
        now = self._loop.time()
        while self._standby:
            place, standby = next(iter(self._standby.items()))
            if standby.due > now:
                break
            del self._standby[place]
            self._takeover_of(standby.elected).timed_out()
            self._numbers.events["taken over"] += 1
            self._take_over(standby)
        for carry in [carry for carry in self._promised.values() if carry.until <= now]:
            self._lost(carry)
        for carry in [carry for carry in self._awaiting.values() if 0 < carry.due <= now]:
            if carry.until <= now:
                self._lost(carry)
                continue
            if carry.gateway is not None:
                self._patience_of(carry.gateway).timed_out()
            self._numbers.events["receipts late"] += 1
            self._again(carry, carry.gateway)
        for target, queue in list(self._queues.items()):
            self._pump(target)
            if not (queue or self._sending.get(target) or self._awaited[target]):
                # Names come and go.
                del self._queues[target], self._awaited[target]
                self._sending.pop(target, None)
        self._carried.forget(now)

    async def stop(self) -> None:
        """What is not known to have arrived is stored."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = [carry for standby in self._standby.values() for carry in standby.carries]
        left += [carry for queue in self._queues.values() for carry in queue.clear()]
        left += self._awaiting.values()
        left.sort(key=lambda carry: carry.heard_at)
        self._standby.clear()
        self._awaiting.clear()
        self._promised.clear()
        for carry in left:
            if carry.number is None:
                self._store(carry)
        await self._room.flush()

    # --- sending ---

    def _take_over(self, standby: _Standby) -> None:
        for carry in standby.carries:
            self._start(carry)

    def _start(self, carry: Carry) -> None:
        if self._room.waiting(carry.target):
            # Behind what waits already, so that they arrive in order.
            self._store(carry)
            return
        self._enqueue(carry)

    def _enqueue(self, carry: Carry) -> None:
        queue = self._queues.get(carry.target)
        if queue is None:
            queue = self._queues[carry.target] = FairQueue(self._room.random)
        pushed = queue.push(carry, len(carry.frame.value), carry.frame.traffic)
        if pushed.refused is not None:
            self._drop(carry, Drop.QUEUE_FULL)
        for old in pushed.dropped:
            self._drop(old, Drop.QUEUE_FULL)
        self._pump(carry.target)

    def _pump(self, target: str) -> None:
        queue = self._queues[target]
        while not self._stopping and self._sending.get(target, 0) < _SENDING:
            # Who says nothing holds up nobody else.
            if len(self._awaiting) >= MOST_AWAITING and self._awaited[target] >= _SENDING:
                return
            carry = queue.pop()
            if carry is None:
                return
            self._sending[target] = self._sending.get(target, 0) + 1
            self._await(carry)
            self._begin(self._send(carry))

    def _await(self, carry: Carry) -> None:
        # Its receipt can be here before the call that sends it returns, so from before that on.
        place = carry.target, carry.frame.key
        carry.gateway, carry.due = None, 0.0
        self._promised.pop(place, None)
        before = self._awaiting.get(place)
        if before is None:
            self._awaited[carry.target] += 1
        elif before is not carry:
            self._end(before, True)
        self._awaiting[place] = carry

    def _promise(self, carry: Carry, gateway: bytes) -> None:
        # It waits there in its order, so that what comes after it may go.
        self._forget(carry)
        carry.gateway = gateway
        self._promised[carry.target, carry.frame.key] = carry
        self._end(carry, True)
        if len(self._promised) > MOST_PROMISED:
            self._promised.popitem(last=False)
            self._numbers.events["promises forgotten"] += 1
        if carry.target in self._queues:
            self._pump(carry.target)

    def _forget(self, carry: Carry) -> None:
        place = carry.target, carry.frame.key
        if self._awaiting.get(place) is carry:
            del self._awaiting[place]
            self._awaited[carry.target] -= 1
        if self._promised.get(place) is carry:
            del self._promised[place]

    async def _send(self, carry: Carry) -> None:
        place = (carry.target, carry.frame.key)
        now = self._loop.time()
        try:
            if now >= carry.until:
                self._forget(carry)
                self._drop(carry, Drop.EXPIRED)
                return
            waited_ms = int((now - carry.heard_at) * 1000)
            message = FrameMessage(carry.origin, carry.target, carry.frame.value, max(0, waited_ms))
            carry.tries += 1
            gateway = await self._exchange.send_to_mesh(message, carry.frame.sender, carry.frame.traffic, carry.tried)
            size = len(carry.frame.value)
            self._numbers.carried(size)
            if gateway is not None:
                peer = self._numbers.peer(gateway)
                peer.frames_up += 1
                peer.bytes_up += size
            if self._awaiting.get(place) is carry:
                carry.gateway = gateway
                carry.due = min(carry.until, self._loop.time() + self._wait_for(gateway))
        except BitrelayError as error:
            if not isinstance(error, Unreachable):
                _log.info("A frame was not handed over: %s", error)
            self._forget(carry)
            self._nobody_left(carry)
        finally:
            self._sending[carry.target] -= 1
            self._pump(carry.target)

    def _again(self, carry: Carry, failed: bytes | None) -> None:
        # To somebody else; if there is nobody else, later.
        carry.reopen()
        self._forget(carry)
        if failed is not None:
            carry.tried.add(failed)
        if carry.tries >= _MOST_TRIES:
            self._nobody_left(carry)
        else:
            self._enqueue(carry)

    def _nobody_left(self, carry: Carry) -> None:
        carry.tried.clear()
        carry.tries = 0
        if self._loop.time() >= carry.until:
            self._drop(carry, Drop.EXPIRED)
        elif carry.number is not None:
            self._end(carry, False)  # it is in the store
        else:
            self._store(carry)

    def _settle(self, carry: Carry) -> None:
        self._forget(carry)
        self._end(carry, True)
        if carry.target in self._queues:
            self._pump(carry.target)

    def _lost(self, carry: Carry) -> None:
        self._forget(carry)
        self._drop(carry, Drop.IN_FLIGHT)

    def _drop(self, carry: Carry, reason: Drop) -> None:
        self._bridge.drops["up", carry.frame.traffic, reason] += 1
        self._end(carry, True)

    def _end(self, carry: Carry, settled: bool) -> None:
        if carry.settled is not None and not carry.settled.done():
            carry.settled.set_result(settled)

    # --- the store ---

    def _store(self, carry: Carry) -> None:
        if not self._keeps(carry.target):
            self._drop(carry, Drop.IN_FLIGHT)
        elif not self._room.put(carry.origin, carry.target, carry.frame, carry.heard_at):
            self._drop(carry, Drop.STORE_FULL)

    async def _drain(self, mesh: str) -> None:
        while stored := await self._room.first(mesh, _BATCH):
            carries = []
            for each in stored:
                heard_at = self._loop.time() - max(0, self._wall_ms() - each.heard_ms) / 1000
                until = self._loop.time() + self._bridge.expires_in(each.frame, self._wall_ms())
                carry = Carry(each.frame, each.origin, mesh, heard_at, until, each.number)
                carry.settled = self._loop.create_future()
                carries.append(carry)
                self._enqueue(carry)
            while open := [carry.settled for carry in carries if carry.settled and not carry.settled.done()]:
                await asyncio.wait(open)
            done = []
            for carry in carries:
                if carry.number is not None and carry.settled is not None and carry.settled.result():
                    done.append(carry.number)
                    carry.number = None  # from now on it is only here
            await self._room.done(done)
            if len(done) < len(carries):
                return  # it cannot be reached after all; reachable() is called when it can

    # --- patience ---

    def _takeover_of(self, gateway: bytes) -> AdaptiveTimeout:
        return self._takeover.setdefault(gateway, AdaptiveTimeout(TAKEOVER))

    def _patience_of(self, gateway: bytes) -> AdaptiveTimeout:
        return self._patience.setdefault(gateway, AdaptiveTimeout(RECEIPT))

    def _wait_for(self, gateway: bytes | None) -> float:
        return RECEIPT.base_s if gateway is None else self._patience_of(gateway).current_s

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = watched(work, "A task of the gateway has failed")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _across(origin: str, target: str, key: bytes) -> bytes:
    # No name of a mesh has a slash.
    return key + f"{origin}/{target}".encode()
