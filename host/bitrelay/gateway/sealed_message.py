"""Messages sealed with a fleet's key, so that a broker carries them and can neither read, forge nor repeat one.

A sealed message is a nonce (24), then XChaCha20-Poly1305 of a head and the body, with the topic as associated data:

| of the head | size | |
|---|---|---|
| sender | 32 | PeerId, as whoever has the key says |
| session | 8 | of the sender's connection with the broker: Unix ms of its beginning, higher than any before |
| number | 8 | in the session, from 0 |
| time | 8 | Unix ms |
| kind | 1 | 1 message, 2 hello, 3 gone |

It opens once, at the topic it was sealed for, within FRESH_MS of its time, with two exceptions. The last hello opens
again, since the broker keeps it for newcomers. "Gone" opens at any time, since it is sealed when a session begins, for
the broker to publish at its end; it ends that session alone, and does nothing when it is repeated.
"""

import secrets
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from hashlib import blake2b
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from ..identity.replay import ReplayWindow

KEY_SIZE: Final = 32
FRESH_MS: Final = 60_000
"""How far a message's time may be off, either way."""
MOST_SENDERS: Final = 512
WINDOW: Final = 16_384
"""How many numbers late a message may come: a broker sends what nobody acknowledges past what waits for its turn."""

_HEAD: Final = struct.Struct(">32sQQQB")
_NONCE: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
OVERHEAD: Final = _NONCE + _HEAD.size + crypto_aead_xchacha20poly1305_ietf_ABYTES
# Nothing of a sender is still fresh so long after the last message of its that was taken.
_FORGET_MS: Final = 2 * FRESH_MS
_MOST_SESSIONS: Final = 64
_U64: Final = (1 << 64) - 1


class Kind(IntEnum):
    """What a sealed body is."""

    MESSAGE = 1
    HELLO = 2
    GONE = 3


class Refusal(StrEnum):
    """Why a sealed message was not taken."""

    SIZE = "size"
    FORGED = "forged"
    """Not sealed with our key, or for another topic."""
    MALFORMED = "malformed"
    OWN = "own"
    """We have sealed it ourselves."""
    STALE = "stale"
    """Its time is too far from ours."""
    REPLAYED = "replayed"
    OUTDATED = "outdated"
    """A hello that came after one that was said later."""
    OLD_SESSION = "old session"
    """Its sender has begun another one since, or ended this one."""
    TOO_MANY = "too many senders"


@dataclass(frozen=True, slots=True)
class Opened:
    sender: bytes
    kind: Kind
    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """sender, session: None if they are not proved. late_s: by how much its time is before ours."""

    why: Refusal
    sender: bytes | None = None
    session: int | None = None
    late_s: float = 0.0


def fleet_tag(fleet_key: bytes) -> str:
    """Sixteen hex digits that the gateways of a fleet have in common and that tell nothing of its key."""
    return blake2b(key=fleet_key, digest_size=8, person=b"bitrelay fleet").hexdigest()


def _sealing_key(fleet_key: bytes) -> bytes:
    return blake2b(key=fleet_key, digest_size=KEY_SIZE, person=b"bitrelay seal").digest()


class Sealer:
    """Seals what we send. clock: Unix seconds. Call begin() before the first message."""

    def __init__(self, own: bytes, fleet_key: bytes, clock: Callable[[], float]) -> None:
        self._own = own
        self._key = _sealing_key(fleet_key)
        self._clock = clock
        self._session = 0
        self._number = 0
        self._sessions: deque[int] = deque(maxlen=_MOST_SESSIONS)

    def begin(self) -> None:
        """Begin a session: after this, nothing of the one before is taken any more."""
        self._session = max(self._session + 1, self._now_ms())
        self._number = 0
        self._sessions.append(self._session)

    def is_ours(self, session: int) -> bool:
        """Whether we have begun it, now or before we were started; if not, somebody else has our PeerId."""
        return session in self._sessions or session < self._sessions[0]

    def seal(self, topic: str, kind: Kind, body: bytes) -> bytes:
        """The body, sealed for this topic; OVERHEAD longer."""
        head = _HEAD.pack(self._own, self._session, self._number, self._now_ms(), kind)
        self._number += 1
        nonce = secrets.token_bytes(_NONCE)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(head + body, topic.encode(), nonce, self._key)

    def _now_ms(self) -> int:
        return max(0, min(int(self._clock() * 1000), _U64 - 1))


