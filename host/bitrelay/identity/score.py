"""What an identity counts for: work, freshness and persistence. Reputation is another matter and kept apart (E5)."""

import math

# Above this score a peer may connect (POW-39); from these reputations on it routes, and counts as a diverse path (E6).
ADMISSION_SCORE = 0.3
ROUTING_REPUTATION = 0.5
TRUSTED_REPUTATION = 0.6

UNKNOWN_SCORE = 0.0

_WORK, _FRESHNESS, _PERSISTENCE = 0.5, 0.3, 0.2
_WORK_BITS = 32
_AGE_S = 86_400
_REFRESHES = 10


def identity_score(difficulty: int, age_s: float, refresh_count: int) -> float:
    """From 0 to 1, for a difficulty in bits, an age since creation in seconds, and refreshes (POW-16).

    A creation in the future counts as now. At 16 bits without a refresh it falls to 0.3 after 1.79 days (POW-17).
    """
    return min(
        1.0,
        _WORK * difficulty / _WORK_BITS
        + _FRESHNESS * math.exp(-max(age_s, 0) / _AGE_S)
        + _PERSISTENCE * min(refresh_count, _REFRESHES) / _REFRESHES,
    )


def admits(score: float) -> bool:
    """Whether a peer of this score may connect (POW-39)."""
    return score > ADMISSION_SCORE
