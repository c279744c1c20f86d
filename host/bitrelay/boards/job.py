"""What is to be flashed, how, what happens meanwhile, and what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plan import Wishes


@dataclass(frozen=True)
class Target:
    """A board to flash. port is what the user calls it, url what is opened; serial_number is that of its USB device.

    stand_in: of a virtual board, the file that takes the place of MicroPython's firmware. what: its adapter, or that it
    is virtual, for people.
    """

    port: str
    url: str
    serial_number: str = ""
    virtual: bool = False
    stand_in: Path | None = None
    what: str = ""


@dataclass(frozen=True)
class FlashOptions:
    """What the user wants. board and firmware are names of his, None for the usual ones; baud the highest rate to use.

    confirm is asked before somebody else's program is replaced; hands: somebody is there to press buttons.
    """

    board: str | None = None
    firmware: Path | None = None
    wishes: Wishes = field(default_factory=Wishes)
    erase: bool = False
    baud: int | None = None
    dry_run: bool = False
    hands: bool = False
    confirm: Callable[[str], Awaitable[bool]] | None = None


@dataclass(frozen=True)
class FlashEvent:
    """Something that happens to a board. stage is what is going on, share how much of it is done, from 0 to 1.

    note: a line for the user.
    """

    port: str
    stage: str
    share: float | None = None
    note: str = ""


@dataclass(frozen=True)
class FlashResult:
    """What became of a board. firmware is MicroPython's version, version the relay's.

    kept: the files that were put back as they were; stages: seconds by stage. A dry run has no version, and verifies
    nothing.
    """

    port: str
    chip: str
    board: str
    flash_size: int
    mac: str
    firmware: str
    version: str
    build: str
    identity: str
    seconds: float
    stages: dict[str, float]
    kept: tuple[str, ...]
    verified: bool

    def as_json(self) -> dict[str, Any]:
        """The contract for scripts: these names stay."""
        values = dict(vars(self))
        values["seconds"] = round(self.seconds, 1)
        values["stages"] = {stage: round(seconds, 2) for stage, seconds in self.stages.items()}
        return values
