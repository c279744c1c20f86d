"""Sends a phone's announces: on a new link, at intervals, in answer to a new peer (bitchat protocol, section 1.8)."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection

from .phone_cadence import SubscriptionLimit, cadence_of
from .phone_link import PhoneLink, Role
from .phone_profile import AppRules, PhoneProfile
from .seen_frames import MEMORY_S

# How often in its shortest interval it looks whether traffic has made the next announce due.
_LOOKS = 20


class Announcer:
    """announce() sends one; direct() says how many direct peers there are. run() sends those at intervals."""

    def __init__(
        self,
        rules: AppRules,
        profile: PhoneProfile,
        rng: random.Random,
        announce: Callable[[], Awaitable[int]],
        direct: Callable[[], int],
    ) -> None:
        self.traffic_at: float | None = None
        self._rules = rules
        self._profile = profile
        self._random = rng
        self._announce = announce
        self._direct = direct
        self._cadence = cadence_of(rules, rng, time.monotonic())
        self._limit = SubscriptionLimit()
        self._answered: dict[bytes, float] = {}
        self._last = float("-inf")
        self._changed = asyncio.Event()

    def announced(self, direct: Collection[bytes]) -> None:
        """An announce goes out now, which lists these direct peers."""
        now = time.monotonic()
        self._last = max(self._last, now)
        self._cadence.announced(now, direct)
        self._changed.set()

    def peers_changed(self) -> None:
        """A peer came or a link went: the next announce may be due at another time."""
        self._changed.set()

    async def run(self) -> None:
        """Announce at intervals, until cancelled."""
        rules = self._rules
        look_s = min(rules.announce_alone_s or rules.announce_every_s, rules.announce_every_s) / _LOOKS
        while True:
            now = time.monotonic()
            due = self._cadence.due(now, self._direct(), self.traffic_at)
            if due is not None and due <= now:
                await self._announce()
                continue
            self._changed.clear()
            wait = None if due is None else due - now
            if wait is not None and rules.announce_busy_s is not None:
                wait = min(wait, look_s)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def now(self) -> None:
        """An announce that something calls for; not right behind another."""
        now = time.monotonic()
        at = max(now, self._last + self._rules.forced_gap_s)
        self._last = at
        await asyncio.sleep(at - now)
        await self._announce()

    async def on(self, link: PhoneLink) -> None:
        """A link can be used: the peer is told who is here, when the app does so."""
        if link.role is Role.CENTRAL:
            await asyncio.sleep(self._profile.announce_delay_s)
            await self.now()
            return
        if self._rules.limits_subscribers and not self._limit.allows(link.address, time.monotonic()):
            return
        await asyncio.sleep(self._profile.announce_served_s)
        await self.now()
        if self._profile.announce_again_s is not None:
            await asyncio.sleep(max(0.0, link.connected_at + self._profile.announce_again_s - time.monotonic()))
            await self.now()

    async def answer(self, peer_id: bytes, is_new: bool) -> None:
        """A peer announced itself: it is answered once, and where it is new, told once more a little later."""
        if not self._rules.replies:
            return
        now = time.monotonic()
        if now - self._answered.get(peer_id, float("-inf")) > MEMORY_S:
            self._answered[peer_id] = now
            await self.now()
        if is_new:
            await asyncio.sleep(self._random.uniform(*self._rules.afterglow_s))
            await self.now()