@dataclass(slots=True)
class _Sender:
    session: int
    heard_ms: int
    window: ReplayWindow = field(default_factory=lambda: ReplayWindow(WINDOW))
    hello: int = -1
    """The number of its last hello."""
    is_over: bool = False


class Opener:
    """Opens what others of the fleet sealed, each message once. most: bytes of a body. clock: Unix seconds.

    Remembers MOST_SENDERS gateways; those that nothing fresh can be of make room for new ones.
    """

    def __init__(self, own: bytes, fleet_key: bytes, clock: Callable[[], float], most: int) -> None:
        self._own = own
        self._key = _sealing_key(fleet_key)
        self._clock = clock
        self._most = most + OVERHEAD
        self._senders: dict[bytes, _Sender] = {}

    def open(self, topic: str, data: bytes) -> Opened | Refused:
        """What came at a topic. Never raises."""
        if not OVERHEAD <= len(data) <= self._most:
            return Refused(Refusal.SIZE)
        try:
            plain = crypto_aead_xchacha20poly1305_ietf_decrypt(data[_NONCE:], topic.encode(), data[:_NONCE], self._key)
        except CryptoError:
            return Refused(Refusal.FORGED)
        sender, session, number, at_ms, kind = _HEAD.unpack_from(plain)
        if kind not in (Kind.MESSAGE, Kind.HELLO, Kind.GONE):
            return Refused(Refusal.MALFORMED)
        if sender == self._own:
            return Refused(Refusal.OWN, sender, session)
        opened = Opened(sender, Kind(kind), plain[_HEAD.size :])
        if kind == Kind.GONE:
            return self._end(opened, session)
        now_ms = int(self._clock() * 1000)
        if abs(now_ms - at_ms) > FRESH_MS:
            return Refused(Refusal.STALE, sender, session, (now_ms - at_ms) / 1000)
        why = self._take(opened, session, number, now_ms)
        return opened if why is None else Refused(why, sender, session)

    def _end(self, opened: Opened, session: int) -> Opened | Refused:
        known = self._senders.get(opened.sender)
        if known is None or known.session != session or known.is_over:
            return Refused(Refusal.OLD_SESSION, opened.sender, session)
        known.is_over = True
        return opened

    def _take(self, opened: Opened, session: int, number: int, now_ms: int) -> Refusal | None:
        known = self._senders.get(opened.sender)
        if known is not None and now_ms - known.heard_ms > _FORGET_MS:
            # A clock that was set back begins a session lower than the last one, and is let in after a while.
            known = None
        if known is None and not self._has_room(now_ms):
            return Refusal.TOO_MANY
        if known is not None and (session < known.session or (session == known.session and known.is_over)):
            return Refusal.OLD_SESSION
        if known is None or session > known.session:
            known = self._senders[opened.sender] = _Sender(session, now_ms)
        is_hello = opened.kind is Kind.HELLO
        if known.window.fault(number) is not None and not (is_hello and number == known.hello):
            return Refusal.REPLAYED
        if is_hello and number < known.hello:
            return Refusal.OUTDATED
        known.window.mark(number)
        known.heard_ms = now_ms
        if is_hello:
            known.hello = max(known.hello, number)
        return None

    def _has_room(self, now_ms: int) -> bool:
        if len(self._senders) >= MOST_SENDERS:
            old = [sender for sender, known in self._senders.items() if now_ms - known.heard_ms > _FORGET_MS]
            for sender in old:
                del self._senders[sender]
        return len(self._senders) < MOST_SENDERS
