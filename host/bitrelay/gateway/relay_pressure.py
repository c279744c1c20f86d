"""How full a relay is, as one number: from what it says of itself, and how long it takes to take a frame (GWY-15)."""

from typing import Final

from ..transports.relay_port import RelayLoad

SLOW_S: Final = 0.5
"""A relay that takes so long for one frame can do no more."""
_MOST_LOST: Final = 0.5


def pressure(before: RelayLoad | None, now: RelayLoad | None, send_s: float) -> float:
    """0 (idle) to 1 (full): the highest of four, each of which alone is reason to send less.

    - the share of its slots for frames that are taken;
    - twice the share of copies that it dropped since `before` for want of room: one stuck link of four makes a half;
    - half the share of tries that its radio refused since then, for it tries again by itself;
    - the mean time that it took for a frame of ours since then (send_s, 0 of none), of half a second: "busy" is in it.

    A relay that cannot be asked (None) is judged by the last one alone.
    """
    found = send_s / SLOW_S
    if now is not None:
        found = max(found, now.slots_used)
        if before is not None:
            sent, dropped, refused = (
                # Less than before: it has restarted.
                max(0, getattr(now, name) - getattr(before, name))
                for name in ("sent", "dropped", "refused")
            )
            found = max(found, _share(dropped, sent) / _MOST_LOST, _share(refused, sent) / 2)
    return min(1.0, found)


def _share(failed: int, sent: int) -> float:
    return failed / (failed + sent) if failed else 0.0
