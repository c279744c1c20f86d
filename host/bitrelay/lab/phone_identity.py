"""Who a virtual phone is: its keys, its id on the air, and what it signs (bitchat protocol, sections 2.3, 2.8, 3.1)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nacl.exceptions import BadSignatureError
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey

from shared_protocol import announce
from shared_protocol.frame import MAX_TTL, SIGNATURE_SIZE, TYPE_ANNOUNCE, Header, encode, signing_preimage

from .phone_profile import IOS_RULES, AppRules

# Both apps list no more of their neighbors (section 3.1).
MAX_NEIGHBORS = 10


class PhoneIdentity:
    """Keys that follow from a name and a seed, so that the same scenario has the same phones."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self._signing_key = SigningKey(_derive(name, seed, b"signing"))
        self.signing_key = bytes(self._signing_key.verify_key)
        self.noise_key = bytes(PrivateKey(_derive(name, seed, b"noise")).public_key)
        self.peer_id = id_of(self.noise_key)
        # A static random address: the two highest bits are set (Core 5.4, vol 6 part B 1.3.2.1).
        raw = bytearray(_derive(name, seed, b"address")[:6])
        raw[0] |= 0xC0
        self.address = ":".join(f"{byte:02X}" for byte in raw)

    def signed(self, frame: bytes) -> bytes:
        """The same frame with this phone's signature. The frame must be one of frame.encode() without a signature."""
        header = Header()
        header.parse(frame, len(frame))
        signature = self._signing_key.sign(signing_preimage(frame)).signature
        return frame[:11] + bytes((frame[11] | 0x02,)) + frame[12 : header.frame_len] + signature

    def announce(self, now_ms: int, neighbors: Sequence[bytes] = (), rules: AppRules = IOS_RULES) -> bytes:
        """A signed announce of this moment, TTL 7; neighbors are the ids of its direct peers."""
        fields = [
            (announce.NICKNAME, self.name.encode()[:255]),
            (announce.NOISE_KEY, self.noise_key),
            (announce.SIGNING_KEY, self.signing_key),
        ]
        if neighbors:
            fields.append((announce.NEIGHBORS, b"".join(neighbors[:MAX_NEIGHBORS])))
        fields.append((announce.CAPABILITIES, announce.encode_capabilities(rules.capabilities)))
        if rules.platform == "android":
            # Android puts the neighbors last.
            fields.sort(key=lambda field: field[0] == announce.NEIGHBORS)
        payload = announce_payload(fields)
        return self.signed(encode(TYPE_ANNOUNCE, MAX_TTL, now_ms, self.peer_id, payload))


@dataclass(frozen=True)
class Announce:
    """What an announce says about its author, true or not. neighbors is None if it says nothing about them."""

    nickname: str
    noise_key: bytes
    signing_key: bytes
    neighbors: tuple[bytes, ...] | None


def announce_payload(fields: Iterable[tuple[int, bytes]]) -> bytes:
    """The payload of an announce with these fields (type, at most 255 bytes), in this order."""
    return b"".join(bytes((kind, len(value))) + value for kind, value in fields)


def id_of(noise_key: bytes) -> bytes:
    """The id on the air of whoever has this Noise key."""
    return hashlib.sha256(noise_key).digest()[:8]


def read_announce(frame: bytes, header: Header) -> Announce | None:
    """The announce in a frame that `header` has parsed; None for a payload the apps refuse."""
    fields = announce.parse(frame[header.payload_at : header.payload_at + header.payload_len])
    if fields is None:
        return None
    nickname, noise_key, signing_key = fields["nickname"], fields["noise_key"], fields["signing_key"]
    neighbors = fields.get("neighbors")
    assert isinstance(nickname, str) and isinstance(noise_key, bytes) and isinstance(signing_key, bytes)
    return Announce(nickname, noise_key, signing_key, tuple(neighbors) if isinstance(neighbors, list) else None)


def is_signed_by(signing_key: bytes, frame: bytes, header: Header) -> bool:
    """Whether a frame that `header` has parsed has the signature of this key."""
    if not header.signature_at:
        return False
    signature = frame[header.signature_at : header.signature_at + SIGNATURE_SIZE]
    try:
        VerifyKey(signing_key).verify(signing_preimage(frame), signature)
    except BadSignatureError:
        return False
    return True


def _derive(name: str, seed: int, what: bytes) -> bytes:
    return hashlib.sha256(b"%s/%d/%s" % (name.encode(), seed, what)).digest()
