"""What comes down into one mesh: asked in order of cost, queued, let out by budget.

What is said of a frame that does not come down is told by a look at tables as long as that will do, so that a flood
costs little more than its bytes: whether it is known, may cross and is wanted, whether its gateway has budget left. The
signature of an announce, which takes longer than all of that, is checked last.
"""

from collections.abc import Iterable
from typing import Final

from shared_protocol.frame import TYPE_ANNOUNCE

from .announce_filter import AnnounceFilter
from .announce_proof import signer_of
from .bridge_frame import BridgeFrame
from .config import MeshConfig
from .crossing import Down, Drop, Dropped
from .downlink_budget import Admission, DownlinkBudget
from .downlink_queue import DownlinkQueue, Waiting
from .eligibility import barred, is_fresh
from .frame_cache import FrameCache
from .message import MeshOffer

BROUGHT: Final = b""
"""What is known of a frame that was brought into a mesh from elsewhere, or waits to be. Of one that its own author said
there, his on-air id is."""
KnownFrames = FrameCache[bytes]


class Downlink:
    """The way down into one mesh of ours. known: what is known there. offer: what others are told of it."""

    def __init__(self, config: MeshConfig, known: KnownFrames) -> None:
        self.config = config
        self.offer = offer_of(config)
        self.known = known
        self.queue = DownlinkQueue(config.downlink.queue)
        self.budget = DownlinkBudget(config.downlink)
        self._admission = Admission(config.downlink)
        self._announces = AnnounceFilter()

    def configure(self, config: MeshConfig, now: float) -> list[Dropped]:
        """Other budgets from now on; what no longer goes down."""
        self.config = config
        self.offer = offer_of(config)
        self.queue.most = config.downlink.queue
        self.budget.configure(config.downlink, now)
        self._admission.configure(config.downlink)
        return [] if config.downlink.enabled else self.close()

    def close(self) -> list[Dropped]:
        """Nothing goes down any more; what waited."""
        return [self._dropped(waiting, Drop.DOWNLINK_OFF) for waiting in self.queue.clear()]

    def admit(
        self, frame: BridgeFrame, origin: str, geohash: str, gateway: bytes, is_own: bool, now: float, wall_ms: int
    ) -> tuple[Drop | None, bytes | None]:
        """Why a frame does not come down, None if it may; and the signing key of an announce that may.

        It is then charged to its author and to its gateway. geohash: of the origin. is_own: it is from another mesh of
        ours, and was looked at there.
        """
        config = self.config
        if not config.downlink.enabled:
            return Drop.DOWNLINK_OFF, None
        if self.known.get(frame.key) is not None:
            return Drop.DUPLICATE, None
        reason = barred(frame, wall_ms)
        if reason is not None:
            return reason, None
        if origin == config.name or (frame.recipient is None and not self.offer.wants(origin, geohash)):
            return Drop.NOT_SUBSCRIBED, None
        if not is_own and self._admission.is_spent(gateway, now):
            return Drop.GATEWAY_BUDGET, None
        signer = None
        if frame.type == TYPE_ANNOUNCE:
            judged = self._announces.judge(frame, config.announce_every_s, now, is_own)
            if isinstance(judged, Drop):
                if not is_own:
                    self._admission.charge_refused(gateway, judged)
                return judged, None
            signer = judged
        reason = self._admission.charge(frame.sender, None if is_own else gateway, now)
        if reason is not None and signer is not None:
            self._announces.take_back(frame, signer)
        return reason, signer

    def push(self, waiting: Waiting, now: float) -> tuple[Drop | None, list[Dropped]]:
        """Let a frame that was admitted wait for its turn; why not, and what had to go for it."""
        gone = self.queue.push(waiting)
        if gone is waiting:
            self._let_go(waiting)
            return Drop.QUEUE_FULL, []
        self.known.put(waiting.frame.key, BROUGHT, now)
        if gone is None:
            return None, []
        self._let_go(gone)
        return None, [self._dropped(gone, Drop.QUEUE_FULL)]

    def next(self, now: float, wall_ms: int) -> tuple[Down | float | None, list[Dropped]]:
        """What goes into the mesh now, in how many seconds something may, or None; and what waited too long."""
        dropped: list[Dropped] = []
        queue = self.queue
        while (waiting := queue.first()) is not None:
            frame = waiting.frame
            if not is_fresh(frame, wall_ms):
                queue.remove(waiting)
                self._let_go(waiting)
                dropped.append(self._dropped(waiting, Drop.EXPIRED))
                continue
            wait = self.budget.wait_s(now)
            if wait > 0:
                return wait, dropped
            queue.take(waiting)
            self.budget.charge(len(frame.value), now)
            value = frame.lowered(self.config.downlink.max_ttl)
            return Down(frame, value, waiting.origin, waiting.gateway), dropped
        return None, dropped

    def put_back(self, down: Down, now: float) -> list[Dropped]:
        """It did not go into the mesh after all: it is the next one again, unless nothing goes down any more."""
        frame = down.frame
        self.budget.refund(len(frame.value), now)
        if self.queue.find(frame.key) is not None:
            return []
        signer = signer_of(frame) if frame.type == TYPE_ANNOUNCE else None
        waiting = Waiting(frame, down.origin, down.gateway, signer, told=True)
        if not self.config.downlink.enabled:
            self._let_go(waiting)
            return [self._dropped(waiting, Drop.DOWNLINK_OFF)]
        self.queue.put_back(waiting)
        return []

    def hand_back(self, own: bytes) -> list[Dropped]:
        """No relay is there: what other gateways brought they may bring another one. What that one was told of already
        it would not take."""
        gone = self.queue.clear(lambda waiting: waiting.gateway != own and not waiting.told)
        for waiting in gone:
            self._let_go(waiting)
        return [self._dropped(waiting, Drop.NO_RELAY) for waiting in gone]

    def came_otherwise(self, keys: Iterable[bytes], now: float) -> list[Dropped]:
        """These frames are brought into the mesh by somebody else; what therefore need not wait any longer."""
        dropped = []
        for key in keys:
            waiting = self.queue.find(key)
            if waiting is not None:
                self.queue.remove(waiting)
                dropped.append(self._dropped(waiting, Drop.DUPLICATE))
            self.known.put(key, BROUGHT, now)
        return dropped

    def forget(self, now: float) -> None:
        """Let go of what is too old to matter."""
        self._announces.forget(self.config.announce_every_s, now)

    def _let_go(self, waiting: Waiting) -> None:
        # It may come again, and an announce of the same author in its place.
        self.known.drop(waiting.frame.key)
        if waiting.signer is not None:
            self._announces.take_back(waiting.frame, waiting.signer)

    def _dropped(self, waiting: Waiting, reason: Drop) -> Dropped:
        return Dropped(waiting.frame, waiting.gateway, self.config.name, reason)


def offer_of(config: MeshConfig) -> MeshOffer:
    """What other gateways are told of a mesh of ours."""
    return MeshOffer(config.name, config.geohash, config.downlink.enabled, config.uplink, config.subscribe)
