"""How much of its budget the downlink uses, by how full the relay says it is (row GWY-15).

Additive increase, multiplicative decrease, as TCP has it (Chiu and Jain 1989): a relay whose queues fill halves the
rate, an idle one gives it back step by step, and gateways of one mesh come to equal shares without a word.
"""

from typing import Final

FULL: Final = 0.5
"""From this pressure on the rate is halved: half of a relay's queues is what its neighbours' own traffic may need."""
IDLE: Final = 0.25
LEAST: Final = 1 / 16
"""Of the budget. Less would look like a gateway that is down; this is two frames a minute of thirty."""
STEP: Final = 0.05
EVERY_S: Final = 1.0
"""Reports that come sooner tell of the same moment, and change nothing."""


class Throttle:
    """share: of the budget, LEAST to 1. now: seconds."""

    def __init__(self) -> None:
        self.share = 1.0
        self._changed = float("-inf")

    def report(self, pressure: float, now: float) -> bool:
        """The relay says how full it is, 0 to 1; whether that changes the share. What is no number changes nothing."""
        if now - self._changed < EVERY_S:
            return False
        if pressure >= FULL:
            share = max(LEAST, self.share / 2)
        elif pressure <= IDLE:
            share = min(1.0, self.share + STEP)
        else:
            return False
        if share == self.share:
            return False
        self.share = share
        self._changed = now
        return True
