"""Links with gateways that are to be kept: dialled, and dialled again with growing pauses for as long as it takes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from ..errors import BitrelayError, HandshakeFailed, HandshakeFault, LimitReached
from ..transports.address import Address
from ..watched_task import watched
from .stranger_dials import StrangerDials

_log = logging.getLogger(__name__)

FIRST_S: Final = 1.0
MOST_S: Final = 30.0
"""Pauses double from the first to the longest."""
STEADY_S: Final = 2.0
"""A link that lasted so long was a good one: pauses begin anew."""


class Backoff:
    """Pauses in seconds, each up to half as long again by chance: those who lost one another dial at other times."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        self._tries = 0

    def next_s(self) -> float:
        pause = min(MOST_S, FIRST_S * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return min(MOST_S, pause * self._random.uniform(1.0, 1.5))

    def reset(self) -> None:
        self._tries = 0


class _Target:
    # peer_id: who it must be, None for whoever is there; named: by our operator; found: who it was.
    def __init__(self, addresses: tuple[Address, ...], peer_id: bytes | None, named: bool) -> None:
        self.addresses = addresses
        self.peer_id = peer_id
        self.named = named
        self.found: bytes | None = None
        self.lost = asyncio.Event()
        self.trouble: str | None = None
        self.task: asyncio.Task[None] | None = None


class Dialer:
    """Dials whom it is told of, while there is no link with them.

    connect: makes one; what it raises is tried again. is_linked: whether there is one, whoever dialled. trusts: whether
    our operator does; others that are offered are dialled within the bounds for strangers. own: our PeerId.
    """

    def __init__(
        self,
        connect: Callable[[Address, bytes | None], Awaitable[bytes]],
        is_linked: Callable[[bytes], bool],
        trusts: Callable[[bytes], bool],
        own: bytes,
        rng: random.Random,
    ) -> None:
        self._connect = connect
        self._is_linked = is_linked
        self._trusts = trusts
        self._own = own
        self._random = rng
        self._kept: list[_Target] = []
        self._offered: dict[bytes, _Target] = {}
        self._strangers = StrangerDials()

    def keep(self, addresses: Iterable[Address], peer_id: bytes | None = None) -> None:
        """Keep a link with the gateway at these addresses, for good. All of them are the same gateway's."""
        if peer_id != self._own:
            self._kept.append(self._begin(tuple(addresses), peer_id, named=True))

    def offer(self, found: Mapping[bytes, Sequence[Address]]) -> None:
        """Keep links with these, by PeerId, until they are offered no more; a link that is there then stays."""
        kept = {target.peer_id or target.found for target in self._kept} | {self._own}
        for peer_id in [peer_id for peer_id in self._offered if peer_id not in found]:
            _end(self._offered.pop(peer_id))
        for peer_id, addresses in found.items():
            target = self._offered.get(peer_id)
            if target is not None:
                target.addresses = tuple(addresses)
            elif peer_id not in kept:
                self._offered[peer_id] = self._begin(tuple(addresses), peer_id, named=False)

    def lost(self, peer_id: bytes) -> None:
        """There is no link with it any more."""
        for target in self._targets():
            if peer_id in (target.peer_id, target.found):
                target.lost.set()

    def is_silent(self, peer_id: bytes) -> bool:
        """Whether a stranger was dialled in vain so often that others come first."""
        return self._strangers.is_silent(peer_id, asyncio.get_running_loop().time())

    def troubles(self) -> dict[Address, str]:
        """Why there is no link with whom one is to be kept, by the first address of each."""
        return {target.addresses[0]: target.trouble for target in self._targets() if target.trouble is not None}

    async def close(self) -> None:
        tasks = [task for target in self._targets() if (task := _end(target)) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _targets(self) -> list[_Target]:
        return [*self._kept, *self._offered.values()]

    def _begin(self, addresses: tuple[Address, ...], peer_id: bytes | None, *, named: bool) -> _Target:
        target = _Target(addresses, peer_id, named)
        target.task = watched(self._look_after(target), "A gateway is no longer dialled")
        return target

    async def _look_after(self, target: _Target) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._random)
        while True:
            wait_s = 0.0
            if not self._has_link(target):
                dialled = await self._dial(target)
                if dialled is None:
                    return
                wait_s = dialled
            if self._has_link(target):
                target.trouble = None
                since = loop.time()
                target.lost.clear()
                await target.lost.wait()
                if loop.time() - since >= STEADY_S:
                    backoff.reset()
            await asyncio.sleep(max(wait_s, backoff.next_s()))

    def _has_link(self, target: _Target) -> bool:
        peer = target.peer_id or target.found
        return peer is not None and self._is_linked(peer)

    async def _dial(self, target: _Target) -> float | None:
        # In how many seconds it may be tried again at the earliest; None for never: it is ourselves.
        loop = asyncio.get_running_loop()
        stranger = self._stranger(target)
        wait_s = 0.0
        for address in target.addresses:
            if stranger is not None:
                pause_s = self._strangers.wait_s(address, loop.time())
                if pause_s > 0:
                    target.trouble = target.trouble or "it waits: too many that are strangers did not answer"
                    continue
                self._strangers.dialled(address, loop.time())
            try:
                target.found = await self._connect(address, target.peer_id)
                self._strangers.answered(target.found, address)
                return 0.0
            except BitrelayError as error:
                target.trouble = _in_words(error)
                _log.info("No link with the gateway at %s: %s", address, target.trouble)
                if isinstance(error, HandshakeFailed) and error.fault is HandshakeFault.OURSELVES:
                    return None
                if isinstance(error, LimitReached):
                    wait_s = max(wait_s, error.retry_s or 0.0)
        if stranger is not None:
            self._strangers.missed(stranger, loop.time())
        return wait_s

    def _stranger(self, target: _Target) -> bytes | None:
        # Who it is said to be, if nobody vouches for it and it never was where it is said to be.
        if target.named or target.found is not None or target.peer_id is None or self._trusts(target.peer_id):
            return None
        return target.peer_id


def _in_words(error: BitrelayError) -> str:
    if isinstance(error, HandshakeFailed) and error.fault is HandshakeFault.HUNG_UP:
        return f"{error.what}. Does it trust this gateway, and has it room?"
    return str(error)


def _end(target: _Target) -> asyncio.Task[None] | None:
    if target.task is not None:
        target.task.cancel()
    return target.task
