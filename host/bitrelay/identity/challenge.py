"""What a proof of work has to solve."""

import os
from dataclasses import dataclass

from shared_protocol.pow import CHALLENGE_S, CHALLENGE_SIZE

_TIME_MAX = (1 << 64) - 1
_DIFFICULTY_MAX = 255


@dataclass(frozen=True)
class Challenge:
    """difficulty: leading zero bits; challenge_data: 32 random bytes; timestamp, expires_at: Unix seconds (POW-01).

    Raises ValueError for what the hash or the record cannot carry.
    """

    difficulty: int
    challenge_data: bytes
    timestamp: int
    expires_at: int

    def __post_init__(self) -> None:
        if len(self.challenge_data) != CHALLENGE_SIZE or not 0 <= self.difficulty <= _DIFFICULTY_MAX:
            raise ValueError("a challenge has 32 bytes of data and a difficulty of at most 255")
        if not 0 <= self.timestamp <= _TIME_MAX or not 0 <= self.expires_at <= _TIME_MAX:
            raise ValueError("times are 64-bit Unix seconds")

    @classmethod
    def fresh(cls, difficulty: int, now: int, data: bytes | None = None) -> "Challenge":
        """A challenge that begins now and lives an hour (POW-15). data: random unless given."""
        return cls(difficulty, os.urandom(CHALLENGE_SIZE) if data is None else data, now, now + CHALLENGE_S)

    @property
    def target_prefix(self) -> bytes:
        """The whole zero bytes that a solution's hash begins with."""
        return bytes(self.difficulty // 8)

    def expired(self, now: int) -> bool:
        """Whether it is too late to solve it (POW-08)."""
        return now > self.expires_at
