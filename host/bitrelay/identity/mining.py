"""Looks for a proof of work on all cores, in processes of its own, off the event loop (POW-19, POW-20).

The nonces from `start` on are dealt out in blocks, one worker after the other. Workers are killed when the search ends,
however it ends; if this process is killed they notice and end by themselves.
"""

import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitrelay.errors import BrokenInstallation, ChallengeExpired
from shared_protocol.pow import preimage

from . import mining_worker
from .challenge import Challenge
from .keys import IdentityKeys
from .solution import Solution

# About 6 ms of work on a computer of today: so soon a worker notices that it is not wanted any more.
BLOCK = 1 << 14

_PROGRESS_S = 0.1
_MESSAGE = 17
_NONCES = 1 << 64


@dataclass(frozen=True)
class SolutionFound:
    """A challenge was solved (POW-28). solve_time_s: of this search; tried: hashes computed in it, by all workers."""

    solution: Solution
    solve_time_s: float
    tried: int


@dataclass(frozen=True)
class MiningProgress:
    """How a search goes on. tried: hashes in this search; every nonce from its start to next_nonce was tried."""

    difficulty: int
    tried: int
    elapsed_s: float
    next_nonce: int

    @property
    def rate(self) -> float:
        """Hashes per second, of all workers together."""
        return self.tried / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def expected_s(self) -> float:
        """How long it takes from now on, on average; what was tried makes no difference. Infinity if not known."""
        return 2.0**self.difficulty / self.rate if self.tried else math.inf

    @property
    def chance(self) -> float:
        """How likely it was to have found a solution by now, from 0 to 1."""
        return -math.expm1(-self.tried / 2.0**self.difficulty)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def mine(
    challenge: Challenge,
    keys: IdentityKeys,
    *,
    start: int = 0,
    workers: int | None = None,
    on_progress: Callable[[MiningProgress], None] = lambda progress: None,
    clock: Callable[[], float] = time.time,
) -> SolutionFound:
    """Solve a challenge for these keys; cancelled, it has no worker left when it raises.

    start: the first nonce, as a MiningProgress had it in next_nonce; workers: one per core unless given; on_progress is
    called ten times a second and once at the end; clock: Unix seconds. Raises ChallengeExpired once it is too late for
    a solution, BrokenInstallation if a worker fails or cannot be started.
    """
    begun = time.monotonic()
    crew = _Crew(challenge, keys.signing_key, start, workers or usable_cores())
    try:
        await crew.begin()
        while True:
            await asyncio.wait((crew.found,), timeout=_PROGRESS_S)
            elapsed = time.monotonic() - begun
            on_progress(MiningProgress(challenge.difficulty, crew.tried, elapsed, crew.next_nonce))
            if crew.found.done():
                break
            if challenge.expired(int(clock())):
                raise ChallengeExpired("the challenge has expired before it was solved")
        nonce = crew.found.result()
    finally:
        crew.end()
    # A clock may be set back meanwhile.
    now = max(int(clock()), challenge.timestamp)
    if challenge.expired(now):
        raise ChallengeExpired("the challenge has expired before it was solved")
    return SolutionFound(Solution.made(challenge, nonce, keys, now), time.monotonic() - begun, crew.tried)


class _Crew:
    # The workers of one search. `found` gets the nonce.

    def __init__(self, challenge: Challenge, public_key: bytes, start: int, count: int) -> None:
        self.found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._image = bytes(preimage(challenge.challenge_data, public_key, challenge.timestamp))
        self._difficulty = challenge.difficulty
        # The search takes 256 nonces at a time.
        self._start = start & ~0xFF
        self._count = count
        self._blocks = [0] * count
        self._heard = [b""] * count
        self._last_block = 0
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def tried(self) -> int:
        return sum(self._blocks) * BLOCK + self._last_block

    @property
    def next_nonce(self) -> int:
        behind = min(index + blocks * self._count for index, blocks in enumerate(self._blocks))
        return (self._start + behind * BLOCK) % _NONCES

    async def begin(self) -> None:
        for index in range(self._count):
            self._start_worker(index)
            await asyncio.sleep(0)  # starting one takes a millisecond or so, and there may be many cores

    def end(self) -> None:
        loop = asyncio.get_running_loop()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            assert process.stdout is not None
            loop.remove_reader(process.stdout)
            process.stdout.close()
            process.wait()
        if not self.found.cancel() and not self.found.cancelled():
            self.found.exception()  # else asyncio complains of one that nobody looked at

    def _start_worker(self, index: int) -> None:
        numbers = (self._difficulty, self._start, BLOCK, index, self._count, os.getpid())
        # As a file and without site-packages: it starts thrice as fast.
        program = [sys.executable, "-I", "-S", str(Path(mining_worker.__file__))]
        try:
            process = subprocess.Popen(
                [*program, self._image.hex(), *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for us.
                start_new_session=True,
            )
        except OSError as error:
            raise BrokenInstallation(
                f"cannot start process {index + 1} of {self._count} that looks for the proof of work: {error.strerror}"
            ) from None
        self._processes.append(process)
        assert process.stdout is not None
        asyncio.get_running_loop().add_reader(process.stdout, self._hear, index, process.stdout.fileno())

    def _hear(self, index: int, pipe: int) -> None:
        data = os.read(pipe, 4096)
        if self.found.done():
            return
        heard = self._heard[index] + data
        message = heard.lstrip(b".")
        self._blocks[index] += len(heard) - len(message)
        self._heard[index] = message
        if len(message) == _MESSAGE:
            nonce = int(message[1:], 16)
            self._last_block = (nonce - self._start) % BLOCK + 1
            self.found.set_result(nonce)
        elif not data:
            # A worker of another version of these files, or one that was killed.
            self.found.set_exception(BrokenInstallation("a process that looks for the proof of work has failed"))
