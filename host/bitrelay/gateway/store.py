"""Frames for meshes that cannot be reached, kept until they can or phones would not accept them any more.

In SQLite: what put() has returned for survives the end of the process and of the machine's power. Bounded by count,
bytes and age; when full, the oldest of the lowest class goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bridge_frame import BridgeFrame
from .config import StoreConfig


@dataclass(frozen=True, slots=True)
class Stored:
    """number: its place in the order. heard_ms: Unix milliseconds."""

    number: int
    origin: str
    target: str
    frame: BridgeFrame
    heard_ms: int


class FrameStore:
    """The frames that wait, by target mesh, in the order they were heard. Not for use from several threads at once;
    its calls may block for as long as the disk does, so callers use asyncio.to_thread or accept it.

    clock: Unix seconds. expired, dropped: how many went for their age, and for want of room. set_aside: where a damaged
    file is that was there.
    """

    def __init__(self, path: Path, config: StoreConfig, clock: Callable[[], float]) -> None:
        """Raises what identity/database.open_database raises."""
        self.expired = 0
        self.dropped = 0
        self.set_aside: Path | None = None
        raise NotImplementedError

    def put(self, origin: str, target: str, frames: Sequence[tuple[BridgeFrame, float]], heard_ms: int) -> None:
        """Keep frames for a mesh, each with the Unix time in seconds until which phones accept it; one that is there
        already (key and target) is left. Raises DiskFull, PortError."""
        raise NotImplementedError

    def first(self, target: str, most: int) -> list[Stored]:
        """The next ones for a mesh that phones still accept, oldest first; the others are let go and counted."""
        raise NotImplementedError

    def done(self, numbers: Sequence[int]) -> None:
        """These arrived, or need not."""
        raise NotImplementedError

    def targets(self) -> dict[str, int]:
        """How many wait, by mesh; none of them is 0."""
        raise NotImplementedError

    def expire(self) -> int:
        """Let go of what is too old; how many that was."""
        raise NotImplementedError

    def close(self) -> None:
        """Harmless when repeated."""
        raise NotImplementedError
