"""What happens in a lab while it runs, to be told as it happens."""

from dataclasses import dataclass
from enum import StrEnum

from .scenario import Fault, FaultKind


class EventKind(StrEnum):
    """Who made it happen: the scenario, or a board by itself."""

    FAULT = "fault"
    RESTARTED = "restarted"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """One thing that happened. node is empty if it happened to the air; what is for people."""

    kind: EventKind
    node: str
    what: str

    def __str__(self) -> str:
        return f"{self.node}: {self.what}" if self.node else self.what

    def as_json(self) -> dict[str, str]:
        """The contract for scripts: these names stay."""
        return {"event": str(self.kind), "node": self.node, "what": self.what}


def of_fault(fault: Fault) -> Event:
    """The event of a fault that begins now."""
    match fault.kind:
        case FaultKind.MOVE:
            x, y = fault.position
            return Event(EventKind.FAULT, fault.node, f"moves to ({x:g}, {y:g}) within {fault.over:g} s")
        case FaultKind.JAM | FaultKind.UNJAM:
            a, b = fault.between
            jam = "hear each other no more" if fault.kind is FaultKind.JAM else "can hear each other again"
            return Event(EventKind.FAULT, "", f"{a} and {b} {jam}")
        case FaultKind.LOSS:
            return Event(EventKind.FAULT, "", f"{fault.loss:.0%} of advertisements are lost")
    done = {
        FaultKind.KILL: "switched off",
        FaultKind.START: "switched on",
        FaultKind.FREEZE: "frozen",
        FaultKind.THAW: "goes on",
        FaultKind.REBOOT: "rebooted",
    }
    return Event(EventKind.FAULT, fault.node, done[fault.kind])
