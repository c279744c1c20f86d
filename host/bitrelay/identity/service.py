"""The identities of a running node: its own, kept fresh, and its peers', watched (rows POW-25 to POW-40)."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..defense.sybil import DETECTION_S, Alarms, Limits, View, detect
from ..errors import BitrelayError, NoIdentity
from ..watched_task import watched
from .challenge import Challenge
from .difficulty import DifficultyAdjusted, DifficultyConfig, DifficultyControl, SolveTime
from .event_log import log_event
from .events import EventStream, IdentityEvent, IdentityRefreshed, Subscription, SybilAttemptDetected
from .generate import generate
from .issued import IssuedChallenges
from .keys import IdentityKeys
from .local import LocalIdentity, load_identity
from .mining import SolutionFound
from .peer_cache import PeerCache
from .proof import PowIdentity
from .record import from_record, to_record

_log = logging.getLogger(__name__)

PRUNE_S = 300
# A fleet that was switched on together would refresh together for ever, and look made together to those it meets.
REFRESH_SPREAD_S = 3600
# After work or registration that failed.
RETRY_S = 60
WATCHED_KEYS = 64


class Mine(Protocol):
    """What solves a challenge: `mining.mine` does. Raises ChallengeExpired if it came too late."""

    def __call__(self, challenge: Challenge, keys: IdentityKeys) -> Awaitable[SolutionFound]: ...


@dataclass(frozen=True, slots=True)
class Registration:
    """What the DHT is told of us: the identity, its score as it is now, and where we can be reached (row POW-38)."""

    identity: PowIdentity
    record: bytes
    score: float
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """How often what is done, in seconds (rows POW-11, POW-33)."""

    adjust_s: float = 60.0
    detect_s: float = DETECTION_S
    prune_s: float = PRUNE_S
    retry_s: float = RETRY_S


class Obtain(Protocol):
    """What has our identity, and tells of it if it had to make it: `own_identity` does."""

    def __call__(self, tell: Callable[[IdentityEvent], None]) -> Awaitable[LocalIdentity]: ...


def own_identity(path: Path, difficulty: int, clock: Callable[[], float] = time.time) -> Obtain:
    """The identity in this file; made, with a proof of that difficulty, if there is none.

    Raises, when called, what `load_identity` and `generate` raise: a damaged one is never replaced.
    """

    async def obtain(tell: Callable[[IdentityEvent], None]) -> LocalIdentity:
        try:
            return load_identity(path)
        except NoIdentity:
            return (await generate(path, difficulty, on_event=tell, clock=clock)).local

    return obtain


class IdentityService:
    """Local identity, peers, challenges we issued, difficulty, events, and the tasks that keep them up to date.

    obtain: has our identity. mine: solves challenges. save: keeps our identity after a refresh. register: puts us into
    the DHT; called at the start and after every refresh, and again after RETRY_S while it raises a BitrelayError.
    addresses: where we can be reached now. network_size: how many nodes the DHT has by its estimate, 0 if unknown.
    clock: Unix seconds. sleep: waits so many seconds. source: what times are spread with.

    watched: keys, 32 bytes each, that somebody may crowd around; set it, WATCHED_KEYS of them count. suspicious: the
    PeerIds that the last look for Sybils named. faults: how often a task met an error that is no BitrelayError, so a
    fault of ours; it is logged, and the task goes on.
    """

    def __init__(
        self,
        obtain: Obtain,
        cache: PeerCache,
        *,
        mine: Mine,
        save: Callable[[LocalIdentity], None],
        register: Callable[[Registration], Awaitable[None]] | None = None,
        addresses: Callable[[], tuple[str, ...]] = lambda: (),
        network_size: Callable[[], int] = lambda: 0,
        difficulty: DifficultyConfig = DifficultyConfig(),
        limits: Limits = Limits(),
        times: Times = Times(),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        source: random.Random | None = None,
    ) -> None:
        self.cache = cache
        self.issued = IssuedChallenges()
        self.events = EventStream()
        self.running = False
        self.watched: tuple[bytes, ...] = ()
        self.suspicious: frozenset[bytes] = frozenset()
        self.faults = 0
        self._obtain = obtain
        self._local: LocalIdentity | None = None
        self._mine = mine
        self._save = save
        self._register = register
        self._addresses = addresses
        self._network_size = network_size
        self._control = DifficultyControl(difficulty)
        self._limits = limits
        self._times = times
        self._clock = clock
        self._sleep = sleep
        self._random = source or random.Random()
        self._alarms = Alarms()
        self._looked_at = 0
        self._registered = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def local(self) -> LocalIdentity:
        """Our identity. Raises NoIdentity before the start."""
        if self._local is None:
            raise NoIdentity("the identity service has not been started")
        return self._local

    @property
    def difficulty(self) -> DifficultyConfig:
        """What we ask of new proofs of work, our own among them."""
        return self._control.config

    async def start(self) -> None:
        """Begin: have an identity, register in the DHT, log events, run the tasks (row POW-37). Nothing if it runs.

        Raises what `obtain` raises, and then does not run.
        """
        if self.running:
            return
        self.running = True
        if self.cache.set_aside is not None:
            _log.warning("The peers we knew were damaged and are set aside as %s", self.cache.set_aside)
        self._begin(self._log_events(self.events.subscribe()))
        try:
            self._local = await self._obtain(self.events.publish)
            now = self._clock()
            self._control.adjust(now)
            self.cache.prune(now)
            self.cache.watching_since(now)
        except BaseException:
            await self.stop()
            raise
        self._begin(self._keep_registered())
        self._begin(self._keep_fresh())
        self._begin(self._every(self._times.adjust_s, "The difficulty was not adjusted", self.adjust_difficulty))
        self._begin(self._every(self._times.prune_s, "What has expired was not forgotten", self.prune))
        self._begin(self._every(self._times.detect_s, "Sybils were not looked for", self.detect_sybils))

    async def stop(self) -> None:
        """End the tasks and the subscriptions; the cache stays open. Nothing if it does not run."""
        if not self.running:
            return
        self.running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.events.close()

    def record(self) -> bytes:
        """Our identity as it travels: the payload of a packet of type 0xB1."""
        return to_record(self.local.proof, self.local.keys)

    def admit(self, record: bytes, origin: str, addresses: tuple[str, ...] = ()) -> PowIdentity:
        """Verify a record that somebody sent, and remember its peer. Raises IdentityRefused.

        origin, addresses: as `defense.arrivals.Arrival` has them. Whether the peer may connect is `cache.may_connect`.
        """
        now = self._clock()
        identity = from_record(record, int(now), self.difficulty.base)
        ours = self.issued.holds(identity.pow_solution.challenge, int(now))
        self._remember(identity, record, now, origin, addresses, ours)
        return identity

    def issue_challenge(self, origin: str) -> Challenge:
        """A challenge for somebody who comes from there; good for one solution within an hour."""
        return self.issued.issue(origin, self.difficulty.current, int(self._clock()))

    def answer_challenge(self, record: bytes, origin: str, addresses: tuple[str, ...] = ()) -> PowIdentity | None:
        """As `admit`, for a record whose challenge must be one of ours; None, and nothing remembered, if it is not.

        A challenge is used up by the first record that verifies. Raises IdentityRefused.
        """
        now = self._clock()
        identity = from_record(record, int(now), self.difficulty.base)
        if not self.issued.redeem(identity.pow_solution.challenge, int(now)):
            return None
        self._remember(identity, record, now, origin, addresses, ours=True)
        return identity

    async def refresh(self) -> IdentityRefreshed:
        """Prove work anew for the keys we have (rows POW-14, POW-32): new challenge, refresh_count + 1, kept, told.

        Raises ChallengeExpired if it took too long; what `mine` and `save` raise.
        """
        now = int(self._clock())
        old = self.local
        found = await self._mine(Challenge.fresh(self.difficulty.current, now), old.keys)
        self.events.publish(found)
        self._control.add(SolveTime(found.solution.challenge.difficulty, found.solve_time_s, found.tried))
        renewed = old.renewed(found.solution)
        self._save(renewed)
        self._local = renewed
        self._registered = False
        event = IdentityRefreshed(old.proof.peer_id, renewed.proof)
        self.events.publish(event)
        return event

    async def register(self) -> None:
        """Tell the DHT where we are and what our identity counts for now. Raises what `register` raises."""
        proof = self.local.proof
        if self._register is not None:
            told = Registration(proof, self.record(), proof.score(self._clock()), self._addresses())
            await self._register(told)
        # It may have been refreshed meanwhile: then the DHT has the old one.
        self._registered = proof is self.local.proof

    def adjust_difficulty(self) -> DifficultyAdjusted | None:
        """Make the step of this hour, if one is due (row POW-31), and tell it."""
        event = self._control.adjust(self._clock())
        if event is not None:
            self.events.publish(event)
        return event

    def prune(self) -> int:
        """Forget what has expired: peers and challenges; how many peers."""
        now = self._clock()
        self.issued.prune(int(now))
        return self.cache.prune(now)

    async def detect_sybils(self) -> SybilAttemptDetected | None:
        """Look for identities that are one owner's (row POW-33), and tell those that are news.

        Where nobody came since the last look there is nobody new to suspect. The tests run in a thread: 10,000 arrivals
        take 70 ms.
        """
        now = self._clock()
        since = self.cache.watching_since(now)
        latest = self.cache.latest_arrival()
        if latest == self._looked_at:
            return None
        view = View(
            self.cache.arrivals(now),
            now,
            since,
            self.local.keys.peer_id,
            self.watched[:WATCHED_KEYS],
            self._network_size(),
        )
        found = await asyncio.to_thread(detect, view, self._limits)
        self._looked_at = latest
        self.suspicious = frozenset(peer for finding in found for peer in finding.ids)
        findings = self._alarms.fresh(found, now)
        if not findings:
            return None
        told = dict.fromkeys(peer for finding in findings for peer in finding.ids)
        event = SybilAttemptDetected(tuple(told), tuple(findings))
        self.events.publish(event)
        return event

    def _remember(
        self, identity: PowIdentity, record: bytes, now: float, origin: str, addresses: tuple[str, ...], ours: bool
    ) -> None:
        # ours: whether it answers a challenge of ours.
        if identity.peer_id == self.local.keys.peer_id:
            return
        new_work = self.cache.is_new_work(identity)
        self.cache.remember(identity, record, now, origin, addresses)
        if new_work:
            solution = identity.pow_solution
            solved_at = int(now) if ours else solution.computed_at
            # Its nonce tells nothing: the peer may have begun anywhere.
            seconds = float(solved_at - solution.challenge.timestamp)
            self._control.add(SolveTime(identity.difficulty, seconds))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(watched(work, "A task of the identity service has failed"))

    async def _every(self, seconds: float, failed: str, step: Callable[[], Awaitable[object] | object]) -> None:
        while True:
            await self._sleep(seconds)
            await self._attempt(failed, step)

    async def _keep_registered(self) -> None:
        while True:
            if not self._registered:
                await self._attempt("Not registered in the DHT", self.register)
            await self._sleep(self._times.retry_s)

    async def _keep_fresh(self) -> None:
        while True:
            due = self.local.proof.refresh_at + 1 + self._random.uniform(0, REFRESH_SPREAD_S)
            # The clock may be set, so it is asked again and again.
            while self._clock() < due:
                await self._sleep(min(self._times.retry_s, due - self._clock()))
            if not await self._attempt("The identity was not refreshed", self.refresh):
                await self._sleep(self._times.retry_s)

    async def _attempt(self, failed: str, step: Callable[[], Awaitable[object] | object]) -> bool:
        # Whether it went well. A full disk today, or a fault of ours, is no reason to try no more tomorrow.
        try:
            done = step()
            if isinstance(done, Awaitable):
                await done
        except BitrelayError as error:
            _log.warning("%s: %s", failed, error)
        except Exception:
            self.faults += 1
            _log.exception("%s, by a fault of bitrelay's own", failed)
        else:
            return True
        return False

    async def _log_events(self, subscription: Subscription) -> None:
        async for event in subscription:
            log_event(event)
