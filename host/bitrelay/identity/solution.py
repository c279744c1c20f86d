"""A solved challenge, signed by the key it was solved for."""

from dataclasses import dataclass

from shared_protocol import pow as work

from .challenge import Challenge
from .keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKeys


@dataclass(frozen=True)
class Solution:
    """A nonce and what follows from it (POW-02); public_key: Ed25519; computed_at: Unix seconds.

    Raises ValueError for sizes that no solution has. Whether it solves anything, `verify` says.
    """

    challenge: Challenge
    nonce: int
    solution_hash: bytes
    public_key: bytes
    signature: bytes
    computed_at: int

    def __post_init__(self) -> None:
        sizes = (len(self.solution_hash), len(self.public_key), len(self.signature))
        if sizes != (work.HASH_SIZE, KEY_BYTES, SIGNATURE_BYTES):
            raise ValueError("a solution has a hash and a key of 32 bytes and a signature of 64")
        if self.nonce < 0 or self.nonce >> 64 or self.computed_at < 0 or self.computed_at >> 64:
            raise ValueError("nonce and time of a solution are 64-bit integers")

    @classmethod
    def made(cls, challenge: Challenge, nonce: int, keys: IdentityKeys, computed_at: int) -> "Solution":
        """The solution with that nonce, hashed and signed (POW-04, POW-06)."""
        return cls(
            challenge,
            nonce,
            work.solution_hash(challenge.challenge_data, nonce, keys.signing_key, challenge.timestamp),
            keys.signing_key,
            keys.sign(work.signed_part(challenge.challenge_data, nonce)),
            computed_at,
        )

    def recomputed_hash(self) -> bytes:
        """What the hash is in truth: one SHA-256 over 80 bytes."""
        challenge = self.challenge
        return work.solution_hash(challenge.challenge_data, self.nonce, self.public_key, challenge.timestamp)
