"""What a relayed frame counts for: a rule that can be replaced (rows GWY-16, GWY-17, resolution E27).

It is a number in the ledger and nothing more: no value moves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

MOST_FEE: Final = (1 << 63) - 1
_STEPS: Final = ((1, 1), (3, 2), (6, 3))
_FAR: Final = 4


@dataclass(frozen=True, slots=True)
class Relayed:
    """What a rule knows of a frame. hops: 8 - TTL after it was lowered; size: its bytes; waited_ms: from being heard to
    being sent."""

    hops: int
    size: int
    waited_ms: float


class FeeRule(Protocol):
    """How much a frame counts for."""

    def fee(self, relayed: Relayed) -> int:
        """0 to MOST_FEE. Must not raise."""


Bonus = Callable[[Relayed], int]
"""What a frame counts for beyond its fee, 0 or more: the founding documents ask for a bonus for performance and give no
formula."""


def no_bonus(relayed: Relayed) -> int:
    """Good performance counts for nothing."""
    return 0


def hop_multiplier(hops: int) -> int:
    """1 / 2 / 3 / 4 for 1 / 2-3 / 4-6 / more hops (section D). No hops count as one: that the founding repository gives
    them 4, too, is taken for a slip, since who carried a frame nowhere would be paid as for the longest way."""
    return next((times for most, times in _STEPS if hops <= most), _FAR)


@dataclass(frozen=True, slots=True)
class HopFee:
    """The rule unless another is given: base (row GWY-16: 1) times the multiplier of the hops, and the bonus."""

    base: int = 1
    bonus: Bonus = no_bonus

    def fee(self, relayed: Relayed) -> int:
        return min(MOST_FEE, self.base * hop_multiplier(relayed.hops) + max(0, self.bonus(relayed)))
