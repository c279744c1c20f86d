"""What a gateway says of itself, as JSON may have it; the keys are those of docs/gateway-numbers.md.

Everything is read in the gateway's event loop, and nothing of it is the gateway's own any more.
"""

from typing import Any, Final

from ..transports.fair_queue import Traffic
from .config import MeshConfig
from .gateway import Gateway
from .message import MeshOffer
from .numbers import DELAY_BOUNDS_MS, PeerNumbers

Values = dict[str, Any]

_DIRECTIONS: Final = ("up", "down")


def status(gateway: Gateway) -> Values:
    """Its meshes with their relays, whom it reaches, what waits."""
    hello = gateway.hello()
    return {
        "id": gateway.own.hex(),
        "name": hello.name,
        "engine": gateway.config.federation.engine.value,
        "uptime_s": hello.uptime_s,
        "load_percent": hello.load,
        "meshes": [_mesh(gateway, mesh) for mesh in gateway.config.meshes],
        "gateways": len(gateway.others.views),
        "reachable_meshes": sorted(gateway.reachable_meshes()),
        "not_linked": dict(gateway.exchange.troubles()),
        "refused": dict(gateway.exchange.refused()),
        "untrusted": {peer_id.hex(): where for peer_id, where in gateway.exchange.untrusted().items()},
        "stored": gateway.room.targets(),
        "underway": gateway.underway(),
        "bandwidth": _bandwidth(gateway),
        "relayed": _relayed(gateway),
    }


def peers(gateway: Gateway) -> list[Values]:
    """The gateways that can be reached now, and those that were and have numbers still (up: False)."""
    views = {view.peer_id: view for view in gateway.exchange.gateways()}
    counted = gateway.numbers.peers
    found: list[Values] = []
    for peer_id in dict.fromkeys((*views, *counted)):
        view = views.get(peer_id)
        hello = view.hello if view else None
        found.append(
            {
                "id": peer_id.hex(),
                "up": view is not None,
                "name": hello.name if hello else "",
                "meshes": [_offer(mesh) for mesh in hello.meshes] if hello else [],
                "trusted": view is not None and view.trusted,
                "latency_ms": None if view is None or view.latency_ms is None else round(view.latency_ms, 1),
                "uptime": round(view.uptime, 4) if view else None,
                "load_percent": hello.load if hello else None,
                "capacity": hello.capacity if hello else None,
                "fee": hello.fee if hello else None,
            }
            | _peer_numbers(counted.get(peer_id) or PeerNumbers())
        )
    return found


def traffic(gateway: Gateway) -> Values:
    """Frames and bytes by direction and class, drops by reason, what waits, delays, bandwidth."""
    numbers, bridge, room = gateway.numbers, gateway.bridge, gateway.room
    drops: dict[str, dict[str, dict[str, int]]] = {direction: {} for direction in _DIRECTIONS}
    for (direction, kind, reason), count in bridge.drops.items():
        drops[direction].setdefault(kind.value, {})[reason.value] = count
    return {
        "frames": {way: {kind.value: numbers.frames[way, kind] for kind in Traffic} for way in _DIRECTIONS},
        "bytes": {way: {kind.value: numbers.volume[way, kind] for kind in Traffic} for way in _DIRECTIONS},
        "drops": drops,
        "waiting": {
            mesh.name: {kind.value: count for kind, count in bridge.waiting(mesh.name).items()}
            for mesh in gateway.config.meshes
        },
        "delay_ms": _delays(numbers.delays, numbers.delay_sum_ms),
        "bandwidth": _bandwidth(gateway),
        "events": dict(numbers.events),
        "underway": gateway.underway(),
        "store": {"waiting": room.targets(), "expired": room.expired, "dropped": room.dropped},
        "recorded": gateway.record.recorded,
    }


def _mesh(gateway: Gateway, mesh: MeshConfig) -> Values:
    return {
        "name": mesh.name,
        "geohash": mesh.geohash,
        "uplink": mesh.uplink,
        "downlink": mesh.downlink.enabled,
        "subscribe": list(mesh.subscribe),
        "waiting": sum(gateway.bridge.waiting(mesh.name).values()),
        "relays": [
            {
                "name": link.name,
                "up": link.is_up,
                "trouble": link.trouble,
                "pressure": round(link.pressure, 3),
                "missed": link.missed,
            }
            for link in gateway.relays.get(mesh.name, ())
        ],
    }


def _offer(mesh: MeshOffer) -> Values:
    return {"name": mesh.name, "geohash": mesh.geohash, "uplink": mesh.uplink, "downlink": mesh.downlink}


def _peer_numbers(numbers: PeerNumbers) -> Values:
    return {
        "frames": {"up": numbers.frames_up, "down": numbers.frames_down},
        "bytes": {"up": numbers.bytes_up, "down": numbers.bytes_down},
        "refused": numbers.refused,
    }


def _bandwidth(gateway: Gateway) -> Values:
    numbers, config = gateway.numbers, gateway.config
    return {
        "local_mbps": round(numbers.local_mbps, 6),
        "internet_mbps": round(numbers.internet_mbps, 6),
        "local_limit_mbps": config.local_mbps,
        "internet_limit_mbps": config.internet_mbps,
    }


def _relayed(gateway: Gateway) -> Values:
    frames = gateway.numbers.frames
    counts = {way: sum(frames[way, kind] for kind in Traffic) for way in _DIRECTIONS}
    return counts | {"dropped": sum(gateway.bridge.drops.values()), "recorded": gateway.record.recorded}


def _delays(counts: list[int], sum_ms: float) -> Values:
    total = sum(counts)
    return {
        "count": total,
        "mean": round(sum_ms / total, 3) if total else None,
        "p50": _quantile(counts, total, 0.5),
        "p95": _quantile(counts, total, 0.95),
        "sum": round(sum_ms, 3),
        "bounds": list(DELAY_BOUNDS_MS),
        "counts": list(counts),
    }


def _quantile(counts: list[int], total: int, share: float) -> int | None:
    # The bound below which so many lie; None where there are none, or beyond the last bound.
    below = 0
    for bound, count in zip(DELAY_BOUNDS_MS, counts, strict=False):
        below += count
        if total and below >= share * total:
            return bound
    return None
