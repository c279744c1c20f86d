"""An identity as it travels in a packet of type 0xB1, and back."""

from typing import Any

from shared_protocol import identity_record
from shared_protocol.pow import DIFFICULTY_BASE, solution_hash

from .challenge import Challenge
from .keys import IdentityKeys, peer_id_of, signed_by
from .proof import PowIdentity
from .score import identity_score
from .solution import Solution
from .verify import Refusal, accept, refused


def to_record(identity: PowIdentity, keys: IdentityKeys) -> bytes:
    """The packet's payload, signed. Raises ValueError if these are not the identity's keys."""
    if (keys.signing_key, keys.noise_key) != (identity.public_key, identity.noise_key):
        raise ValueError("these keys are another identity's")
    solution = identity.pow_solution
    challenge = solution.challenge
    body = identity_record.body(
        {
            "signing_key": identity.public_key,
            "noise_key": identity.noise_key,
            "challenge_data": challenge.challenge_data,
            "challenge_timestamp": challenge.timestamp,
            "challenge_expires_at": challenge.expires_at,
            "difficulty": challenge.difficulty,
            "nonce": solution.nonce,
            "computed_at": solution.computed_at,
            "created_at": identity.created_at,
            "expires_at": identity.expires_at,
            "refresh_count": identity.refresh_count,
            "pow_signature": solution.signature,
        }
    )
    return identity_record.encode(body, keys.sign(identity_record.signed_part(body)))


def from_record(payload: bytes | bytearray | memoryview, now: int, base: int = DIFFICULTY_BASE) -> PowIdentity:
    """The identity in a payload, verified at this time (Unix seconds): one proof-of-work hash, two signatures.

    Raises IdentityRefused for whatever `verify` refuses, for a payload that is no record, and for one whose signature
    does not hold; and for no bytes whatever anything else.
    """
    found: Any = identity_record.parse(payload)
    if found is None:
        raise refused(Refusal.BAD_RECORD)
    key = found["signing_key"]
    challenge = Challenge(
        found["difficulty"], found["challenge_data"], found["challenge_timestamp"], found["challenge_expires_at"]
    )
    digest = solution_hash(challenge.challenge_data, found["nonce"], key, challenge.timestamp)
    solution = Solution(challenge, found["nonce"], digest, key, found["pow_signature"], found["computed_at"])
    identity = PowIdentity(
        peer_id=peer_id_of(key),
        public_key=key,
        noise_key=found["noise_key"],
        pow_solution=solution,
        identity_score=identity_score(challenge.difficulty, 0, found["refresh_count"]),
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        refresh_count=found["refresh_count"],
    )
    accept(identity, now, base, hash_known=True)
    if not signed_by(key, identity_record.signed_part(found["body"]), found["record_signature"]):
        raise refused(Refusal.BAD_RECORD_SIGNATURE)
    return identity
