"""What enters our meshes: the policy says what and when, a relay sends it, and everybody concerned is told.

Before frames go into a mesh its other gateways are told of them, so that these do not take them for the mesh's own.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ..errors import BitrelayError
from ..mesh.relay_chain import packet_hash
from ..transports.fair_queue import Traffic
from ..watched_task import watched
from .bridge import OUTCOMES, Bridge, Down
from .bridge_frame import BridgeFrame
from .exchange import Exchange
from .message import Notice, Outcome, Receipt
from .numbers import Numbers
from .relay_link import RelayLink
from .relay_record import RelayRecord
from .sibling_notices import SiblingNotices
from .steady import steadily

_log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Frames that go to a relay before the policy is asked again."""
AGAIN_S: Final = 0.5
"""After a relay did not take a frame."""
MOST_RECEIPTS: Final = 4096
"""That wait for one gateway."""
RECEIPT_S: Final = 5.0
STOP_S: Final = 1.0
"""For what a relay is to take yet when we stop."""
_MOST_ORIGINS = 8192


class MeshFeed:
    """relays: of each mesh of ours."""

    def __init__(
        self,
        own: bytes,
        bridge: Bridge,
        exchange: Exchange,
        relays: dict[str, Sequence[RelayLink]],
        record: RelayRecord,
        notices: SiblingNotices,
        numbers: Numbers,
        *,
        wall_ms: Callable[[], int],
    ) -> None:
        self._own = own
        self._bridge = bridge
        self._exchange = exchange
        self._relays = relays
        self._record = record
        self._notices = notices
        self._numbers = numbers
        self._wall_ms = wall_ms
        self._loop = asyncio.get_running_loop()
        self._wake = {mesh: asyncio.Event() for mesh in relays}
        self._heard_at: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._receipts: dict[bytes, deque[Receipt]] = {}
        """By gateway: one that takes none holds up nobody else's."""
        self._answering: set[asyncio.Task[None]] = set()
        self._before: set[tuple[str, bytes]] = set()
        self._tasks: list[asyncio.Task[Any]] = []
        self._stopping = asyncio.Event()

    def start(self, before: set[tuple[str, bytes]]) -> None:
        """before: meshes and hashes of frames that went there before we were started: they do not go again."""
        self._before = before
        feeds = [partial(self._feed, mesh) for mesh in self._relays]
        self._tasks = [self._loop.create_task(steadily(feed, self._numbers.failed)) for feed in feeds]

    def forget_before(self) -> None:
        """It was long ago."""
        self._before.clear()

    async def stop(self) -> None:
        """Nothing more goes into a mesh than others were told of; harmless when repeated."""
        self._stopping.set()
        for wake in self._wake.values():
            wake.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        tasks = [*self._tasks, *self._answering]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def wake(self, mesh: str) -> None:
        """Something may go into it now."""
        self._wake[mesh].set()

    def gateway_gone(self, gateway: bytes) -> None:
        """It need not be told anything any more."""
        waiting = self._receipts.get(gateway)
        if waiting:
            self._numbers.events["receipts dropped"] += len(waiting)
            waiting.clear()

    def arrived(self, mesh: str, frame: BridgeFrame, origin: str, gateway: bytes, heard_at: float) -> Outcome:
        """A frame for a mesh of ours has come: what becomes of it, which its gateway is told. gateway: who sent it,
        ourselves for one of another mesh of ours."""
        if gateway != self._own and not any(relay.is_up for relay in self._relays[mesh]):
            self.answer(gateway, mesh, frame.key, Outcome.NO_RELAY)
            return Outcome.NO_RELAY
        if self._before and (mesh, packet_hash(frame.value)) in self._before:
            self._bridge.remember(mesh, (frame.key,), self._loop.time())
        outcome = self._bridge.arrived(mesh, frame, origin, gateway, self._loop.time(), self._wall_ms())
        if gateway != self._own:
            if outcome in (Outcome.QUEUED, Outcome.KNOWN):
                peer = self._numbers.peer(gateway)
                peer.frames_down += 1
                peer.bytes_down += len(frame.value)
            else:
                self._numbers.peer(gateway).refused += 1
            self.answer(gateway, mesh, frame.key, outcome)
        if outcome is Outcome.QUEUED:
            self._heard_at[mesh, frame.key] = heard_at
            if len(self._heard_at) > _MOST_ORIGINS:
                self._heard_at.popitem(last=False)
            self._wake[mesh].set()
        self._tell_dropped()
        return outcome

    async def _feed(self, mesh: str) -> None:
        wake = self._wake[mesh]
        without = 0
        while not self._stopping.is_set():
            wake.clear()
            batch: list[Down] = []
            wait: float | None = AGAIN_S
            await self._record.room()
            if self._stopping.is_set():
                return
            relay = self._relay_of(mesh)
            without = 0 if relay is not None else without + 1
            if without > 1:
                self._bridge.no_relay(mesh)
            if relay is not None:
                while len(batch) < AT_ONCE:
                    found = self._bridge.next_down(mesh, self._loop.time(), self._wall_ms())
                    if not isinstance(found, Down):
                        wait = found
                        break
                    batch.append(found)
                else:
                    wait = 0.0
            self._tell_dropped()
            if batch and relay is not None:
                self._notices.tell_now(Notice.INTAKE, mesh, [down.frame.key for down in batch])
                if not await self._send(mesh, relay, batch):
                    wait = AGAIN_S
            if wait == 0.0:
                continue
            try:
                async with asyncio.timeout(wait):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _send(self, mesh: str, relay: RelayLink, batch: list[Down]) -> bool:
        for number, down in enumerate(batch):
            try:
                await relay.send(down.value)
            except Exception as error:
                if not isinstance(error, BitrelayError):
                    _log.exception("The relay %s failed, by a fault of bitrelay's own", relay.name)
                    self._numbers.failed()
                _log.info("The relay %s did not take a frame: %s", relay.name, error)
                self._numbers.events["relay did not take it"] += 1
                for left in reversed(batch[number:]):
                    self._bridge.not_sent(mesh, left, self._loop.time())
                return False
            self._sent(mesh, down)
        return True

    def _sent(self, mesh: str, down: Down) -> None:
        self._numbers.crossed("down", down.frame.traffic, len(down.value))
        heard_at = self._heard_at.pop((mesh, down.frame.key), None)
        waited_ms = 0.0 if heard_at is None else (self._loop.time() - heard_at) * 1000
        self._numbers.delayed(waited_ms)
        then = None
        if down.gateway != self._own:
            gateway, key = down.gateway, down.frame.key

            def then() -> None:
                self.answer(gateway, mesh, key, Outcome.SENT)

        self._record.relayed(down, mesh, waited_ms, then)

    def _relay_of(self, mesh: str) -> RelayLink | None:
        # The one with most room: they are all in the same mesh.
        up = [relay for relay in self._relays[mesh] if relay.is_up]
        return min(up, key=lambda relay: relay.pressure, default=None)

    def _tell_dropped(self) -> None:
        dropped, self._bridge.dropped = self._bridge.dropped, []
        for each in dropped:
            self._heard_at.pop((each.mesh, each.frame.key), None)
            if each.gateway != self._own:
                self.answer(each.gateway, each.mesh, each.frame.key, OUTCOMES[each.reason])

    def answer(self, gateway: bytes, mesh: str, key: bytes, outcome: Outcome) -> None:
        """Say what becomes of a frame to the gateway that sent it."""
        waiting = self._receipts.get(gateway)
        if self._stopping.is_set():
            return  # whoever sent it sends it to another one
        if waiting is None:
            waiting = self._receipts[gateway] = deque()
            task = watched(self._send_receipts(gateway, waiting), "Receipts of the gateway have failed")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        if len(waiting) >= MOST_RECEIPTS:
            self._numbers.events["receipts dropped"] += 1
        else:
            waiting.append(Receipt(mesh, key, outcome))

    async def _send_receipts(self, gateway: bytes, waiting: deque[Receipt]) -> None:
        try:
            while waiting:
                receipt = waiting.popleft()
                try:
                    async with asyncio.timeout(RECEIPT_S):
                        await self._exchange.send(gateway, receipt, Traffic.INTERACTIVE)
                except (BitrelayError, TimeoutError):
                    self._numbers.events["receipts dropped"] += 1
        finally:
            del self._receipts[gateway]
