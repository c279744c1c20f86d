"""Noise_XX_25519_ChaChaPoly_SHA256 (noiseprotocol.org, revision 34), on the primitives of `cryptography`.

The names of objects and methods are the specification's (section 5). Nothing here keeps time, counts attempts or knows
peers: that is `session` and `session_table`. No object shows a key in its repr.

    -> e                     32 bytes and the payload
    <- e, ee, s, es          80 bytes and the payload, sealed: 96 with an empty one
    -> s, se                 48 bytes and the payload, sealed: 64 with an empty one
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ..errors import HandshakeFailed, HandshakeFault

PROTOCOL_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"
KEY_SIZE: Final = 32
TAG_SIZE: Final = 16
MAX_MESSAGE: Final = 65535
MESSAGE_SIZES: Final = (32, 96, 64)
"""The three handshake messages with empty payloads."""

_LAST_NONCE: Final = 2**64 - 1
_PATTERN: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class CipherState:
    """A ChaCha20-Poly1305 key and the counter of its nonces; without a key what goes in comes out."""

    def __init__(self, key: bytes | None = None) -> None:
        # The key itself is nowhere kept: rekeying needs only the cipher.
        self._cipher = None if key is None else ChaCha20Poly1305(key)
        self.nonce = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'with' if self.has_key else 'without'} key, nonce {self.nonce}>"

    @property
    def has_key(self) -> bool:
        return self._cipher is not None

    def seal(self, nonce: int, ad: bytes, plaintext: bytes) -> bytes:
        """ENCRYPT of section 4.2 with this key: ciphertext and tag. nonce: 0 to 2**64 - 1, never twice."""
        assert self._cipher is not None
        return self._cipher.encrypt(bytes(4) + nonce.to_bytes(8, "little"), plaintext, ad)

    def open(self, nonce: int, ad: bytes, ciphertext: bytes) -> bytes:
        """DECRYPT of section 4.2. Raises InvalidTag for what this key, nonce and ad did not seal."""
        assert self._cipher is not None
        return self._cipher.decrypt(bytes(4) + nonce.to_bytes(8, "little"), ciphertext, ad)

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """Seals with the next nonce. Raises OverflowError when there is none left."""
        if self._cipher is None:
            return plaintext
        sealed = self.seal(self._next(), ad, plaintext)
        self.nonce += 1
        return sealed

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """Opens with the next nonce, which is spent only on success. Raises InvalidTag, OverflowError."""
        if self._cipher is None:
            return ciphertext
        plaintext = self.open(self._next(), ad, ciphertext)
        self.nonce += 1
        return plaintext

    def rekey(self) -> None:
        """Another key, from which this one cannot be had (sections 4.2, 11.3); the counter goes on."""
        self._cipher = ChaCha20Poly1305(self.seal(_LAST_NONCE, b"", bytes(KEY_SIZE))[:KEY_SIZE])

    def close(self) -> None:
        """Drops the key; what is asked of it afterwards is an AssertionError."""
        self._cipher = None

    def copy(self) -> "CipherState":
        other = CipherState()
        other._cipher = self._cipher
        other.nonce = self.nonce
        return other

    def _next(self) -> int:
        # The last nonce is the rekey's.
        if self.nonce >= _LAST_NONCE:
            raise OverflowError("no nonces left")
        return self.nonce


class SymmetricState:
    """The chaining key, and the hash over everything both ends have seen."""

    def __init__(self, protocol_name: bytes = PROTOCOL_NAME) -> None:
        hashed = len(protocol_name) > KEY_SIZE
        self.hash = hashlib.sha256(protocol_name).digest() if hashed else protocol_name.ljust(KEY_SIZE, b"\0")
        self._chaining_key = self.hash
        self._cipher = CipherState()

    def __repr__(self) -> str:
        return f"<SymmetricState {self._cipher!r}>"

    def mix_key(self, secret: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, secret)
        self._cipher = CipherState(key)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = self._cipher.encrypt_with_ad(self.hash, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt_with_ad(self.hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    @property
    def overhead(self) -> int:
        """By how many bytes encrypt_and_hash makes something longer now."""
        return TAG_SIZE if self._cipher.has_key else 0

    def split(self) -> tuple[CipherState, CipherState]:
        """The initiator's sending and receiving states. What they came from is dropped."""
        first, second = _hkdf(self._chaining_key, b"")
        self._chaining_key = b""
        self._cipher.close()
        return CipherState(first), CipherState(second)

    def copy(self) -> "SymmetricState":
        other = SymmetricState()
        other.hash = self.hash
        other._chaining_key = self._chaining_key
        other._cipher = self._cipher.copy()
        return other


