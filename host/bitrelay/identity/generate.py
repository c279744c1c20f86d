"""Makes this computer's identity: keys, a challenge, the work, the file. Stopped at any time, it goes on later."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bitrelay.errors import BitrelayError, ChallengeExpired

from .challenge import Challenge
from .keys import IdentityKeys
from .local import LocalIdentity, demand_none, load_identity, save_identity
from .mining import MiningProgress, SolutionFound, mine
from .pending import PendingMining, load_pending, pending_path, save_pending
from .proof import PowIdentity

# So much work is lost if the process is killed.
_SAVE_EVERY_S = 1.0


@dataclass(frozen=True)
class IdentityGenerated:
    """This computer has a new identity (POW-26). kept: where the one it had before is, if there was one."""

    local: LocalIdentity
    kept: Path | None


async def generate(
    path: Path,
    difficulty: int,
    *,
    replace_old: bool = False,
    workers: int | None = None,
    on_resume: Callable[[PendingMining], None] = lambda pending: None,
    on_drop: Callable[[PendingMining], None] = lambda pending: None,
    on_progress: Callable[[MiningProgress], None] = lambda progress: None,
    on_event: Callable[[SolutionFound | IdentityGenerated], None] = lambda event: None,
    clock: Callable[[], float] = time.time,
) -> IdentityGenerated:
    """Mine an identity and write it to `path`; work on one of this difficulty that was stopped is gone on with.

    on_drop is called with unfinished work of another difficulty, which is dropped. A challenge that expires is replaced
    by a new one for the same keys. Raises BadData if there is an identity and not replace_old, NotPrivate,
    DamagedIdentity for damaged work, and what `mine` and `write_whole` raise.
    """
    if not replace_old:
        demand_none(path)
    unfinished = pending_path(path)
    pending = load_pending(unfinished)
    # A run that was killed as it ended leaves the work for the identity that is there now.
    if pending and pending.keys == _keys_at(path):
        pending = None
    if pending is None or not pending.good_for(difficulty, int(clock())):
        if pending and pending.good_for(pending.challenge.difficulty, int(clock())):
            on_drop(pending)
        pending = PendingMining(IdentityKeys.fresh(), Challenge.fresh(difficulty, int(clock())))
    elif pending.next_nonce:
        on_resume(pending)
    found = await solve(unfinished, pending, workers=workers, on_progress=on_progress, clock=clock)
    on_event(found)
    local = LocalIdentity(pending.keys, PowIdentity.made(pending.keys, found.solution))
    generated = IdentityGenerated(local, save_identity(path, local, replace=replace_old))
    unfinished.unlink(missing_ok=True)
    on_event(generated)
    return generated


async def solve(
    unfinished: Path,
    pending: PendingMining,
    *,
    workers: int | None,
    on_progress: Callable[[MiningProgress], None],
    clock: Callable[[], float],
) -> SolutionFound:
    """Go on with this work to its end; how far it is, is kept in the file `unfinished`, which stays.

    A challenge that expires is replaced by a new one as hard. Raises what `save_pending` and `mine` raise.
    """
    while True:
        try:
            return await _mine(unfinished, pending, workers, on_progress, clock)
        except ChallengeExpired:
            fresh = Challenge.fresh(pending.challenge.difficulty, int(clock()))
            pending = PendingMining(pending.keys, fresh)


def _keys_at(path: Path) -> IdentityKeys | None:
    # Of the identity there; None if there is none that can be read.
    try:
        return load_identity(path).keys
    except BitrelayError:
        return None


async def _mine(
    path: Path,
    pending: PendingMining,
    workers: int | None,
    on_progress: Callable[[MiningProgress], None],
    clock: Callable[[], float],
) -> SolutionFound:
    save_pending(path, pending)
    reached = pending
    saved_s = 0.0

    def keep(progress: MiningProgress) -> None:
        nonlocal reached, saved_s
        reached = replace(pending, next_nonce=progress.next_nonce)
        if progress.elapsed_s - saved_s >= _SAVE_EVERY_S:
            save_pending(path, reached)
            saved_s = progress.elapsed_s
        on_progress(progress)

    try:
        return await mine(
            pending.challenge, pending.keys, start=pending.next_nonce, workers=workers, on_progress=keep, clock=clock
        )
    except asyncio.CancelledError:
        save_pending(path, reached)
        raise
