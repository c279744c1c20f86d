"""What a gateway counts: frames and bytes by class and by peer, drops by reason, delays, bandwidth (row GWY-12)."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from ..transports.fair_queue import Traffic

MOST_PEERS: Final = 1024
"""Gateways that are counted apart; of more, the one heard of least recently goes."""
DELAY_BOUNDS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 150, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 120_000)
_OLD, _NEW = 0.9, 0.1


@dataclass(slots=True)
class PeerNumbers:
    """Of one other gateway. up: sent to it, down: taken from it."""

    frames_up: int = 0
    frames_down: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    refused: int = 0


@dataclass(slots=True)
class Numbers:
    """frames, volume (bytes): by (direction, class), "up" for what left a mesh of ours, "down" for what entered one.

    events: by what happened. delays: of frames that went down, from being heard to being sent, by bound; the last is
    for longer ones.
    """

    frames: Counter[tuple[str, Traffic]] = field(default_factory=Counter)
    volume: Counter[tuple[str, Traffic]] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAY_BOUNDS_MS) + 1))
    delay_sum_ms: float = 0.0
    local_mbps: float = 0.0
    internet_mbps: float = 0.0
    peers: OrderedDict[bytes, PeerNumbers] = field(default_factory=OrderedDict)
    _interval: Counter[str] = field(default_factory=Counter)

    def peer(self, peer_id: bytes) -> PeerNumbers:
        """Those of one gateway, made when it is first asked for."""
        found = self.peers.get(peer_id)
        if found is None:
            found = self.peers[peer_id] = PeerNumbers()
            if len(self.peers) > MOST_PEERS:
                self.peers.popitem(last=False)
        else:
            self.peers.move_to_end(peer_id)
        return found

    def crossed(self, direction: str, traffic: Traffic, size: int) -> None:
        """A frame left or entered a mesh."""
        self.frames[direction, traffic] += 1
        self.volume[direction, traffic] += size
        self._interval["local"] += size

    def carried(self, size: int) -> None:
        """So many bytes went to or came from another gateway."""
        self._interval["internet"] += size

    def failed(self) -> None:
        """A task ended by a fault of ours, and goes on."""
        self.events["faults"] += 1

    def delayed(self, ms: float) -> None:
        """A frame went down so long after it was heard."""
        self.delay_sum_ms += ms
        for index, bound in enumerate(DELAY_BOUNDS_MS):
            if ms <= bound:
                self.delays[index] += 1
                return
        self.delays[-1] += 1

    def tick(self, seconds: float) -> None:
        """So much time has passed since the last tick: bandwidths are running means of 0.9 and 0.1."""
        for side in ("local", "internet"):
            mbps = self._interval[side] * 8 / 1e6 / seconds
            name = f"{side}_mbps"
            setattr(self, name, _OLD * getattr(self, name) + _NEW * mbps)
        self._interval.clear()
