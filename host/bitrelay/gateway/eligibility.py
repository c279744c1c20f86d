"""Which frames may cross at all, and for how long phones accept them (bitchat protocol, section 4.8)."""

from typing import Final

from shared_protocol.frame import TYPE_HELLO, TYPE_HOSTS, TYPE_REQUEST_SYNC, TYPE_VOICE

from .bridge_frame import BridgeFrame
from .crossing import Drop

WINDOW_MS: Final = 120_000
"""How far a frame's time may be off, either way: iPhones hold every packet to it as it comes in."""
VOICE_WINDOW_MS: Final = 30_000
_LOCAL_TYPES: Final = frozenset((TYPE_HELLO, TYPE_HOSTS, TYPE_REQUEST_SYNC))


def is_fresh(frame: BridgeFrame, wall_ms: int) -> bool:
    """Whether phones accept it now. wall_ms: Unix milliseconds."""
    window = VOICE_WINDOW_MS if frame.type == TYPE_VOICE else WINDOW_MS
    return -window <= wall_ms - frame.timestamp_ms <= window


def seconds_left(frame: BridgeFrame, wall_ms: int) -> float:
    """For how long phones will still accept it; negative when they do not, be it too old or too far ahead."""
    window = VOICE_WINDOW_MS if frame.type == TYPE_VOICE else WINDOW_MS
    age = wall_ms - frame.timestamp_ms
    return (window - age if age >= -window else window + age) / 1000


def barred(frame: BridgeFrame, wall_ms: int) -> Drop | None:
    """Why a frame crosses between no meshes whatever; None if it may."""
    if frame.type in _LOCAL_TYPES:
        return Drop.LOCAL_TYPE
    if frame.is_sync_answer:
        return Drop.SYNC_ANSWER
    if frame.ttl <= 1:
        return Drop.TTL
    return None if is_fresh(frame, wall_ms) else Drop.STALE