class HandshakeState:
    """One end of an XX handshake: three messages, written and read in turn, then split().

    After a HandshakeFailed it is of no more use. Who wants to survive a message that anybody may have sent reads it
    with a copy(), and keeps the copy that could read it.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        static: X25519PrivateKey,
        prologue: bytes = b"",
        ephemeral: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
    ) -> None:
        """prologue: what both ends must know alike, else the handshake fails. ephemeral: where its key comes from."""
        self.initiator = initiator
        self.remote_static: bytes | None = None
        self._static = static
        self._new_ephemeral = ephemeral
        self._ephemeral: X25519PrivateKey | None = None
        self._remote_ephemeral: bytes | None = None
        self._symmetric = SymmetricState()
        self._symmetric.mix_hash(prologue)
        self._step = 0
        self._failed = False

    def __repr__(self) -> str:
        return f"<HandshakeState {'initiator' if self.initiator else 'responder'}, message {self._step + 1}>"

    @property
    def complete(self) -> bool:
        """All three messages are through."""
        return self._step == len(_PATTERN)

    @property
    def step(self) -> int:
        """How many messages are through."""
        return self._step

    @property
    def my_turn(self) -> bool:
        return not self.complete and (self._step % 2 == 0) == self.initiator

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes, the same at both ends and for this handshake only (section 11.2). Of a complete one."""
        assert self.complete
        return self._symmetric.hash

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next message. The payload of the first one is readable by everybody, that of the second one by whoever
        started. Raises HandshakeFailed if it is not our turn, or the payload does not fit."""
        self._demand_turn(True)
        parts = []
        try:
            for token in _PATTERN[self._step]:
                if token == "e":
                    self._ephemeral = self._new_ephemeral()
                    public = self._ephemeral.public_key().public_bytes_raw()
                    parts.append(public)
                    self._symmetric.mix_hash(public)
                elif token == "s":
                    parts.append(self._symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw()))
                else:
                    self._mix_dh(token)
            parts.append(self._symmetric.encrypt_and_hash(payload))
        except ValueError:
            raise self._fail(HandshakeFault.BAD_KEY) from None
        message = b"".join(parts)
        if len(message) > MAX_MESSAGE:
            raise self._fail(HandshakeFault.TOO_LONG)
        self._step += 1
        return message

    def read_message(self, message: bytes) -> bytes:
        """The payload of the other end's next message. Raises HandshakeFailed, and nothing else, for any bytes."""
        self._demand_turn(False)
        if len(message) > MAX_MESSAGE:
            raise self._fail(HandshakeFault.TOO_LONG)
        at = 0
        try:
            for token in _PATTERN[self._step]:
                if token == "e":
                    self._remote_ephemeral = self._take(message, at, KEY_SIZE)
                    at += KEY_SIZE
                    self._symmetric.mix_hash(self._remote_ephemeral)
                elif token == "s":
                    size = KEY_SIZE + self._symmetric.overhead
                    self.remote_static = self._symmetric.decrypt_and_hash(self._take(message, at, size))
                    at += size
                else:
                    self._mix_dh(token)
            payload = self._symmetric.decrypt_and_hash(message[at:])
        except InvalidTag:
            raise self._fail(HandshakeFault.FORGED) from None
        except ValueError:
            raise self._fail(HandshakeFault.BAD_KEY) from None
        self._step += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The states to send and to receive with, once. Drops the ephemeral key."""
        assert self.complete and not self._failed
        self.close()
        first, second = self._symmetric.split()
        return (first, second) if self.initiator else (second, first)

    def close(self) -> None:
        """Drops the keys of this handshake; it goes no further."""
        self._failed = True
        self._ephemeral = None

    def copy(self) -> "HandshakeState":
        other = HandshakeState(initiator=self.initiator, static=self._static, ephemeral=self._new_ephemeral)
        other.remote_static = self.remote_static
        other._ephemeral = self._ephemeral
        other._remote_ephemeral = self._remote_ephemeral
        other._symmetric = self._symmetric.copy()
        other._step = self._step
        other._failed = self._failed
        return other

    def _mix_dh(self, token: str) -> None:
        # The first letter is the initiator's key, the second one the responder's.
        mine, theirs = (0, 1) if self.initiator else (1, 0)
        private = self._ephemeral if token[mine] == "e" else self._static
        public = self._remote_ephemeral if token[theirs] == "e" else self.remote_static
        assert private is not None and public is not None
        # `cryptography` refuses a result of zeros, which a point of low order gives: a ValueError.
        self._symmetric.mix_key(private.exchange(X25519PublicKey.from_public_bytes(public)))

    def _take(self, message: bytes, at: int, size: int) -> bytes:
        part = message[at : at + size]
        if len(part) != size:
            raise self._fail(HandshakeFault.TOO_SHORT)
        return part

    def _demand_turn(self, writing: bool) -> None:
        if self._failed or self.complete or self.my_turn != writing:
            raise self._fail(HandshakeFault.OUT_OF_TURN)

    def _fail(self, fault: HandshakeFault) -> HandshakeFailed:
        self.close()
        return HandshakeFailed(fault)


def _hkdf(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    # Section 4.3, with two outputs.
    extracted = hmac.digest(chaining_key, secret, "sha256")
    first = hmac.digest(extracted, b"\x01", "sha256")
    return first, hmac.digest(extracted, first + b"\x02", "sha256")
