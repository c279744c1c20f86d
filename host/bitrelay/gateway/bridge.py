"""What goes up, what comes down, once each: the policy of a gateway, without I/O and without a clock.

now: seconds of a clock that does not go back; wall_ms: Unix milliseconds. Everything is bounded, every drop counted by
its reason.

The parts: eligibility (may it cross at all), frame_cache (was it here before), announce_filter, whereabouts (who is
where), routes (which meshes want it), downlink (what comes down, with queue, budgets and throttle).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from shared_protocol.frame import TYPE_ANNOUNCE

from ..transports.fair_queue import Traffic
from .announce_filter import AnnounceFilter, NewestAnnounces
from .bridge_frame import BridgeFrame
from .config import MeshConfig
from .crossing import OUTCOMES, Down, Drop, Dropped, Heard
from .downlink import BROUGHT, Downlink, KnownFrames
from .downlink_budget import MOST_GATEWAYS
from .downlink_queue import Waiting
from .eligibility import barred, seconds_left
from .frame_cache import FrameCache
from .message import MeshOffer, Outcome
from .routes import Routes
from .whereabouts import Whereabouts

__all__ = ("OUTCOMES", "Bridge", "Down", "Drop", "Dropped", "Heard")

HOLD_S: Final = 30.0
"""How much longer than its rate a proved announce holds its author to his mesh: the next one need not come at once."""
_NOT: Final = {reason: Heard(drop=reason) for reason in Drop}


class _Mesh:
    # One of our own.
    def __init__(self, config: MeshConfig) -> None:
        self.config = config
        self.known: KnownFrames = FrameCache()
        self.announces = AnnounceFilter()
        self.newest = NewestAnnounces()
        self.down = Downlink(config, self.known)


class Bridge:
    """The policy for all meshes of one gateway.

    own: our PeerId. offers: the meshes that can be reached over other gateways, set anew by whoever knows whenever they
    change; names of our own are not in it. drops: by (direction, class, reason), direction "up" or "down". dropped:
    those that waited, to be taken by whoever tells their gateways. throttled: by PeerId, gateways over their budget,
    with how many frames of theirs were refused for it, to be taken by whoever names them; of MOST_GATEWAYS at most.
    """

    def __init__(self, own: bytes, meshes: Sequence[MeshConfig]) -> None:
        self.drops: Counter[tuple[str, Traffic, Drop]] = Counter()
        self.dropped: list[Dropped] = []
        self.throttled: Counter[bytes] = Counter()
        self._own = own
        self._meshes: dict[str, _Mesh] = {}
        self._carried: FrameCache[tuple[str, ...]] = FrameCache()
        """Meshes that each frame went to or came from, whichever way."""
        self._whereabouts = Whereabouts()
        self._routes = Routes()
        self._now = 0.0
        self.configure(meshes)

    @property
    def offers(self) -> Mapping[str, MeshOffer]:
        return self._routes.offers

    @offers.setter
    def offers(self, offers: Mapping[str, MeshOffer]) -> None:
        self._routes.set_offers(offers)

    def configure(self, meshes: Sequence[MeshConfig]) -> None:
        """Go on with these meshes: budgets and subscriptions may change, what is remembered and waits stays."""
        kept: dict[str, _Mesh] = {}
        for config in meshes:
            mesh = self._meshes.pop(config.name, None)
            if mesh is None:
                mesh = _Mesh(config)
            else:
                mesh.config = config
                self._drop(mesh.down.configure(config, self._now))
            kept[config.name] = mesh
        for gone in self._meshes.values():
            self._drop(gone.down.close())
        self._meshes = kept
        self._routes.set_meshes(meshes)

    def heard(self, mesh: str, frame: BridgeFrame, now: float, wall_ms: int) -> Heard:
        """A frame came from a mesh of ours. Remembers it, and where its author is."""
        self._now = now
        here = self._meshes.get(mesh)
        if here is None:  # it has just been taken out of the configuration
            return self._not_up(frame, Drop.UPLINK_OFF)
        reason = barred(frame, wall_ms)
        if reason is not None:
            return self._not_up(frame, reason)
        known = here.known.get(frame.key)
        if known is not None:
            if known != BROUGHT:
                return self._not_up(frame, Drop.DUPLICATE)
            if here.down.queue.find(frame.key) is not None:
                self._drop(here.down.came_otherwise((frame.key,), now))
            return self._not_up(frame, Drop.FROM_INTERNET)
        signer = None
        if frame.type == TYPE_ANNOUNCE:
            judged = here.announces.judge(frame, here.config.announce_every_s, now)
            if judged is Drop.ANNOUNCE_FORGED:
                # Not remembered: what was altered on its way may have the key of the true one.
                return self._not_up(frame, judged)
            if not isinstance(judged, Drop):
                signer = judged
        here.known.put(frame.key, frame.sender, now)
        self._learn(frame, mesh, signer, here.config, now)
        if signer is not None:
            here.newest.keep(frame, signer, now, wall_ms)
        elif frame.type == TYPE_ANNOUNCE:
            return self._not_up(frame, Drop.ANNOUNCE_RATE)
        up = self._up(here, frame, now, wall_ms)
        if signer is not None and not up.targets:
            # Who is there in a moment is to know him then.
            here.announces.take_back(frame, signer)
        return up

    def arrived(self, mesh: str, frame: BridgeFrame, origin: str, gateway: bytes, now: float, wall_ms: int) -> Outcome:
        """A frame for a mesh of ours came from elsewhere: QUEUED, or why not. Remembers where its author is."""
        self._now = now
        here = self._meshes.get(mesh)
        if here is None:
            return self._not_down(frame, Drop.DOWNLINK_OFF)
        is_own = gateway == self._own
        geohash = self._routes.geohash(origin)
        reason, signer = here.down.admit(frame, origin, geohash, gateway, is_own, now, wall_ms)
        if reason is None:
            reason, dropped = here.down.push(Waiting(frame, origin, gateway, signer), now)
            if dropped:
                self._drop(dropped)
        elif reason is Drop.GATEWAY_BUDGET and (gateway in self.throttled or len(self.throttled) < MOST_GATEWAYS):
            self.throttled[gateway] += 1
        elif reason is Drop.DUPLICATE and frame.type == TYPE_ANNOUNCE:
            self._whereabouts.doubt(frame.sender, origin, now)
        if reason is not None:
            return self._not_down(frame, reason)
        if not is_own:  # else it was heard by us, and all of this is known
            self._learn(frame, origin, signer, here.config, now)
            carried = self._carried.get(frame.key)
            if carried is None or origin not in carried:
                self._carried.put(frame.key, (*(carried or ()), origin), now)
        return Outcome.QUEUED

    def brought(self, mesh: str, keys: Iterable[bytes], now: float) -> None:
        """Another gateway of this mesh of ours brings these frames into it: they neither go up nor down here."""
        self._now = now
        here = self._meshes.get(mesh)
        if here is None:
            return
        keys = tuple(keys)
        for key in keys:
            author = here.known.get(key)
            if author:
                # We heard it before we were told. Its author is elsewhere.
                self._whereabouts.unlearn(author, mesh)
        self._drop(here.down.came_otherwise(keys, now))

    def next_down(self, mesh: str, now: float, wall_ms: int) -> Down | float | None:
        """What goes into a mesh now; or in how many seconds something may; or None: nothing waits.

        What it gives counts as sent: it is charged to the budgets, and known in the mesh.
        """
        self._now = now
        here = self._meshes.get(mesh)
        if here is None:
            return None
        going, dropped = here.down.next(now, wall_ms)
        if dropped:
            self._drop(dropped)
        return going

    def not_sent(self, mesh: str, down: Down, now: float) -> None:
        """The relay did not take it after all: it goes back to the front of its queue."""
        self._now = now
        here = self._meshes.get(mesh)
        if here is None:
            self._drop([Dropped(down.frame, down.gateway, mesh, Drop.DOWNLINK_OFF)])
        else:
            self._drop(here.down.put_back(down, now))

    def no_relay(self, mesh: str) -> None:
        """No relay has been there for a while: what waits goes back to the gateways that it is from."""
        here = self._meshes.get(mesh)
        if here is not None:
            self._drop(here.down.hand_back(self._own))

    def relay_pressure(self, mesh: str, pressure: float, now: float) -> None:
        """How full the relay says it is, 0 (idle) to 1 (its queues are full): what goes down adapts (row GWY-15)."""
        self._now = now
        here = self._meshes.get(mesh)
        if here is not None:
            here.down.budget.report(pressure, now)

    def waiting(self, mesh: str) -> dict[Traffic, int]:
        """How many frames wait to go down, by class."""
        here = self._meshes.get(mesh)
        return here.down.queue.counts() if here is not None else dict.fromkeys(Traffic, 0)

    def load(self) -> int:
        """Percent of the downlink's budget in use now, that of the busiest mesh."""
        loads = [mesh.down.budget.load(self._now) for mesh in self._meshes.values() if mesh.config.downlink.enabled]
        return min(100, round(100 * max(loads, default=0.0)))

    def expires_in(self, frame: BridgeFrame, wall_ms: int) -> float:
        """For how many seconds phones will still accept it (bitchat protocol, 4.8); negative when they do not."""
        return seconds_left(frame, wall_ms)

    def forget(self, now: float) -> None:
        """Let go of what is too old to matter; to be called once in a while."""
        self._now = now
        self._carried.forget(now)
        self._whereabouts.forget(now)
        for mesh in self._meshes.values():
            mesh.known.forget(now)
            mesh.announces.forget(mesh.config.announce_every_s, now)
            mesh.newest.forget(now)
            mesh.down.forget(now)

    def remember(self, mesh: str, keys: Iterable[bytes], now: float) -> None:
        """These frames were sent into a mesh of ours before we were started."""
        here = self._meshes.get(mesh)
        if here is not None:
            for key in keys:
                here.known.put(key, BROUGHT, now)

    def _up(self, here: _Mesh, frame: BridgeFrame, now: float, wall_ms: int) -> Heard:
        # Where a frame that may cross and is new goes.
        config = here.config
        if not config.uplink:
            return self._not_up(frame, Drop.UPLINK_OFF)
        plain = self._routes.everywhere(config)
        if frame.recipient is not None:
            place = self._whereabouts.where(frame.recipient, now)
            if place == config.name:
                return self._not_up(frame, Drop.RECIPIENT_HERE)
            if place is not None and self._routes.is_known(place):
                plain = self._routes.only(place)
        if not plain.targets:
            return self._not_up(frame, Drop.NOT_SUBSCRIBED)
        carried = self._carried.get(frame.key)
        targets = self._left(plain.targets, frame.key, carried)
        if not targets:
            return self._not_up(frame, Drop.DUPLICATE)
        self._carried.put(frame.key, (*carried, *targets) if carried else targets, now)
        if frame.type == TYPE_ANNOUNCE:
            here.newest.crossed(frame, targets, now)
            before: tuple[BridgeFrame, ...] = ()
        else:
            before = here.newest.due(frame.sender, targets, config.announce_every_s, now, wall_ms)
        if targets is plain.targets and not before:
            return plain
        return Heard(targets, before=before)

    def _left(self, targets: tuple[str, ...], key: bytes, carried: tuple[str, ...] | None) -> tuple[str, ...]:
        # Those of the targets where it neither went nor is known.
        there = set(carried or ())
        for name, mesh in self._meshes.items():
            if mesh.known.get(key) is not None:
                there.add(name)
        return tuple(name for name in targets if name not in there) if not there.isdisjoint(targets) else targets

    def _learn(self, frame: BridgeFrame, mesh: str, signer: bytes | None, config: MeshConfig, now: float) -> None:
        if signer is None:
            self._whereabouts.learn(frame.sender, mesh, now)
        else:
            hold_s = config.announce_every_s + HOLD_S
            self._whereabouts.learn_proved(frame.sender, mesh, signer, frame.timestamp_ms, now, hold_s)

    def _not_up(self, frame: BridgeFrame, reason: Drop) -> Heard:
        self.drops["up", frame.traffic, reason] += 1
        return _NOT[reason]

    def _not_down(self, frame: BridgeFrame, reason: Drop) -> Outcome:
        self.drops["down", frame.traffic, reason] += 1
        return OUTCOMES[reason]

    def _drop(self, dropped: Iterable[Dropped]) -> None:
        for each in dropped:
            self.drops["down", each.frame.traffic, each.reason] += 1
            self.dropped.append(each)
