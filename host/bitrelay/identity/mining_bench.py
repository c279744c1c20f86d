"""How quick mining and checking are, beside what hashlib does on this computer with nothing around it."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from shared_protocol.pow import solves

from . import bare_hashes
from .challenge import Challenge
from .keys import IdentityKeys
from .mining import MiningProgress, mine, usable_cores

# Nobody finds it: the search goes on until it is stopped.
_UNSOLVABLE = 255


@dataclass(frozen=True)
class MiningFigures:
    """Rates per second. bare_rate: bare loops on all cores at once; mining_rate: a search on all cores.

    bare_core_rate: a bare loop on one core; check_rate: checks of a proof of work beside it; the shares: mining and
    checking as parts of the bare loops beside them; cancel_s: the longest time from asking a search to stop until no
    worker was left.
    """

    cores: int
    bare_rate: float
    mining_rate: float
    mining_share: float
    bare_core_rate: float
    check_rate: float
    check_share: float
    cancel_s: float


async def measure(seconds: float = 1.0, rounds: int = 3, workers: int | None = None) -> MiningFigures:
    """Measure for so many seconds at a time, in turn, so that whatever else runs here slows all alike; medians."""
    cores = workers or usable_cores()
    bare, mining, core, checks, cancels = [], [], [], [], []
    for _ in range(rounds):
        bare.append(await _bare_rate(seconds, cores))
        rate, cancel_s = await _mining_rate(seconds, cores)
        mining.append(rate)
        cancels.append(cancel_s)
        core.append(await _rate(bare_hashes.hash_many, seconds))
        checks.append(await _rate(_check_many, seconds))
    return MiningFigures(
        cores=cores,
        bare_rate=median(bare),
        mining_rate=median(mining),
        mining_share=median(one / other for one, other in zip(mining, bare, strict=True)),
        bare_core_rate=median(core),
        check_rate=median(checks),
        check_share=median(one / other for one, other in zip(checks, core, strict=True)),
        cancel_s=max(cancels),
    )


async def _bare_rate(seconds: float, count: int) -> float:
    command = (sys.executable, "-I", "-S", str(Path(bare_hashes.__file__)), str(seconds))
    processes = []
    try:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, start_new_session=True
            )
            processes.append(process)
        return sum([float((await process.communicate())[0]) for process in processes])
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _mining_rate(seconds: float, workers: int) -> tuple[float, float]:
    seen: list[MiningProgress] = []
    enough = asyncio.Event()

    def look(progress: MiningProgress) -> None:
        # Starting the workers is no hashing: it counts from when every one has finished a block.
        if progress.next_nonce:
            seen.append(progress)
            if progress.elapsed_s - seen[0].elapsed_s >= seconds:
                enough.set()

    challenge = Challenge.fresh(_UNSOLVABLE, int(time.time()))
    search = asyncio.create_task(mine(challenge, IdentityKeys.fresh(), workers=workers, on_progress=look))
    waiting = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait((search, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        asked = time.perf_counter()
        search.cancel()
        try:
            await search
        except asyncio.CancelledError:
            pass
    cancel_s = time.perf_counter() - asked
    return (seen[-1].tried - seen[0].tried) / (seen[-1].elapsed_s - seen[0].elapsed_s), cancel_s


def _check_many() -> None:
    challenge, key = bytes(32), bytes(range(32))
    for nonce in range(bare_hashes.AT_ONCE):
        solves(challenge, nonce, key, 1_786_000_000, 24)


async def _rate(many: Callable[[], None], seconds: float) -> float:
    begun = time.perf_counter()
    done = 0
    while True:
        many()
        done += bare_hashes.AT_ONCE
        elapsed = time.perf_counter() - begun
        if elapsed >= seconds:
            return done / elapsed
        await asyncio.sleep(0)  # a Ctrl-C
