"""Refreshes this computer's identity: new work for the keys it has. Stopped at any time, it goes on later."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .challenge import Challenge
from .generate import solve
from .local import LocalIdentity, load_identity, update_identity
from .mining import MiningProgress, SolutionFound
from .pending import PendingMining, load_pending, pending_refresh_path


@dataclass(frozen=True)
class Refreshed:
    """The identity as it is now, and the search that led to it."""

    local: LocalIdentity
    found: SolutionFound


async def refresh(
    path: Path,
    *,
    workers: int | None = None,
    on_resume: Callable[[PendingMining], None] = lambda pending: None,
    on_progress: Callable[[MiningProgress], None] = lambda progress: None,
    clock: Callable[[], float] = time.time,
) -> Refreshed:
    """Mine a proof as hard as the old one and write it in its place, whether it is due or not (row POW-32).

    Work that was stopped is gone on with. Raises what `load_identity`, `load_pending`, `mine` and `update_identity`
    raise; the identity is then as it was.
    """
    old = load_identity(path)
    unfinished = pending_refresh_path(path)
    pending = load_pending(unfinished)
    if pending is None or not _goes_on(pending, old, int(clock())):
        pending = PendingMining(old.keys, Challenge.fresh(old.proof.difficulty, int(clock())))
    elif pending.next_nonce:
        on_resume(pending)
    found = await solve(unfinished, pending, workers=workers, on_progress=on_progress, clock=clock)
    local = old.renewed(found.solution)
    update_identity(path, local)
    unfinished.unlink(missing_ok=True)
    return Refreshed(local, found)


def _goes_on(pending: PendingMining, old: LocalIdentity, now: int) -> bool:
    # A run that was killed as it ended leaves work that is done already.
    done = pending.challenge == old.proof.pow_solution.challenge
    return pending.keys == old.keys and pending.good_for(old.proof.difficulty, now) and not done
