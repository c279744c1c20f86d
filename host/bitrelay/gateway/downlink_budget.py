"""How much of the internet a mesh takes: from one author, from one gateway, and in all (row GWY-15).

A gateway's budgets are its own: two gateways of one mesh let in twice as much, unless its relays are full
(throttle.py).

What comes in is admitted by author and gateway, up to a minute's worth at once, because it may wait in the queue. What
goes into the mesh is let out by frames and by airtime, a tenth of a minute's worth at once, so that 30 frames a minute
are three at once and then one every two seconds. A frame takes 2.5 ms and 10 us a byte, as relays count it
(shared_protocol/budget.py).

A frame refused for its author costs its gateway a quarter of one: a gateway that sends nothing but one author's flood
is found out, and one of whose authors talks too much does not pay for him in full.
"""

import math
from collections import OrderedDict
from typing import Final

from ..transports.token_bucket import TokenBucket
from .bridge_frame import MAX_VALUE
from .config import DownlinkConfig
from .crossing import Drop
from .throttle import Throttle

MOST_AUTHORS: Final = 4096
MOST_GATEWAYS: Final = 1024
"""Whose budgets are remembered; of more, the one not heard of for longest starts anew."""
REFUSED_COST: Final = 0.25
LONGEST_WAIT_S: Final = 60.0
"""When budgets would never be there: somebody may change them."""
_FRAME_MS, _BYTE_MS = 2.5, 0.01
_BURST_S = 6.0
_SHORTEST_WAIT_S = 0.001  # so that no rounding makes a caller come back at the same moment
_SPENT_OVER_S = 30.0
"""Of which time the load tells."""


def airtime_ms(size: int) -> float:
    """What a frame of so many bytes takes of a relay and its air."""
    return _FRAME_MS + _BYTE_MS * size


class _Buckets:
    # One bucket for each of many; each begins full.
    def __init__(self, per_minute: float, most: int) -> None:
        self._most = most
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self.configure(per_minute)

    def __len__(self) -> int:
        return len(self._buckets)

    def configure(self, per_minute: float) -> None:
        self._capacity = max(1.0, per_minute)
        self._per_s = per_minute / 60
        for bucket in self._buckets.values():
            bucket.capacity, bucket.per_s = self._capacity, self._per_s

    def of(self, whom: bytes) -> TokenBucket:
        buckets = self._buckets
        found = buckets.get(whom)
        if found is None:
            found = buckets[whom] = TokenBucket(self._capacity, self._per_s)
            if len(buckets) > self._most:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(whom)
        return found


class Admission:
    """Who may bring how much into one mesh. now: seconds."""

    def __init__(self, config: DownlinkConfig) -> None:
        self._authors = _Buckets(_author_per_minute(config), MOST_AUTHORS)
        self._gateways = _Buckets(_gateway_per_minute(config), MOST_GATEWAYS)

    def configure(self, config: DownlinkConfig) -> None:
        self._authors.configure(_author_per_minute(config))
        self._gateways.configure(_gateway_per_minute(config))

    def is_spent(self, gateway: bytes, now: float) -> bool:
        """Whether a gateway has no budget left: to be asked before anything that costs more."""
        return not self._gateways.of(gateway).has_token(now)

    def charge(self, author: bytes, gateway: bytes | None, now: float) -> Drop | None:
        """Take a frame from the budgets of its author and of a gateway that has some left (None: one of our own
        meshes); or why the author may not."""
        is_admitted = self._authors.of(author).consume(now)
        if gateway is not None:
            self._gateways.of(gateway).take(1.0 if is_admitted else REFUSED_COST)
        return None if is_admitted else Drop.AUTHOR_BUDGET

    def charge_refused(self, gateway: bytes, reason: Drop) -> None:
        """A gateway that has some budget left sent an announce that may not cross. A forged one costs it a whole frame,
        because it cost us the look at a signature."""
        self._gateways.of(gateway).take(1.0 if reason is Drop.ANNOUNCE_FORGED else REFUSED_COST)


class DownlinkBudget:
    """What goes into one mesh, of all. now: seconds. Under pressure from the relay both rates and bursts shrink."""

    def __init__(self, config: DownlinkConfig) -> None:
        self.throttle = Throttle()
        self._config = config
        frames, airtime = self._rates()
        self._frames = TokenBucket(*frames)
        self._airtime = TokenBucket(*airtime)
        self._spent = 0.0
        self._spent_at = 0.0

    def configure(self, config: DownlinkConfig, now: float) -> None:
        self._config = config
        self._apply(now)

    def wait_s(self, now: float) -> float:
        """In how long a frame may go; 0 for now. Airtime may be overdrawn by one frame, which later ones wait for."""
        wait = max(self._frames.wait_s(now), self._airtime.wait_s(now, 0))
        return 0.0 if wait <= 0 else min(max(wait, _SHORTEST_WAIT_S), LONGEST_WAIT_S)

    def charge(self, size: int, now: float) -> None:
        """A frame of so many bytes goes."""
        self._frames.take()
        self._airtime.take(airtime_ms(size))
        self._spend(1.0, now)

    def refund(self, size: int, now: float) -> None:
        """It did not after all."""
        self._frames.take(-1)
        self._airtime.take(-airtime_ms(size))
        self._spend(-1.0, now)

    def report(self, pressure: float, now: float) -> None:
        """The relay says how full it is, 0 to 1."""
        if self.throttle.report(pressure, now):
            self._apply(now)

    def load(self, now: float) -> float:
        """Which part of the frames' budget, as it is now, is in use, about the last half minute; 1.0 for all of it."""
        self._spend(0.0, now)
        per_s = self._frames.per_s
        return self._spent / (per_s * _SPENT_OVER_S) if per_s > 0 else 1.0

    def _spend(self, frames: float, now: float) -> None:
        if now > self._spent_at:
            self._spent *= math.exp((self._spent_at - now) / _SPENT_OVER_S)
            self._spent_at = now
        self._spent += frames

    def _rates(self) -> tuple[tuple[float, float], tuple[float, float]]:
        # Of frames and of milliseconds: how many at once, how many a second.
        frames = self._config.frames_per_minute / 60 * self.throttle.share
        airtime = self._config.airtime_percent * 10 * self.throttle.share
        return (max(1.0, frames * _BURST_S), frames), (max(airtime_ms(MAX_VALUE), airtime * _BURST_S), airtime)

    def _apply(self, now: float) -> None:
        for bucket, rates in zip((self._frames, self._airtime), self._rates(), strict=True):
            bucket.tokens(now)  # what came in until now came at the old rate
            bucket.capacity, bucket.per_s = rates


def _author_per_minute(config: DownlinkConfig) -> float:
    given = config.author_per_minute
    return config.frames_per_minute / 2 if given is None else float(given)


def _gateway_per_minute(config: DownlinkConfig) -> float:
    given = config.gateway_per_minute
    return float(config.frames_per_minute if given is None else given)
