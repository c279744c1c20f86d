"""Every way an identity can lie has its own refusal, as an object and as a record from the air."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import IdentityRefused
from bitrelay.identity import solution as solution_module
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.record import from_record, to_record
from bitrelay.identity.solution import Solution
from bitrelay.identity.verify import DEVELOPMENT_BASE, Refusal, accept, verify
from shared_protocol import identity_record
from tests.identity.conftest import NONCE, NOW

LATER = NOW + 1000
OTHER = IdentityKeys(b"o" * 32, b"O" * 32)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pow.json").read_text(encoding="utf-8"))


def with_solution(identity: PowIdentity, **changes: Any) -> PowIdentity:
    return replace(identity, pow_solution=replace(identity.pow_solution, **changes))


def with_challenge(identity: PowIdentity, **changes: Any) -> PowIdentity:
    return with_solution(identity, challenge=replace(identity.pow_solution.challenge, **changes))


def mined(keys: IdentityKeys, difficulty: int) -> PowIdentity:
    """An identity of exactly this difficulty, mined now."""
    challenge = Challenge.fresh(difficulty, NOW, b"easy" * 8)
    nonce = 0
    while True:
        solution = Solution.made(challenge, nonce, keys, NOW)
        if not int.from_bytes(solution.solution_hash, "big") >> (256 - difficulty):
            return PowIdentity.made(keys, solution)
        nonce += 1


@pytest.mark.requirement("POW-21")
def test_a_true_identity_is_accepted(identity: PowIdentity) -> None:
    for now in (identity.created_at, LATER, identity.expires_at):
        assert verify(identity, now) is None
        accept(identity, now)


@pytest.mark.requirement("POW-07", "POW-21", "POW-22")
@pytest.mark.parametrize(
    ("lie", "refusal"),
    [
        (lambda i: replace(i, created_at=i.created_at - 604_800, expires_at=NOW), Refusal.EXPIRED),
        (lambda i: replace(i, public_key=OTHER.signing_key), Refusal.KEYS_DIFFER),
        (lambda i: with_solution(i, public_key=OTHER.signing_key), Refusal.KEYS_DIFFER),
        # What the hash claims is looked at before it is computed.
        (lambda i: with_solution(i, solution_hash=b"\0\1" + bytes(30)), Refusal.TOO_LITTLE_WORK),
        (lambda i: with_solution(i, solution_hash=bytes(32)), Refusal.HASH_DIFFERS),
        (lambda i: with_solution(i, nonce=NONCE + 1), Refusal.HASH_DIFFERS),
        (lambda i: with_challenge(i, challenge_data=bytes(32)), Refusal.HASH_DIFFERS),
        (lambda i: with_challenge(i, timestamp=NOW + 1), Refusal.HASH_DIFFERS),
        (lambda i: with_challenge(i, difficulty=24), Refusal.TOO_LITTLE_WORK),
        (lambda i: with_challenge(i, difficulty=15), Refusal.TOO_EASY),
        (lambda i: replace(i, peer_id=OTHER.peer_id), Refusal.PEER_ID_DIFFERS),
        (lambda i: with_challenge(i, expires_at=NOW + 3601), Refusal.CHALLENGE_TOO_LONG),
        (lambda i: with_solution(i, computed_at=NOW - 1), Refusal.OUTSIDE_CHALLENGE),
        (lambda i: with_solution(i, computed_at=NOW + 3601), Refusal.OUTSIDE_CHALLENGE),
        (lambda i: replace(i, created_at=NOW + 13), Refusal.OUTSIDE_LIFETIME),
        (lambda i: replace(i, expires_at=i.expires_at + 1), Refusal.OUTSIDE_LIFETIME),
        (lambda i: replace(i, identity_score=0.0), Refusal.WRONG_SCORE),
        (lambda i: replace(i, refresh_count=4), Refusal.WRONG_SCORE),
        (lambda i: with_solution(i, signature=bytes(64)), Refusal.BAD_SIGNATURE),
    ],
)
def test_each_lie_has_its_own_refusal(identity: PowIdentity, lie: Any, refusal: Refusal) -> None:
    assert verify(lie(identity), LATER) is refusal
    with pytest.raises(IdentityRefused, match=refusal.value) as caught:
        accept(lie(identity), LATER)
    assert caught.value.reason == refusal.name


@pytest.mark.requirement("POW-21")
def test_it_may_not_begin_in_the_future(identity: PowIdentity) -> None:
    assert verify(identity, identity.created_at - 300) is None
    assert verify(identity, identity.created_at - 301) is Refusal.FROM_THE_FUTURE


@pytest.mark.requirement("POW-09", "POW-41")
def test_8_bits_are_for_development_alone(keys: IdentityKeys) -> None:
    easy = mined(keys, 8)
    assert verify(easy, NOW) is Refusal.TOO_EASY
    assert verify(easy, NOW, DEVELOPMENT_BASE) is None
    with pytest.raises(IdentityRefused):
        from_record(to_record(easy, keys), NOW)
    assert from_record(to_record(easy, keys), NOW, DEVELOPMENT_BASE) == easy


@pytest.mark.requirement("POW-10")
def test_more_than_24_bits_do_not_exist(identity: PowIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody mines one here: what its hash would be is taken for granted.
    hard = with_solution(with_challenge(identity, difficulty=25), solution_hash=bytes(32))
    monkeypatch.setattr(Solution, "recomputed_hash", lambda self: self.solution_hash)
    assert verify(hard, LATER) is Refusal.TOO_HARD
    assert verify(with_challenge(hard, difficulty=24), LATER) is Refusal.WRONG_SCORE


@pytest.mark.requirement("POW-07")
def test_a_check_costs_one_hash(identity: PowIdentity, keys: IdentityKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    original = solution_module.work.solution_hash
    monkeypatch.setattr(solution_module.work, "solution_hash", lambda *args: hashed.append(1) or original(*args))
    verify(identity, LATER)
    assert len(hashed) == 1
    assert verify(with_challenge(identity, difficulty=24), LATER) is Refusal.TOO_LITTLE_WORK
    assert len(hashed) == 1


def test_the_record_of_the_vectors(identity: PowIdentity, keys: IdentityKeys) -> None:
    payload = bytes.fromhex(next(v["hex"] for v in VECTORS if v["name"] == "record_canonical"))
    assert to_record(identity, keys) == payload
    assert from_record(payload, LATER) == identity


def test_a_record_is_signed_by_its_owner_alone(identity: PowIdentity, keys: IdentityKeys) -> None:
    with pytest.raises(ValueError):
        to_record(identity, OTHER)
    with pytest.raises(ValueError):
        to_record(identity, IdentityKeys(keys.signing_seed, OTHER.noise_secret))


@pytest.mark.requirement("POW-21", "POW-22")
@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        ("signing_key", OTHER.signing_key, Refusal.TOO_LITTLE_WORK),
        ("noise_key", OTHER.noise_key, Refusal.BAD_RECORD_SIGNATURE),
        ("challenge_data", bytes(32), Refusal.TOO_LITTLE_WORK),
        ("challenge_timestamp", NOW + 1, Refusal.TOO_LITTLE_WORK),
        ("challenge_expires_at", NOW + 7200, Refusal.CHALLENGE_TOO_LONG),
        ("difficulty", 24, Refusal.TOO_LITTLE_WORK),
        ("difficulty", 15, Refusal.TOO_EASY),
        ("nonce", NONCE + 1, Refusal.TOO_LITTLE_WORK),
        ("computed_at", NOW + 9999, Refusal.OUTSIDE_CHALLENGE),
        ("created_at", NOW + 9999, Refusal.OUTSIDE_LIFETIME),
        ("expires_at", (1 << 64) - 1, Refusal.OUTSIDE_LIFETIME),
        ("expires_at", NOW, Refusal.EXPIRED),
        ("refresh_count", 10, Refusal.BAD_RECORD_SIGNATURE),
        ("pow_signature", bytes(64), Refusal.BAD_SIGNATURE),
    ],
)
def test_a_record_whose_fields_lie_is_refused(
    identity: PowIdentity, keys: IdentityKeys, name: str, value: int | bytes, refusal: Refusal
) -> None:
    found: Any = identity_record.parse(to_record(identity, keys))
    body = identity_record.body(found | {name: value})
    with pytest.raises(IdentityRefused) as caught:
        from_record(identity_record.encode(body, found["record_signature"]), LATER)
    assert caught.value.reason == refusal.name
    # The owner may sign what only the owner can say, and nothing else.
    signed = identity_record.encode(body, keys.sign(identity_record.signed_part(body)))
    if refusal is Refusal.BAD_RECORD_SIGNATURE:
        assert from_record(signed, LATER).peer_id == identity.peer_id
    else:
        with pytest.raises(IdentityRefused):
            from_record(signed, LATER)


def test_what_is_no_record_is_refused() -> None:
    for vector in VECTORS:
        if vector["kind"] == "identity_record" and not vector["valid"]:
            with pytest.raises(IdentityRefused) as caught:
                from_record(bytes.fromhex(vector["hex"]), LATER)
            assert caught.value.reason == "BAD_RECORD", vector["name"]


def test_no_byte_of_a_record_can_change(identity: PowIdentity, keys: IdentityKeys) -> None:
    payload = to_record(identity, keys)
    for at in range(len(payload)):
        changed = bytearray(payload)
        changed[at] ^= 1 << at % 8
        with pytest.raises(IdentityRefused):
            from_record(changed, LATER)
