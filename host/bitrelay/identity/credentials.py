"""What a node shows to be believed: its key, who vouches for it, and how it has behaved (SEC-01, SEC-02).

A chain begins with a certificate that a key we trust has signed for another key; each further one is signed by the key
that the one before it was made for, and the last is for the node's own key.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from shared_protocol.pow import u64

from .keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKeys, peer_id_of, signed_by
from .score import ROUTING_REPUTATION

# A longer chain is refused before the first signature of it is checked.
LONGEST_CHAIN = 8

# Keeps a certificate's signature from being taken for one over anything else.
_DOMAIN = b"bitrelay certificate 1\0"


class CredentialRefusal(StrEnum):
    """Why a node is not believed; the text is for people, the name for programs."""

    NODE_ID_DIFFERS = "its id is not that of its key"
    LOW_REPUTATION = "its reputation is too low"
    NO_CHAIN = "nobody vouches for it"
    CHAIN_TOO_LONG = "its chain of certificates is too long"
    OTHER_SUBJECT = "its chain of certificates ends at another key"
    NOT_IN_FORCE = "one of its certificates is not in force"
    BAD_CHAIN = "one of its certificates is not signed by the key before it"
    BAD_SIGNATURE = "its signature does not hold"


@dataclass(frozen=True)
class Certificate:
    """That somebody vouches for an Ed25519 key from issued_at to expires_at, Unix seconds. Raises ValueError."""

    subject: bytes
    issued_at: int
    expires_at: int
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.subject) != KEY_BYTES or len(self.signature) != SIGNATURE_BYTES:
            raise ValueError("a certificate has a key of 32 bytes and a signature of 64")
        _signed_part(self.subject, self.issued_at, self.expires_at)

    @classmethod
    def made(cls, issuer: IdentityKeys, subject: bytes, issued_at: int, expires_at: int) -> "Certificate":
        """A certificate that the issuer signs."""
        return cls(subject, issued_at, expires_at, issuer.sign(_signed_part(subject, issued_at, expires_at)))

    def signed_by(self, issuer: bytes) -> bool:
        """Whether that key has signed it."""
        return signed_by(issuer, _signed_part(self.subject, self.issued_at, self.expires_at), self.signature)


@dataclass(frozen=True)
class NodeCredentials:
    """node_id: SHA-256 of public_key (Ed25519); certificate_chain: from the trusted key on; reputation: 0 to 1."""

    node_id: bytes
    public_key: bytes
    certificate_chain: tuple[Certificate, ...]
    reputation: float


def check_authenticity(
    credentials: NodeCredentials, message: bytes, signature: bytes, trusted: Collection[bytes], now: int
) -> CredentialRefusal | None:
    """Why a message is not to be believed to come from that node, or None.

    trusted: public keys whose certificates count. A node needs as much reputation as one that routes (E6). What costs
    nothing is checked first; a chain costs a signature per certificate and per trusted key. Raises for no bytes.
    """
    chain = credentials.certificate_chain
    if peer_id_of(credentials.public_key) != credentials.node_id:
        return CredentialRefusal.NODE_ID_DIFFERS
    if not credentials.reputation >= ROUTING_REPUTATION:
        return CredentialRefusal.LOW_REPUTATION
    if not chain:
        return CredentialRefusal.NO_CHAIN
    if len(chain) > LONGEST_CHAIN:
        return CredentialRefusal.CHAIN_TOO_LONG
    if chain[-1].subject != credentials.public_key:
        return CredentialRefusal.OTHER_SUBJECT
    if not all(certificate.issued_at <= now <= certificate.expires_at for certificate in chain):
        return CredentialRefusal.NOT_IN_FORCE
    if not any(chain[0].signed_by(key) for key in trusted):
        return CredentialRefusal.BAD_CHAIN
    if not all(after.signed_by(before.subject) for before, after in zip(chain, chain[1:], strict=False)):
        return CredentialRefusal.BAD_CHAIN
    if not signed_by(credentials.public_key, message, signature):
        return CredentialRefusal.BAD_SIGNATURE
    return None


def _signed_part(subject: bytes, issued_at: int, expires_at: int) -> bytes:
    return _DOMAIN + subject + u64(issued_at) + u64(expires_at)
