"""Seals secret bytes with a passphrase, as plain values that fit into a JSON file.

The key comes from the passphrase by Argon2id (RFC 9106), the box is XSalsa20-Poly1305; both are libsodium's. What the
key derivation costs is stored beside the box and bounded before use: a file must not make us take all memory.
"""

import base64
import binascii
import errno
import os
import unicodedata
from typing import Any, Final

from nacl import exceptions
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from .errors import BadData, WrongPassphrase

KDF: Final = "argon2id"
CIPHER: Final = "xsalsa20-poly1305"

# libsodium's "moderate": 256 MiB and about a second, on a computer that also flashes boards.
OPERATIONS: Final = argon2id.OPSLIMIT_MODERATE
MEMORY_BYTES: Final = argon2id.MEMLIMIT_MODERATE

_OPERATIONS_MAX = 16
_MEMORY_MAX = 1 << 30
_SEALED_MAX = 4096


def seal(
    data: bytes, passphrase: str, *, operations: int = OPERATIONS, memory_bytes: int = MEMORY_BYTES
) -> dict[str, Any]:
    """The data as only somebody with the passphrase can read it. Raises ValueError for an empty passphrase."""
    salt = os.urandom(argon2id.SALTBYTES)
    box = SecretBox(_derive(passphrase, salt, operations, memory_bytes)).encrypt(data)
    return {
        "kdf": KDF,
        "operations": operations,
        "memory_bytes": memory_bytes,
        "salt": base64.b64encode(salt).decode(),
        "cipher": CIPHER,
        "box": base64.b64encode(box).decode(),
    }


def check_sealed(sealed: Any) -> None:
    """Raise BadData for what `seal` cannot have made, without having the passphrase."""
    _parse(sealed)


def unseal(sealed: Any, passphrase: str) -> bytes:
    """What was sealed. Raises WrongPassphrase, or BadData if `seal` cannot have made this."""
    operations, memory_bytes, salt, box = _parse(sealed)
    try:
        return SecretBox(_derive(passphrase, salt, operations, memory_bytes)).decrypt(box)
    except (exceptions.CryptoError, ValueError):
        raise WrongPassphrase("this passphrase does not open it") from None


def _derive(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    if not passphrase:
        raise ValueError("the passphrase is empty")
    # The same keys give composed characters on one computer and decomposed ones on another.
    secret = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    try:
        return argon2id.kdf(SecretBox.KEY_SIZE, secret, salt, operations, memory_bytes)
    except exceptions.RuntimeError:
        # The only thing that fails once the values are in range: libsodium gets no memory.
        raise OSError(errno.ENOMEM, f"{os.strerror(errno.ENOMEM)} ({memory_bytes >> 20} MiB are needed)") from None


def _parse(sealed: Any) -> tuple[int, int, bytes, bytes]:
    try:
        if sealed["kdf"] != KDF or sealed["cipher"] != CIPHER:
            raise ValueError
        operations = _whole(sealed["operations"], argon2id.OPSLIMIT_MIN, _OPERATIONS_MAX)
        memory_bytes = _whole(sealed["memory_bytes"], argon2id.MEMLIMIT_MIN, _MEMORY_MAX)
        salt = base64.b64decode(sealed["salt"], validate=True)
        box = base64.b64decode(sealed["box"], validate=True)
        overhead = SecretBox.NONCE_SIZE + SecretBox.MACBYTES
        if len(salt) != argon2id.SALTBYTES or not overhead <= len(box) <= overhead + _SEALED_MAX:
            raise ValueError
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise BadData("what is sealed in it is damaged, or sealed in a way this release does not know") from None
    return operations, memory_bytes, salt, box


def _whole(value: Any, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError
    return value
