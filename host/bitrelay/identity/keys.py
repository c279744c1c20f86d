"""The two key pairs of an identity, and the two ids that follow from them."""

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64
ON_AIR_ID_BYTES = 8


@dataclass(frozen=True)
class IdentityKeys:
    """An Ed25519 and an X25519 key pair. signing_seed and noise_secret: 32 bytes each, shown by no repr.

    Raises ValueError for other sizes.
    """

    signing_seed: bytes = field(repr=False)
    noise_secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.signing_seed) != KEY_BYTES or len(self.noise_secret) != KEY_BYTES:
            raise ValueError("the secrets of an identity are 32 bytes each")

    @classmethod
    def fresh(cls) -> "IdentityKeys":
        """New keys from the system's randomness."""
        return cls(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))

    @cached_property
    def signing_key(self) -> bytes:
        """The public Ed25519 key, 32 bytes."""
        return bytes(SigningKey(self.signing_seed).verify_key)

    @cached_property
    def noise_key(self) -> bytes:
        """The public X25519 key, 32 bytes."""
        return bytes(PrivateKey(self.noise_secret).public_key)

    @property
    def peer_id(self) -> bytes:
        """32 bytes; the id in the DHT, too (DHT-01)."""
        return peer_id_of(self.signing_key)

    @property
    def on_air_id(self) -> bytes:
        """8 bytes: the sender in packets."""
        return on_air_id_of(self.noise_key)

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature (RFC 8032), 64 bytes."""
        return SigningKey(self.signing_seed).sign(message).signature


def peer_id_of(signing_key: bytes) -> bytes:
    """SHA-256 of an Ed25519 public key: 32 bytes (POW-24)."""
    return hashlib.sha256(signing_key).digest()


def on_air_id_of(noise_key: bytes) -> bytes:
    """The first 8 bytes of SHA-256 of an X25519 public key, as the phone apps have it."""
    return hashlib.sha256(noise_key).digest()[:ON_AIR_ID_BYTES]


def signed_by(signing_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that key's over that message. Raises for no bytes whatever."""
    try:
        VerifyKey(signing_key).verify(message, signature)
    except (CryptoError, ValueError, TypeError):  # TypeError and ValueError: sizes
        return False
    return True
