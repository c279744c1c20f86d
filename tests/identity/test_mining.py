"""Mining: what is found, how it is dealt out, and that no worker outlives the search, whatever ends it."""

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bitrelay.errors import BrokenInstallation, ChallengeExpired
from bitrelay.identity import bare_hashes, mining
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.mining import BLOCK, MiningProgress, mine
from bitrelay.identity.mining_bench import measure
from bitrelay.identity.mining_worker import searcher
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.verify import verify
from shared_protocol import pow as work
from tests.identity.conftest import NONCE, NOW

UNSOLVABLE = 255
DEADLINE_S = 30


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids of the workers that were started."""
    pids: list[int] = []
    original = subprocess.Popen

    def start(*args: Any, **options: Any) -> "subprocess.Popen[bytes]":
        process = original(*args, **options)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(mining.subprocess, "Popen", start)
    return pids


@pytest.fixture
def watched() -> Iterator[Callable[[int], int]]:
    """What opens a descriptor that becomes readable once a process has ended."""
    opened: list[int] = []

    def watch(pid: int) -> int:
        opened.append(os.pidfd_open(pid))
        return opened[-1]

    yield watch
    for descriptor in opened:
        os.close(descriptor)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def now() -> float:
    return NOW + 12.5


class Search:
    """A search that finds nothing, and what it tells of itself."""

    def __init__(self, keys: IdentityKeys, **options: Any) -> None:
        self.hashing = asyncio.Event()
        self.progress: list[MiningProgress] = []
        challenge = Challenge.fresh(UNSOLVABLE, NOW)
        self.task = asyncio.create_task(
            mine(challenge, keys, on_progress=self._look, **({"clock": now, "workers": 2} | options))
        )

    def _look(self, progress: MiningProgress) -> None:
        self.progress.append(progress)
        if progress.next_nonce:
            self.hashing.set()


@pytest.mark.requirement("POW-19")
@pytest.mark.parametrize("difficulty", [0, 1, 6, 8, 9])
@pytest.mark.parametrize("first", [0, 1 << 40, (1 << 64) - 512])
def test_the_search_finds_the_first_nonce_and_wraps(difficulty: int, first: int) -> None:
    challenge, key = b"c" * 32, b"k" * 32
    wanted = first
    while not work.solves(challenge, wanted, key, NOW, difficulty):
        wanted = (wanted + 1) % (1 << 64)
    search = searcher(bytes(work.preimage(challenge, key, NOW)), difficulty)
    assert search(first, 8192) == wanted
    before = (wanted - first) % (1 << 64) & ~0xFF
    assert search(first, before) is None


@pytest.mark.requirement("POW-19")
async def test_it_begins_at_nonce_0(challenge: Challenge, keys: IdentityKeys, started: list[int]) -> None:
    seen: list[MiningProgress] = []
    found = await mine(challenge, keys, workers=1, clock=now, on_progress=seen.append)
    assert (found.solution.nonce, found.tried) == (NONCE, NONCE + 1)
    assert seen[-1].tried == found.tried
    assert os.getpid() not in started
    assert gone(started[0])


@pytest.mark.requirement("POW-28")
async def test_what_is_found_makes_a_valid_identity(challenge: Challenge, keys: IdentityKeys) -> None:
    begun = time.monotonic()
    found = await mine(challenge, keys, workers=3, clock=now)
    assert 0 < found.solve_time_s <= time.monotonic() - begun
    assert found.solution.computed_at == NOW + 12
    assert found.solution.challenge == challenge
    assert verify(PowIdentity.made(keys, found.solution), NOW + 12) is None


async def test_it_goes_on_where_it_is_told_to(challenge: Challenge, keys: IdentityKeys) -> None:
    found = await mine(challenge, keys, workers=1, clock=now, start=NONCE)
    assert (found.solution.nonce, found.tried) == (NONCE, NONCE % 256 + 1)
    beyond = await mine(challenge, keys, workers=1, clock=now, start=NONCE + 256)
    assert beyond.solution.nonce > NONCE
    assert beyond.solution.recomputed_hash()[:2] == bytes(2)


async def test_all_nonces_before_the_next_one_were_tried(challenge: Challenge, keys: IdentityKeys) -> None:
    # Three workers, of which one may be far ahead: nothing is skipped.
    seen: list[MiningProgress] = []
    await mine(challenge, keys, workers=3, clock=now, on_progress=seen.append)
    assert all(progress.next_nonce % BLOCK == 0 for progress in seen)
    assert seen[-1].next_nonce <= seen[-1].tried
    assert (await mine(challenge, keys, workers=1, clock=now, start=seen[-1].next_nonce)).solution.nonce >= NONCE


def test_what_progress_says() -> None:
    progress = MiningProgress(difficulty=20, tried=1 << 20, elapsed_s=2.0, next_nonce=1 << 20)
    assert progress.rate == (1 << 20) / 2
    assert progress.expected_s == 2.0
    assert progress.chance == pytest.approx(0.632, abs=1e-3)
    assert MiningProgress(20, 0, 0.0, 0).expected_s == float("inf")
    assert MiningProgress(20, 0, 0.0, 0).rate == MiningProgress(20, 0, 0.0, 0).chance == 0.0


@pytest.mark.requirement("POW-20")
async def test_cancelled_it_ends_within_100_ms_with_its_workers(keys: IdentityKeys, started: list[int]) -> None:
    took = []
    for _ in range(3):
        search = Search(keys)
        async with asyncio.timeout(DEADLINE_S):
            await search.hashing.wait()
        asked = time.perf_counter()
        search.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search.task
        took.append(time.perf_counter() - asked)
        assert all(gone(pid) for pid in started)
    assert len(started) == 6
    # One of the three may be held up by whatever else runs here.
    assert min(took) < 0.1


async def test_a_challenge_that_expires_ends_it(keys: IdentityKeys, started: list[int]) -> None:
    search = Search(keys, clock=lambda: NOW + 3600.9 if not search.hashing.is_set() else NOW + 3601)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ChallengeExpired):
            await search.task
    assert search.hashing.is_set()
    assert all(gone(pid) for pid in started)


async def test_a_solution_that_comes_too_late_is_none(keys: IdentityKeys) -> None:
    with pytest.raises(ChallengeExpired):
        await mine(Challenge.fresh(1, NOW), keys, workers=1, clock=lambda: NOW + 3601)


async def test_a_clock_that_is_set_back_does_no_harm(challenge: Challenge, keys: IdentityKeys) -> None:
    found = await mine(challenge, keys, workers=1, start=NONCE, clock=lambda: NOW - 999)
    assert found.solution.computed_at == NOW


async def test_a_worker_that_dies_ends_it(keys: IdentityKeys, started: list[int]) -> None:
    search = Search(keys)
    async with asyncio.timeout(DEADLINE_S):
        await search.hashing.wait()
        os.kill(started[1], signal.SIGKILL)
        with pytest.raises(BrokenInstallation):
            await search.task
    assert all(gone(pid) for pid in started)


@pytest.mark.parametrize("working", [0, 1])
async def test_a_worker_that_cannot_be_started_ends_it(
    keys: IdentityKeys, started: list[int], monkeypatch: pytest.MonkeyPatch, working: int
) -> None:
    start: Any = mining.subprocess.Popen

    def refuse(*args: Any, **options: Any) -> Any:
        if len(started) == working:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return start(*args, **options)

    monkeypatch.setattr(mining.subprocess, "Popen", refuse)
    search = Search(keys)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokenInstallation, match=f"process {working + 1} of 2 .* {os.strerror(errno.EAGAIN)}"):
            await search.task
    assert len(started) == working
    assert all(gone(pid) for pid in started)


MINER = """
import asyncio, subprocess, sys
from bitrelay.identity import bare_hashes, mining
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys

