"""Whether an identity is what it says (POW-07, POW-21, POW-22, resolution E4)."""

import math
from enum import StrEnum

from bitrelay.errors import IdentityRefused
from shared_protocol import pow as work

from .keys import peer_id_of, signed_by
from .proof import PowIdentity
from .score import identity_score

# What integration samples and labs use (E2); nothing on the air is admitted with it.
DEVELOPMENT_BASE = 8

# How far a peer's clock may be ahead of ours.
CLOCK_SKEW_S = 300


class Refusal(StrEnum):
    """Why an identity is not accepted; the text is for people, the name for programs."""

    EXPIRED = "it has expired"
    KEYS_DIFFER = "its proof of work was done for another key"
    TOO_LITTLE_WORK = "the hash of its proof of work has too few zero bits"
    HASH_DIFFERS = "the hash of its proof of work is not what the nonce gives"
    CHALLENGE_TOO_LONG = "its challenge lives longer than an hour"
    OUTSIDE_CHALLENGE = "its proof of work was not done while its challenge lived"
    BAD_SIGNATURE = "the signature of its proof of work does not hold"
    PEER_ID_DIFFERS = "its PeerId is not that of its key"
    TOO_EASY = "its difficulty is below what is accepted"
    TOO_HARD = "its difficulty is above what there is"
    OUTSIDE_LIFETIME = "it does not begin with its proof of work, or holds longer than 7 days"
    FROM_THE_FUTURE = "it begins in the future"
    WRONG_SCORE = "its score is not what the formula gives"
    BAD_RECORD = "its record cannot be read"
    BAD_RECORD_SIGNATURE = "the signature of its record does not hold"


def verify(
    identity: PowIdentity, now: int, base: int = work.DIFFICULTY_BASE, *, hash_known: bool = False
) -> Refusal | None:
    """Why the identity is not acceptable at this time (Unix seconds), or None. base: the lowest difficulty accepted.

    hash_known: the solution's hash is our own computation. Costs two short SHA-256 and, if all else holds, one Ed25519
    verification. Raises for no identity whatever.
    """
    solution = identity.pow_solution
    challenge = solution.challenge
    if identity.expired(now):
        return Refusal.EXPIRED
    if solution.public_key != identity.public_key:
        return Refusal.KEYS_DIFFER
    if work.leading_zero_bits(solution.solution_hash) < challenge.difficulty:
        return Refusal.TOO_LITTLE_WORK
    if not hash_known and solution.recomputed_hash() != solution.solution_hash:
        return Refusal.HASH_DIFFERS
    if peer_id_of(identity.public_key) != identity.peer_id:
        return Refusal.PEER_ID_DIFFERS
    if challenge.difficulty < base:
        return Refusal.TOO_EASY
    if challenge.difficulty > work.DIFFICULTY_MAX:
        return Refusal.TOO_HARD
    refusal = _times(identity, now)
    if refusal is not None:
        return refusal
    if not math.isclose(identity.identity_score, identity_score(challenge.difficulty, 0, identity.refresh_count)):
        return Refusal.WRONG_SCORE
    signed = work.signed_part(challenge.challenge_data, solution.nonce)
    if not signed_by(identity.public_key, signed, solution.signature):
        return Refusal.BAD_SIGNATURE
    return None


def accept(identity: PowIdentity, now: int, base: int = work.DIFFICULTY_BASE, *, hash_known: bool = False) -> None:
    """Raise IdentityRefused with the reason if `verify` finds one."""
    refusal = verify(identity, now, base, hash_known=hash_known)
    if refusal is not None:
        raise refused(refusal)


def refused(refusal: Refusal) -> IdentityRefused:
    """The error for a refusal."""
    return IdentityRefused(f"the identity is not accepted: {refusal.value}", reason=refusal.name)


def _times(identity: PowIdentity, now: int) -> Refusal | None:
    # Neither the challenge's end nor the identity's times are part of the hash: without these bounds their owner could
    # set them at will.
    solution = identity.pow_solution
    challenge = solution.challenge
    if challenge.expires_at > challenge.timestamp + work.CHALLENGE_S:
        return Refusal.CHALLENGE_TOO_LONG
    if not challenge.timestamp <= solution.computed_at <= challenge.expires_at:
        return Refusal.OUTSIDE_CHALLENGE
    if identity.created_at != solution.computed_at or identity.expires_at > identity.created_at + work.IDENTITY_S:
        return Refusal.OUTSIDE_LIFETIME
    if identity.created_at > now + CLOCK_SKEW_S:
        return Refusal.FROM_THE_FUTURE
    return None
