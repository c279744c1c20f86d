"""Challenges, solutions and identities: their fields, ids, times and scores."""

import hashlib
import math

import pytest

from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys, signed_by
from bitrelay.identity.proof import PowIdentity, score_of
from bitrelay.identity.score import ADMISSION_SCORE, admits, identity_score
from bitrelay.identity.solution import Solution
from tests.identity.conftest import NONCE, NOW


@pytest.mark.requirement("POW-01", "POW-15")
def test_a_challenge_lives_an_hour_and_its_data_are_random() -> None:
    challenge = Challenge.fresh(19, NOW)
    assert (challenge.difficulty, challenge.timestamp, challenge.expires_at) == (19, NOW, NOW + 3600)
    assert challenge.target_prefix == bytes(2)
    assert len(challenge.challenge_data) == 32
    assert challenge.challenge_data != Challenge.fresh(19, NOW).challenge_data


@pytest.mark.requirement("POW-08")
def test_expired_means_after_the_last_second(challenge: Challenge, identity: PowIdentity) -> None:
    assert [challenge.expired(challenge.expires_at + late) for late in (-1, 0, 1)] == [False, False, True]
    assert [identity.expired(identity.expires_at + late) for late in (-1, 0, 1)] == [False, False, True]


@pytest.mark.requirement("POW-02", "POW-06")
def test_a_solution_is_hashed_and_signed(challenge: Challenge, keys: IdentityKeys) -> None:
    solution = Solution.made(challenge, NONCE, keys, NOW + 12)
    image = challenge.challenge_data + NONCE.to_bytes(8, "big") + keys.signing_key + NOW.to_bytes(8, "big")
    assert solution.solution_hash == hashlib.sha256(image).digest() == solution.recomputed_hash()
    assert solution.solution_hash[:2] == challenge.target_prefix
    assert signed_by(keys.signing_key, challenge.challenge_data + NONCE.to_bytes(8, "big"), solution.signature)
    assert (solution.challenge, solution.nonce, solution.computed_at) == (challenge, NONCE, NOW + 12)


@pytest.mark.requirement("POW-03", "POW-13", "POW-23", "POW-24")
def test_an_identity_is_complete_from_the_start(identity: PowIdentity, keys: IdentityKeys) -> None:
    assert identity.peer_id == identity.node_id == hashlib.sha256(keys.signing_key).digest()
    assert identity.on_air_id == hashlib.sha256(keys.noise_key).digest()[:8]
    assert identity.created_at == identity.pow_solution.computed_at
    assert identity.expires_at == identity.created_at + 604_800
    assert identity.identity_score == pytest.approx(0.5 * 16 / 32 + 0.3 + 0.2 * 3 / 10)
    assert identity.score(identity.created_at + 86_400) == pytest.approx(0.25 + 0.3 / math.e + 0.06)


@pytest.mark.requirement("POW-14", "POW-18")
def test_it_needs_a_refresh_after_a_day(identity: PowIdentity) -> None:
    ages = (0, 86_400, 86_401)
    assert [identity.needs_refresh(identity.created_at + age) for age in ages] == [False, False, True]


@pytest.mark.requirement("POW-16")
@pytest.mark.parametrize(
    ("difficulty", "age_s", "refreshes", "score"),
    [
        (0, 0, 0, 0.3),
        (16, 0, 0, 0.55),
        (24, 0, 0, 0.675),
        (32, 0, 0, 0.8),
        (16, 86_400, 0, 0.25 + 0.3 * 0.36787944117144233),
        (16, 0, 5, 0.65),
        (16, 0, 10, 0.75),
        (16, 0, 4_000_000_000, 0.75),
        (16, 1e12, 0, 0.25),
        (32, 0, 10, 1.0),
        (64, 0, 10, 1.0),
        (16, -1e9, 0, 0.55),
    ],
)
def test_the_score(difficulty: int, age_s: float, refreshes: int, score: float) -> None:
    assert identity_score(difficulty, age_s, refreshes) == pytest.approx(score, abs=1e-12)


@pytest.mark.requirement("POW-17", "POW-39")
def test_without_a_refresh_the_easiest_identity_is_admitted_for_1_79_days() -> None:
    assert ADMISSION_SCORE == 0.3
    days = math.log(0.3 / 0.05)
    assert round(days, 2) == 1.79
    assert admits(identity_score(16, days * 86_400 - 1, 0))
    assert not admits(identity_score(16, days * 86_400 + 1, 0))
    assert not admits(0.3)


@pytest.mark.requirement("POW-34")
def test_a_peer_that_is_not_known_scores_nothing(identity: PowIdentity) -> None:
    assert score_of(None, NOW) == 0.0
    assert score_of(identity, identity.created_at) == identity.identity_score


def test_no_repr_shows_a_secret(keys: IdentityKeys, identity: PowIdentity) -> None:
    shown = repr(keys) + str(keys) + repr(identity)
    for secret in (keys.signing_seed, keys.noise_secret):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_fresh_keys_differ() -> None:
    first, second = IdentityKeys.fresh(), IdentityKeys.fresh()
    assert first.signing_seed != second.signing_seed != first.noise_secret != second.noise_secret
    with pytest.raises(ValueError):
        IdentityKeys(bytes(31), bytes(32))


@pytest.mark.parametrize(("message", "signature"), [(b"x", bytes(64)), (b"x", b""), (b"", bytes(65))])
def test_no_signature_raises(message: bytes, signature: bytes, keys: IdentityKeys) -> None:
    assert not signed_by(keys.signing_key, message, signature)
    assert not signed_by(b"\1" + bytes(31), message, signature)
    assert not signed_by(b"short", message, signature)
    assert signed_by(keys.signing_key, message, keys.sign(message))


def test_what_no_packet_carries_is_no_challenge() -> None:
    for bad in ((16, bytes(31), 0, 0), (-1, bytes(32), 0, 0), (256, bytes(32), 0, 0), (16, bytes(32), 1 << 64, 0)):
        with pytest.raises(ValueError):
            Challenge(*bad)