start = subprocess.Popen
def noted(*args, **options):
    process = start(*args, **options)
    print(process.pid, flush=True)
    return process
mining.subprocess.Popen = noted
asyncio.run(mining.mine(Challenge.fresh(255, 1), IdentityKeys(b"s" * 32, b"n" * 32), workers=2, clock=lambda: 2))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of others ends")
def test_workers_end_when_their_parent_is_killed(watched: Callable[[int], int]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", MINER], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    workers = [watched(int(parent.stdout.readline())) for _ in range(2)]
    assert not select.select(workers, [], [], 0)[0]
    parent.kill()
    parent.wait(DEADLINE_S)
    parent.stdout.close()
    for worker in workers:
        assert select.select([worker], [], [], DEADLINE_S)[0]


def test_the_search_does_little_beside_hashing() -> None:
    # In seconds of this process, beside a loop of hashes and nothing else; it is about 0.94.
    search = searcher(bytes(range(80)), UNSOLVABLE)
    shares = []
    for _ in range(9):
        begun = time.process_time()
        bare_hashes.hash_many()
        between = time.process_time()
        search(0, 10_240)
        shares.append((between - begun) / (time.process_time() - between) * 10_240 / bare_hashes.AT_ONCE)
    assert sorted(shares)[len(shares) // 2] > 0.7


async def test_the_bench_measures_all_it_promises() -> None:
    figures = await measure(seconds=0.02, rounds=1, workers=1)
    assert figures.cores == 1
    assert min(figures.bare_rate, figures.mining_rate, figures.bare_core_rate, figures.check_rate) > 1000
    assert figures.mining_share == pytest.approx(figures.mining_rate / figures.bare_rate)
    assert figures.cancel_s > 0
