"""New work for the keys there are: what changes, what stays, and how stopped work goes on."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import BadData, DamagedIdentity, NoIdentity
from bitrelay.identity import generate as search
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity, load_identity, save_identity
from bitrelay.identity.mining import BLOCK, MiningProgress, SolutionFound
from bitrelay.identity.pending import PendingMining, load_pending, pending_path, pending_refresh_path, save_pending
from bitrelay.identity.refresh import refresh
from bitrelay.identity.verify import DEVELOPMENT_BASE, verify
from tests.identity.mined import BITS, NOW, keys_of, local_identity

DEADLINE_S = 30
LATER = NOW + 100_000


def now() -> float:
    return float(LATER)


def spoil(path: Path) -> None:
    path.write_bytes(b"damaged")


@pytest.fixture
def old(path: Path) -> LocalIdentity:
    local = local_identity(1, refresh_count=3)
    save_identity(path, local)
    return local


async def test_the_keys_stay_and_the_work_is_new(path: Path, old: LocalIdentity) -> None:
    done = await refresh(path, workers=1, clock=now)
    assert load_identity(path) == done.local
    assert done.local.keys == old.keys
    proof = done.local.proof
    assert (proof.refresh_count, proof.difficulty, proof.created_at) == (4, BITS, LATER)
    assert proof.pow_solution == done.found.solution
    assert proof.pow_solution.challenge.timestamp == LATER
    assert verify(proof, LATER, DEVELOPMENT_BASE) is None
    assert os.listdir(path.parent) == [path.name]


async def test_stopped_it_leaves_the_identity_alone_and_goes_on_where_it_was(
    path: Path, old: LocalIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def endless(challenge: Challenge, keys: IdentityKeys, **options: Any) -> SolutionFound:
        options["on_progress"](MiningProgress(challenge.difficulty, 7 * BLOCK, 0.1, 7 * BLOCK))
        reached.set()
        return await asyncio.get_running_loop().create_future()

    with monkeypatch.context() as stopped:
        stopped.setattr(search, "mine", endless)
        task = asyncio.create_task(refresh(path, clock=now))
        async with asyncio.timeout(DEADLINE_S):
            await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert load_identity(path) == old
    pending = load_pending(pending_refresh_path(path))
    assert pending is not None
    assert (pending.keys, pending.next_nonce) == (old.keys, 7 * BLOCK)
    resumed: list[PendingMining] = []
    done = await refresh(path, workers=1, clock=now, on_resume=resumed.append)
    assert resumed == [pending]
    assert done.local.proof.pow_solution.challenge == pending.challenge
    assert done.local.proof.pow_solution.nonce >= 7 * BLOCK
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("what", ["other keys", "another difficulty", "too old", "done already"])
async def test_work_that_leads_nowhere_begins_anew(path: Path, old: LocalIdentity, what: str) -> None:
    pending = {
        "other keys": PendingMining(keys_of(2), Challenge.fresh(BITS, LATER), 256),
        "another difficulty": PendingMining(old.keys, Challenge.fresh(BITS + 1, LATER), 256),
        "too old": PendingMining(old.keys, Challenge.fresh(BITS, LATER - 3601), 256),
        # Killed between the two: the identity was written, its unfinished work not yet removed.
        "done already": PendingMining(old.keys, replace(old.proof.pow_solution.challenge), 256),
    }[what]
    save_pending(pending_refresh_path(path), pending)
    resumed: list[PendingMining] = []
    clock = (lambda: float(NOW + 10)) if what == "done already" else now
    done = await refresh(path, workers=1, clock=clock, on_resume=resumed.append)
    assert resumed == []
    assert done.local.keys == old.keys
    assert done.local.proof.pow_solution.challenge.challenge_data != pending.challenge.challenge_data


async def test_it_does_not_touch_the_work_for_a_new_identity(path: Path, old: LocalIdentity) -> None:
    pending = PendingMining(keys_of(2), Challenge.fresh(BITS, LATER), 256)
    save_pending(pending_path(path), pending)
    await refresh(path, workers=1, clock=now)
    assert load_pending(pending_path(path)) == pending


async def test_an_identity_that_was_replaced_meanwhile_stays(path: Path, old: LocalIdentity) -> None:
    other = local_identity(2)

    def replaced(progress: MiningProgress) -> None:
        save_identity(path, other, replace=True)

    with pytest.raises(BadData, match="another identity by now"):
        await refresh(path, workers=1, clock=now, on_progress=replaced)
    assert load_identity(path) == other


async def test_without_one_or_with_a_damaged_one_there_is_nothing_to_refresh(path: Path) -> None:
    with pytest.raises(NoIdentity):
        await refresh(path, clock=now)
    save_identity(path, local_identity(1))
    spoil(path)
    with pytest.raises(DamagedIdentity):
        await refresh(path, clock=now)
    with pytest.raises(DamagedIdentity):
        load_identity(path)
