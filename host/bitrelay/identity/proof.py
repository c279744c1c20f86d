"""An identity with its proof of work: what a node shows of itself, and what is known of a peer."""

from dataclasses import dataclass

from shared_protocol.pow import IDENTITY_S, REFRESH_S

from .keys import KEY_BYTES, IdentityKeys, on_air_id_of
from .score import UNKNOWN_SCORE, identity_score
from .solution import Solution

_REFRESH_COUNT_MAX = (1 << 32) - 1


@dataclass(frozen=True)
class PowIdentity:
    """Public keys, the work done for them, and how long they hold (POW-03).

    public_key: Ed25519, noise_key: X25519, 32 bytes each; identity_score: as it was at created_at; times: Unix seconds.
    Raises ValueError for sizes that no identity has. Whether it is true, `verify` says.
    """

    peer_id: bytes
    public_key: bytes
    noise_key: bytes
    pow_solution: Solution
    identity_score: float
    created_at: int
    expires_at: int
    refresh_count: int = 0

    def __post_init__(self) -> None:
        if not len(self.peer_id) == len(self.public_key) == len(self.noise_key) == KEY_BYTES:
            raise ValueError("the keys and the id of an identity are 32 bytes each")
        if min(self.created_at, self.expires_at) < 0 or max(self.created_at, self.expires_at) >> 64:
            raise ValueError("the times of an identity are 64-bit Unix seconds")
        if not 0 <= self.refresh_count <= _REFRESH_COUNT_MAX:
            raise ValueError("the refreshes of an identity are a 32-bit number")

    @classmethod
    def made(cls, keys: IdentityKeys, solution: Solution, refresh_count: int = 0) -> "PowIdentity":
        """The identity that begins with this solution and holds 7 days (POW-13), its score computed (POW-23)."""
        score = identity_score(solution.challenge.difficulty, 0, refresh_count)
        created = solution.computed_at
        expires = created + IDENTITY_S
        return cls(
            keys.peer_id, keys.signing_key, keys.noise_key, solution, score, created, expires, refresh_count
        )  # fmt: skip

    @property
    def node_id(self) -> bytes:
        """Its place in the DHT: the PeerId as it is (DHT-01)."""
        return self.peer_id

    @property
    def on_air_id(self) -> bytes:
        """The sender of its packets, 8 bytes."""
        return on_air_id_of(self.noise_key)

    @property
    def difficulty(self) -> int:
        """The zero bits it was mined for."""
        return self.pow_solution.challenge.difficulty

    @property
    def refresh_at(self) -> int:
        """When it should be mined anew, Unix seconds."""
        return self.created_at + REFRESH_S

    @property
    def next_refresh_count(self) -> int:
        """What to count when it is mined anew; a record has no room for more than 32 bits."""
        return min(self.refresh_count + 1, _REFRESH_COUNT_MAX)

    def needs_refresh(self, now: int) -> bool:
        """Whether it is older than a day (POW-14, POW-18)."""
        return now > self.refresh_at

    def expired(self, now: int) -> bool:
        """Whether it holds no longer (POW-08)."""
        return now > self.expires_at

    def score(self, now: float) -> float:
        """What it counts for now, from 0 to 1 (POW-16)."""
        return identity_score(self.difficulty, now - self.created_at, self.refresh_count)


def score_of(identity: PowIdentity | None, now: float) -> float:
    """The score of a peer; that of one whose identity is not known is 0 (POW-34)."""
    return UNKNOWN_SCORE if identity is None else identity.score(now)
