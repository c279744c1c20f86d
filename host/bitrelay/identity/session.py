"""One established Noise session, on a medium that loses, repeats and reorders.

A sealed message is what the phone apps put into a packet of type 0x11: the message's number (u32, big-endian), then
ciphertext and tag under that number as nonce, without associated data. Each direction counts for itself from 0.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag

from ..errors import MessageFault, MessageRefused, NoSession
from .keys import on_air_id_of
from .noise import MAX_MESSAGE, TAG_SIZE, CipherState
from .replay import ReplayWindow

NUMBER_SIZE: Final = 4
OVERHEAD: Final = NUMBER_SIZE + TAG_SIZE
MAX_PLAINTEXT: Final = MAX_MESSAGE - TAG_SIZE
# The apps stop one below the highest number.
_LAST_NUMBER: Final = 2**32 - 2


def is_on_air_id_of(on_air_id: bytes, noise_key: bytes) -> bool:
    """Whether this key belongs to this id; takes the same time for all ids."""
    return hmac.compare_digest(on_air_id_of(noise_key), on_air_id)


@dataclass(frozen=True)
class SessionLimits:
    """When a session is renewed, and when it ends. Those of the apps: Android renews, iOS ends."""

    renew_messages: int = 10_000
    """Sent and received together."""
    renew_s: float = 3600.0
    end_s: float = 86400.0


class Session:
    """Both directions' keys with one peer.

    on_air_id: 8 bytes, remote_static: its X25519 key, which hashes to it; peer_id: the 32-byte PeerId its identity
    record proved, None for a peer without one (a phone); handshake_hash: 32 bytes, this session's alone.
    """

    def __init__(
        self,
        on_air_id: bytes,
        remote_static: bytes,
        handshake_hash: bytes,
        ciphers: tuple[CipherState, CipherState],
        now: float,
        *,
        peer_id: bytes | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        """ciphers: what HandshakeState.split() gives: to send with, to receive with. now: seconds of any clock."""
        self.on_air_id = on_air_id
        self.remote_static = remote_static
        self.handshake_hash = handshake_hash
        self.peer_id = peer_id
        self.established_at = now
        self.sent = 0
        self.received = 0
        self._limits = limits or SessionLimits()
        self._sending, self._receiving = ciphers
        self._window = ReplayWindow()

    def __repr__(self) -> str:
        return f"<Session with {self.on_air_id.hex()}, sent {self.sent}, received {self.received}>"

    @property
    def open_for_use(self) -> bool:
        """It was not closed."""
        return self._sending.has_key

    def expired(self, now: float) -> bool:
        """It was closed, or is too old, or has no numbers left."""
        return (
            not self.open_for_use
            or now - self.established_at >= self._limits.end_s
            or self._sending.nonce > _LAST_NUMBER
        )

    def renewal_due(self, now: float) -> bool:
        """It is time for another handshake; the session is good until that has come about."""
        used = self.sent + self.received
        return used >= self._limits.renew_messages or now - self.established_at >= self._limits.renew_s

    def seal(self, plaintext: bytes, now: float) -> bytes:
        """The payload for a packet of type 0x11, 20 bytes longer than the plaintext. Raises NoSession once the session
        has expired, ValueError for a plaintext of more than `MAX_PLAINTEXT` bytes."""
        self._demand_life(now)
        if len(plaintext) > MAX_PLAINTEXT:
            raise ValueError(f"a sealed message holds {MAX_PLAINTEXT} bytes")
        number = self._sending.nonce
        sealed = self._sending.encrypt_with_ad(b"", plaintext)
        self.sent += 1
        return number.to_bytes(NUMBER_SIZE, "big") + sealed

    def open(self, sealed: bytes, now: float) -> bytes:
        """The plaintext of such a payload, each once, in any order. Raises MessageRefused, NoSession."""
        self._demand_life(now)
        if len(sealed) < OVERHEAD:
            raise MessageRefused(MessageFault.TOO_SHORT, device=self.on_air_id.hex())
        if len(sealed) > MAX_PLAINTEXT + OVERHEAD:
            raise MessageRefused(MessageFault.TOO_LONG, device=self.on_air_id.hex())
        number = int.from_bytes(sealed[:NUMBER_SIZE], "big")
        fault = self._window.fault(number)
        if fault is not None:
            raise MessageRefused(fault, device=self.on_air_id.hex())
        try:
            plaintext = self._receiving.open(number, b"", sealed[NUMBER_SIZE:])
        except InvalidTag:
            raise MessageRefused(MessageFault.FORGED, device=self.on_air_id.hex()) from None
        # Only now: a forged number must not move the window.
        self._window.mark(number)
        self.received += 1
        return plaintext

    def close(self) -> None:
        """Drops the keys."""
        self._sending.close()
        self._receiving.close()

    def _demand_life(self, now: float) -> None:
        if self.expired(now):
            self.close()
            raise NoSession("the secure session has ended", device=self.on_air_id.hex())
