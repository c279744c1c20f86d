"""How the apps tell that they have heard a frame before (bitchat protocol, section 4.3)."""

import hashlib

from shared_protocol.frame import TIMESTAMP, Header

# Nothing at all that was heard within this time is looked at again (iOS).
GATE_S = 3.0
MEMORY_S = 300.0
_MOST = 10_000

_Key = tuple[bytes, bytes, int, bytes]


class SeenFrames:
    """The frames heard lately, by sender, time, type and payload. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._heard: dict[_Key, float] = {}

    def has(self, frame: bytes, header: Header, now: float, within_s: float = MEMORY_S) -> bool:
        """Whether this was heard within that time."""
        at = self._heard.get(_key_of(frame, header))
        return at is not None and now - at <= within_s

    def add(self, frame: bytes, header: Header, now: float) -> None:
        """This is heard now."""
        key = _key_of(frame, header)
        self._heard.pop(key, None)
        self._heard[key] = now
        if len(self._heard) > _MOST:
            del self._heard[next(iter(self._heard))]


def _key_of(frame: bytes, header: Header) -> _Key:
    payload = frame[header.payload_at : header.payload_at + header.payload_len]
    sender = frame[header.sender_at : header.sender_at + 8]
    return sender, frame[TIMESTAMP : TIMESTAMP + 8], header.type, hashlib.sha256(payload).digest()[:4]
