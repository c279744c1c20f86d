"""Making this computer's identity: what is told, what is kept, and how stopped work goes on."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import BadData, ChallengeExpired, DamagedIdentity
from bitrelay.identity import generate as module
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.generate import IdentityGenerated, generate
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity, load_identity, save_identity
from bitrelay.identity.mining import BLOCK, SolutionFound
from bitrelay.identity.pending import PendingMining, load_pending, pending_path, save_pending
from bitrelay.identity.verify import DEVELOPMENT_BASE, verify
from tests.identity.conftest import NOW

DEADLINE_S = 30


def now() -> float:
    return float(NOW)


def spoil(path: Path) -> None:
    path.write_bytes(b"damaged")


async def stopped(path: Path, difficulty: int, blocks: int = 1) -> PendingMining:
    """Cancel a search once it has come so far; what it left."""
    reached = asyncio.Event()
    search = asyncio.create_task(
        generate(
            path, difficulty, workers=1, clock=now,
            on_progress=lambda progress: reached.set() if progress.next_nonce >= blocks * BLOCK else None,
        )
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE_S):
        await reached.wait()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    pending = load_pending(pending_path(path))
    assert pending is not None
    return pending


@pytest.mark.requirement("POW-26", "POW-28")
async def test_events_tell_what_was_found_and_made(path: Path) -> None:
    events: list[SolutionFound | IdentityGenerated] = []
    generated = await generate(path, 8, workers=1, clock=now, on_event=events.append)
    found, last = events
    assert isinstance(found, SolutionFound)
    assert last == generated
    assert generated.kept is None
    assert generated.local.proof.pow_solution == found.solution
    assert load_identity(path) == generated.local
    assert generated.local.for_development
    assert verify(generated.local.proof, NOW, DEVELOPMENT_BASE) is None
    assert os.listdir(path.parent) == [path.name]


async def test_an_identity_is_replaced_only_if_asked_to_and_kept(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    with pytest.raises(BadData, match="--replace"):
        await generate(path, 8, clock=now)
    assert load_identity(path) == local
    generated = await generate(path, 8, workers=1, clock=now, replace_old=True)
    assert generated.kept is not None
    assert load_identity(generated.kept) == local
    assert load_identity(path) == generated.local != local


async def test_stopped_work_goes_on_where_it_was(path: Path) -> None:
    pending = await stopped(path, 200, blocks=2)
    assert pending.next_nonce >= 2 * BLOCK
    # The same, but easier to finish.
    save_pending(pending_path(path), replace(pending, challenge=replace(pending.challenge, difficulty=8)))
    resumed: list[PendingMining] = []
    generated = await generate(path, 8, workers=1, clock=now, on_resume=resumed.append)
    assert [one.next_nonce for one in resumed] == [pending.next_nonce]
    assert generated.local.keys == pending.keys
    assert generated.local.proof.pow_solution.nonce >= pending.next_nonce
    assert not pending_path(path).exists()


@pytest.mark.parametrize(("difficulty", "later_s"), [(9, 0), (8, 3601)])
async def test_work_on_something_else_or_too_old_begins_anew(path: Path, difficulty: int, later_s: int) -> None:
    keys = IdentityKeys(b"s" * 32, b"n" * 32)
    save_pending(pending_path(path), PendingMining(keys, Challenge.fresh(8, NOW), BLOCK))
    resumed: list[PendingMining] = []
    generated = await generate(
        path, difficulty, workers=1, clock=lambda: float(NOW + later_s), on_resume=resumed.append
    )
    assert resumed == []
    assert generated.local.keys != keys
    assert generated.local.proof.difficulty == difficulty


async def test_work_that_led_to_the_identity_there_is_not_done_again(path: Path) -> None:
    generated = await generate(path, 8, workers=1, clock=now)
    keys, solution = generated.local.keys, generated.local.proof.pow_solution
    # Killed between the two: the identity was written, its unfinished work not yet removed.
    save_pending(pending_path(path), PendingMining(keys, solution.challenge, solution.nonce & ~0xFF))
    resumed: list[PendingMining] = []
    again = await generate(path, 8, workers=1, clock=now, replace_old=True, on_resume=resumed.append)
    assert resumed == []
    assert again.local.keys != keys
    assert again.kept is not None
    assert load_identity(again.kept) == generated.local


async def test_work_goes_on_beside_an_identity_that_cannot_be_read(path: Path) -> None:
    keys = IdentityKeys(b"s" * 32, b"n" * 32)
    save_pending(pending_path(path), PendingMining(keys, Challenge.fresh(8, NOW), 256))
    spoil(path)
    generated = await generate(path, 8, workers=1, clock=now, replace_old=True)
    assert generated.local.keys == keys


async def test_damaged_work_is_told(path: Path) -> None:
    save_pending(pending_path(path), PendingMining(IdentityKeys.fresh(), Challenge.fresh(8, NOW)))
    pending_path(path).write_bytes(b"x")
    with pytest.raises(DamagedIdentity, match="remove it"):
        await generate(path, 8, clock=now)


async def test_a_challenge_that_expires_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Challenge] = []
    mine = module.mine

    async def expiring(challenge: Challenge, keys: IdentityKeys, **options: Any) -> SolutionFound:
        seen.append(challenge)
        if len(seen) == 1:
            raise ChallengeExpired("too late")
        return await mine(challenge, keys, **options)

    monkeypatch.setattr(module, "mine", expiring)
    generated = await generate(path, 8, workers=1, clock=now)
    assert len(seen) == 2
    assert seen[0] != seen[1] == generated.local.proof.pow_solution.challenge


KILLED = """
import asyncio, sys
from pathlib import Path
from bitrelay.identity.generate import generate

def look(progress):
    print(progress.elapsed_s, flush=True)

asyncio.run(generate(Path(sys.argv[1]), 200, workers=1, on_progress=look, clock=lambda: 1786000000.0))
"""


def test_work_survives_a_kill(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    # It is kept once a second.
    while float(process.stdout.readline()) < 1.2:
        pass
    process.kill()
    process.wait(DEADLINE_S)
    process.stdout.close()
    pending = load_pending(pending_path(path))
    assert pending is not None
    assert pending.next_nonce >= BLOCK
    assert not path.exists()
