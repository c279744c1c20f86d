"""How hard proofs of work are to be, from how long they took: a pure policy (POW-11, POW-12, POW-31, E3).

How E3 is read. 16 and 24 bits are hard bounds. A target of 300 s cannot be met on every device at once, a computer
being a thousand times as fast as a board; it is the longest that the slowest device we support may take on average. So
the slow tenth of what was measured is compared with it: below 0.9 of the target a bit more is asked, above 1.1 a bit
less. A bit more doubles the time. Where that would overshoot 1.1, the next step would have to take it back, and none is
made.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from shared_protocol.pow import DIFFICULTY_BASE, DIFFICULTY_MAX

from .verify import DEVELOPMENT_BASE

ADJUSTMENT_S = 3600
TARGET_SOLVE_S = 300.0
WINDOW = 100
# Fewer measurements say nothing about the slowest devices.
LEAST_SAMPLES = 20

_FASTER, _SLOWER = 0.9, 1.1
_SLOW_TENTH = 0.9
# Times come in whole seconds, and a clock may stand still: no device is taken to be faster than this.
_SHORTEST_S = 1e-3


@dataclass(frozen=True, slots=True)
class SolveTime:
    """One proof of work that was measured: its difficulty in bits, and how long it took, in seconds.

    tried: how many hashes it took, if that is known. If not it counts as the 2**difficulty that it takes on average; a
    single time is then a factor of three off as often as not, and only many of them say something.
    """

    difficulty: int
    seconds: float
    tried: int | None = None

    def at(self, difficulty: int) -> float:
        """How long the same device takes on average at another difficulty, in seconds."""
        tried = self.tried or 2**self.difficulty
        return max(self.seconds, _SHORTEST_S) / tried * 2.0**difficulty


@dataclass(frozen=True, slots=True)
class DifficultyConfig:
    """What is asked of new proofs, and the bounds of it, in bits. Raises ValueError if they are out of order."""

    current: int = DIFFICULTY_BASE
    base: int = DIFFICULTY_BASE
    most: int = DIFFICULTY_MAX

    def __post_init__(self) -> None:
        if not DEVELOPMENT_BASE <= self.base <= self.current <= self.most <= DIFFICULTY_MAX:
            raise ValueError("difficulties are base <= current <= most, within 8 to 24 bits")

    @classmethod
    def development(cls) -> "DifficultyConfig":
        """For labs and samples: nothing made so is accepted elsewhere (resolution E2)."""
        return cls(DEVELOPMENT_BASE, DEVELOPMENT_BASE, DIFFICULTY_MAX)


@dataclass(frozen=True, slots=True)
class DifficultyAdjusted:
    """New proofs of work get another difficulty, in bits (row POW-29)."""

    old: int
    new: int


def adjusted(
    config: DifficultyConfig, times: Iterable[SolveTime], target_s: float = TARGET_SOLVE_S
) -> DifficultyConfig:
    """What to ask from now on, at most one bit from what was asked. times: the last WINDOW of them count."""
    window = deque(times, WINDOW)
    if len(window) < LEAST_SAMPLES:
        return config
    slow = sorted(time.at(config.current) for time in window)[int(_SLOW_TENTH * (len(window) - 1))]
    if slow > _SLOWER * target_s:
        return replace(config, current=max(config.base, config.current - 1))
    if slow < _FASTER * target_s and 2 * slow <= _SLOWER * target_s:
        return replace(config, current=min(config.most, config.current + 1))
    return config


@dataclass(slots=True)
class DifficultyControl:
    """The policy over time: remembers the last WINDOW times, and when it last looked, by any one clock."""

    config: DifficultyConfig = field(default_factory=DifficultyConfig)
    interval_s: float = ADJUSTMENT_S
    target_s: float = TARGET_SOLVE_S
    _times: deque[SolveTime] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _looked: float | None = None

    def add(self, time: SolveTime) -> None:
        """Remember a measurement; the oldest goes when there are WINDOW."""
        self._times.append(time)

    def adjust(self, now: float) -> DifficultyAdjusted | None:
        """Make a step if it is time for one and one is due. The first call begins the first interval."""
        if self._looked is None:
            self._looked = now
        if now - self._looked < self.interval_s:
            return None
        self._looked = now
        old, self.config = self.config, adjusted(self.config, self._times, self.target_s)
        return None if old == self.config else DifficultyAdjusted(old.current, self.config.current)
