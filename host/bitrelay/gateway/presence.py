"""For which share of the time other gateways could be reached, since we know them (row GWY-09)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST: Final = 1024
"""Gateways that are remembered; of more, the one heard of least recently goes."""


@dataclass(slots=True)
class _Seen:
    since: float
    up_since: float | None
    up_s: float = 0.0


class Presence:
    """now: seconds of any one clock that does not go back."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def came(self, peer_id: bytes, now: float) -> None:
        """It can be reached from now on."""
        seen = self._seen.setdefault(peer_id, _Seen(now, now))
        if seen.up_since is None:
            seen.up_since = now
        self._seen.move_to_end(peer_id)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def went(self, peer_id: bytes, now: float) -> None:
        """It no longer can."""
        seen = self._seen.get(peer_id)
        if seen is not None and seen.up_since is not None:
            seen.up_s += now - seen.up_since
            seen.up_since = None

    def share(self, peer_id: bytes, now: float) -> float | None:
        """0 to 1; None of a gateway that is not known."""
        seen = self._seen.get(peer_id)
        if seen is None:
            return None
        if now <= seen.since:
            return 1.0
        up_s = seen.up_s + (0.0 if seen.up_since is None else now - seen.up_since)
        return min(1.0, up_s / (now - seen.since))
