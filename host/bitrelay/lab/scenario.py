"""What a lab consists of and what happens in it, as plain data."""

from dataclasses import dataclass
from enum import StrEnum

from .board import DEFAULT_CHIP, DEFAULT_HEAP
from .traffic import Flow

# Bumble is good for tens of nodes (design section 5); more are a case for the simulator.
MAX_NODES = 64
DEFAULT_BOARD = "esp32_generic"


class FaultKind(StrEnum):
    """What can be done to a lab while it runs."""

    KILL = "kill"
    START = "start"
    FREEZE = "freeze"
    THAW = "thaw"
    REBOOT = "reboot"
    MOVE = "move"
    JAM = "jam"
    UNJAM = "unjam"
    LOSS = "loss"


Position = tuple[float, float]


@dataclass(frozen=True)
class BoardSpec:
    """A virtual board: position in metres, max_links for both directions together, settings for its settings file."""

    name: str
    position: Position | None = None
    board: str = DEFAULT_BOARD
    chip: str = DEFAULT_CHIP
    max_links: int = 4
    heap: str = DEFAULT_HEAP
    settings: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True)
class PhoneSpec:
    """A virtual phone; see phone.Phone."""

    name: str
    platform: str = "ios"
    position: Position | None = None
    announce: bool = True
    pace: float = 0.25
    announce_pace: float = 1.0
    clock_offset_s: float = 0.0


@dataclass(frozen=True)
class Edge:
    """Two nodes that hear each other at `rssi` dBm."""

    a: str
    b: str
    rssi: float = -60.0


@dataclass(frozen=True)
class Fault:
    """Something done at `at` seconds after the lab was ready. A move takes `over` seconds."""

    at: float
    kind: FaultKind
    node: str = ""
    between: tuple[str, str] = ("", "")
    position: Position = (0.0, 0.0)
    over: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """A whole lab. With edges only edges count; without them positions decide who hears whom."""

    title: str = ""
    seed: int = 0
    loss: float = 0.0
    exponent: float = 2.7
    boards: tuple[BoardSpec, ...] = ()
    phones: tuple[PhoneSpec, ...] = ()
    edges: tuple[Edge, ...] = ()
    traffic: tuple[Flow, ...] = ()
    faults: tuple[Fault, ...] = ()

    def seconds(self) -> float | None:
        """How long its traffic and faults last; None if that depends on how fast frames are carried."""
        if any(flow.rate is None for flow in self.traffic):
            return None
        return max(
            (
                *(fault.at + fault.over for fault in self.faults),
                *(flow.count / flow.rate for flow in self.traffic if flow.rate),
            ),
            default=0.0,
        )
