"""Who says to be next to whom, and the source routes an app finds from it (bitchat protocol, section 3.1)."""

from collections import deque
from collections.abc import Iterable

from .phone_profile import AppRules

# The most hops between the sender and the recipient.
MAX_HOPS = 4


class Topology:
    """The lists of neighbors that were heard in good announces. Times are monotonic seconds."""

    def __init__(self, rules: AppRules) -> None:
        self._rules = rules
        self._claims: dict[bytes, tuple[frozenset[bytes], float]] = {}
        self._sent_v2: dict[bytes, float] = {}

    def claim(self, peer_id: bytes, neighbors: Iterable[bytes], now: float) -> None:
        """This peer says that these are its neighbors."""
        self._claims[peer_id] = (frozenset(neighbors) - {peer_id}, now)

    def sent_v2(self, peer_id: bytes, now: float) -> None:
        """This peer was seen to send a version-2 frame of its own."""
        self._sent_v2[peer_id] = now

    def route(self, start: bytes, neighbors: Iterable[bytes], target: bytes, now: float) -> tuple[bytes, ...] | None:
        """The hops between start, whose neighbors these are, and target: the fewest there are; None if no way is known.

        An edge counts if both ends list each other and neither list is old.
        """
        fresh = {
            peer_id: claimed
            for peer_id, (claimed, at) in self._claims.items()
            if now - at < self._rules.claim_life_s and peer_id != start
        }
        fresh[start] = frozenset(neighbors)
        ways: deque[tuple[bytes, ...]] = deque([()])
        seen = {start}
        while ways:
            way = ways.popleft()
            last = way[-1] if way else start
            for peer_id in sorted(fresh[last] - seen):
                if peer_id not in fresh or last not in fresh[peer_id]:
                    continue
                if peer_id == target:
                    return way
                seen.add(peer_id)
                if len(way) < MAX_HOPS and self._may_be_hop(peer_id, now):
                    ways.append((*way, peer_id))
        return None

    def _may_be_hop(self, peer_id: bytes, now: float) -> bool:
        if not self._rules.hops_send_v2:
            return True
        at = self._sent_v2.get(peer_id)
        return at is not None and now - at < self._rules.claim_life_s
