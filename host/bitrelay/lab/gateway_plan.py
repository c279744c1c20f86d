"""Which gateways join the two meshes of a demonstration, and the files that say so to them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEST, EAST = "west", "east"
DIFFICULTY = 8
"""Zero bits of the gateways' proofs of work: what a lab takes, in a moment."""

# More than the lab's air carries: what is shown is what gateways add, not what they keep out.
_FRAMES_PER_MINUTE = 60_000


@dataclass(frozen=True)
class GatewayPlan:
    """One gateway: the mesh it joins, and the board that is its relay."""

    name: str
    mesh: str
    relay: str


@dataclass(frozen=True)
class Broker:
    """Where a fleet's broker listens on this computer, and the file with the fleet's key."""

    port: int
    fleet_key: Path


def plan_gateways(west: Sequence[str], east: Sequence[str], per_mesh: int) -> tuple[GatewayPlan, ...]:
    """`per_mesh` gateways for each of two lines of boards that face each other, at the ends that do, inwards."""
    meshes = ((WEST, west[::-1]), (EAST, east))
    return tuple(
        GatewayPlan(f"{mesh}{number}", mesh, board)
        for mesh, boards in meshes
        for number, board in enumerate(boards[:per_mesh], 1)
    )


def config_text(
    plan: GatewayPlan,
    port: str,
    state: Path,
    *,
    trust: Collection[bytes],
    peers: Sequence[str],
    broker: Broker | None = None,
) -> str:
    """The configuration of a gateway, as `bitrelay gateway run` reads it.

    port: of its relay. state: its folder. trust: PeerIds of the others. peers: addresses of those that listen already.
    broker: what carries frames, if not links of their own.
    """
    parts = [
        _keys({"name": plan.name, "state": str(state), "difficulty": DIFFICULTY}),
        "[[mesh]]\n"
        + _keys(
            {
                "name": plan.mesh,
                "relays": [f"serial://{port}"],
                "downlink": True,
                "frames_per_minute": _FRAMES_PER_MINUTE,
                "author_per_minute": _FRAMES_PER_MINUTE,
                "gateway_per_minute": _FRAMES_PER_MINUTE,
                "airtime_percent": 100,
            }
        ),
        '[metrics]\nlisten = "off"\n',
    ]
    if broker is None:
        listen = ["tcp://127.0.0.1:0"]
        trusted = sorted(peer_id.hex() for peer_id in trust)
        parts.append("[federation]\n" + _keys({"listen": listen, "peers": list(peers), "trust": trusted}))
    else:
        key = str(broker.fleet_key)
        parts.append('[federation]\nengine = "mqtt"\n')
        parts.append("[mqtt]\n" + _keys({"host": "127.0.0.1", "port": broker.port, "fleet_key": key}))
    return "\n".join(parts)


def _keys(values: dict[str, Any]) -> str:
    # What JSON writes of text, numbers and lists of text TOML reads as the same.
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
