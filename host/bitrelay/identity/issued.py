"""Challenges that we gave to others: each good for one solution, for as long as it lives."""

from collections import Counter
from collections.abc import Callable
from os import urandom

from shared_protocol.pow import CHALLENGE_SIZE

from .challenge import Challenge

MOST = 1024
MOST_PER_ORIGIN = 8


class IssuedChallenges:
    """The active ones (row POW-25), at most `most` of them and `per_origin` for one origin.

    Who asks for more loses its own oldest one; when the table is full, the origin with the most does. So a flood from a
    few places takes nothing from the others.
    """

    def __init__(
        self,
        most: int = MOST,
        per_origin: int = MOST_PER_ORIGIN,
        random_bytes: Callable[[int], bytes] = urandom,
    ) -> None:
        self._most = most
        self._per_origin = per_origin
        self._random_bytes = random_bytes
        # In the order of issue, which is that of expiry.
        self._active: dict[bytes, tuple[Challenge, str]] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._active)

    def issue(self, origin: str, difficulty: int, now: int) -> Challenge:
        """A new challenge for who asks from there; it lives an hour (row POW-15)."""
        self.prune(now)
        if self._held[origin] >= self._per_origin:
            self._drop_oldest(origin)
        elif len(self._active) >= self._most:
            self._drop_oldest(max(self._held, key=self._held.__getitem__))
        challenge = Challenge.fresh(difficulty, now, self._random_bytes(CHALLENGE_SIZE))
        self._active[challenge.challenge_data] = (challenge, origin)
        self._held[origin] += 1
        return challenge

    def holds(self, challenge: Challenge, now: int) -> bool:
        """Whether we issued exactly this challenge, nobody has used it, and it lives."""
        issued = self._active.get(challenge.challenge_data)
        return issued is not None and issued[0] == challenge and not challenge.expired(now)

    def redeem(self, challenge: Challenge, now: int) -> bool:
        """As `holds`; it is used up by that."""
        self.prune(now)
        if not self.holds(challenge, now):
            return False
        self._drop(challenge.challenge_data)
        return True

    def prune(self, now: int) -> int:
        """Forget those that have expired; how many there were."""
        expired = [data for data, (challenge, _) in self._active.items() if challenge.expired(now)]
        for data in expired:
            self._drop(data)
        return len(expired)

    def _drop_oldest(self, origin: str) -> None:
        self._drop(next(data for data, (_, holder) in self._active.items() if holder == origin))

    def _drop(self, data: bytes) -> None:
        _, origin = self._active.pop(data)
        self._held[origin] -= 1
        if not self._held[origin]:
            del self._held[origin]
