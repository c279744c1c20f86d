"""Cookies: an address that shows one has got what we sent there within the last 40 minutes (issue: endpoint proof).

They are computed, not kept: a flood from any number of addresses fills nothing.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from ..transports.address import Udp
from .wire import COOKIE_SIZE

PERIOD_S: Final = 1_200
"""A cookie holds for the rest of the period in which it was made, and the whole next one.

That is longer than a quiet peer is left alone (`upkeep.REFRESH_S` and a round): who pings it then is no stranger to it.
"""


class Cookies:
    """Makes and checks cookies. secret: 32 random bytes of this run; clock: seconds, of any clock."""

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._clock = clock

    def make(self, address: Udp, node_id: bytes) -> bytes:
        """What this node has to show when it asks from this address again."""
        return self._of(address, node_id, self._period())

    def holds(self, cookie: bytes, address: Udp, node_id: bytes) -> bool:
        """Whether it was made for this node at this address, within the last two periods."""
        now = self._period()
        # Both are computed and compared in any case: how long it takes says nothing.
        fresh = hmac.compare_digest(cookie, self._of(address, node_id, now))
        older = hmac.compare_digest(cookie, self._of(address, node_id, now - 1))
        return fresh or older

    def _period(self) -> int:
        return int(self._clock() // PERIOD_S)

    def _of(self, address: Udp, node_id: bytes, period: int) -> bytes:
        # Of a known size but for the address, which is last: no two have the same bytes.
        about = period.to_bytes(8, "big", signed=True) + node_id + str(address).encode()
        return hashlib.blake2s(about, key=self._secret, digest_size=COOKIE_SIZE).digest()
