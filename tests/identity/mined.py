"""Identities of the development profile, whose 8 bits take a moment to mine, and a clock that tests turn."""

import asyncio
import hashlib
import heapq
from dataclasses import replace
from itertools import count

from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.mining import SolutionFound
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.record import to_record
from bitrelay.identity.solution import Solution
from shared_protocol.pow import IDENTITY_S, Miner

NOW = 1_786_000_000
BITS = 8


def keys_of(number: int) -> IdentityKeys:
    return IdentityKeys(hashlib.sha256(b"sign %d" % number).digest(), hashlib.sha256(b"noise %d" % number).digest())


def solved(challenge: Challenge, keys: IdentityKeys, computed_at: int) -> Solution:
    miner = Miner(challenge.challenge_data, keys.signing_key, challenge.timestamp, challenge.difficulty)
    while not miner.step(1 << 12):
        pass
    return Solution.made(challenge, miner.nonce, keys, computed_at)


def local_identity(
    number: int, now: int = NOW, refresh_count: int = 0, challenge: Challenge | None = None
) -> LocalIdentity:
    keys = keys_of(number)
    if challenge is None:
        challenge = Challenge.fresh(BITS, now - 5, hashlib.sha256(b"%d %d" % (number, now)).digest())
    return LocalIdentity(keys, PowIdentity.made(keys, solved(challenge, keys, now), refresh_count))


def redated(local: LocalIdentity, later_s: int, lives_s: int = IDENTITY_S) -> LocalIdentity:
    """The same work with later dates, signed anew: what its owner can make without any."""
    solution = local.proof.pow_solution
    proof = PowIdentity.made(
        local.keys, replace(solution, computed_at=solution.computed_at + later_s), local.proof.refresh_count
    )
    return LocalIdentity(local.keys, replace(proof, expires_at=proof.created_at + lives_s))


def record_of(local: LocalIdentity) -> bytes:
    return to_record(local.proof, local.keys)


class Clock:
    """Unix seconds that pass when a test says so, and a sleep that goes by them."""

    def __init__(self, now: float = NOW) -> None:
        self.now = float(now)
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def pass_by(self, seconds: float) -> None:
        """Let time pass; whoever is due on the way does its work."""
        await settle()
        until = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.now = until


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


class QuickMiner:
    """Solves challenges at once, in the time it is told by the clock."""

    def __init__(self, clock: Clock, takes_s: float = 3.0) -> None:
        self.clock = clock
        self.takes_s = takes_s
        self.challenges: list[Challenge] = []

    async def __call__(self, challenge: Challenge, keys: IdentityKeys) -> SolutionFound:
        self.challenges.append(challenge)
        solution = solved(challenge, keys, int(self.clock()))
        return SolutionFound(solution, self.takes_s, solution.nonce + 1)
