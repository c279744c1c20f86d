"""What a gateway writes into its ledger about a frame that it sent into a mesh (row GWY-18)."""

from typing import Final

from shared_protocol.frame import ID_SIZE, MAX_TTL

from ..mesh.relay_chain import RelayEvent, packet_hash
from ..mesh.relay_fee import FeeRule, Relayed
from .bridge_frame import BridgeFrame

_NOBODY: Final = bytes(ID_SIZE)


def hops_of(frame: BridgeFrame) -> int:
    """How far a frame has come: 8 - TTL once it is lowered by one (row MSH-42). A budget's lower TTL is no way gone."""
    return MAX_TTL + 1 - max(0, min(frame.ttl, MAX_TTL) - 1)


def event_of(
    frame: BridgeFrame, origin: str, target: str, time_ms: int, rule: FeeRule, waited_ms: float = 0.0
) -> RelayEvent:
    """The entry for a frame of the mesh `origin`, as it was heard there, that went into `target`.

    time_ms: when, Unix. waited_ms: from being heard to being sent, for a rule that rewards speed.
    """
    hops = hops_of(frame)
    return RelayEvent(
        packet_hash(frame.value),
        frame.sender,
        frame.recipient or _NOBODY,
        hops,
        origin,
        target,
        time_ms,
        rule.fee(Relayed(hops, len(frame.value), waited_ms)),
    )
