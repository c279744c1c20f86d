"""Who a virtual phone is: its keys, its id on the air, and what it signs (bitchat protocol, sections 2.3, 2.8, 3.1)."""

import hashlib

from nacl.exceptions import BadSignatureError
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey

from shared_protocol import announce
from shared_protocol.frame import MAX_TTL, TYPE_ANNOUNCE, Header, encode, signing_preimage

# What iOS announces as its base set (section 3.1).
_CAPABILITIES = 0x329


class PhoneIdentity:
    """Keys that follow from a name and a seed, so that the same scenario has the same phones."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self._signing_key = SigningKey(_derive(name, seed, b"signing"))
        self.noise_key = bytes(PrivateKey(_derive(name, seed, b"noise")).public_key)
        self.peer_id = hashlib.sha256(self.noise_key).digest()[:8]
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

    def announce(self, now_ms: int) -> bytes:
        """A signed announce of this moment, TTL 7."""
        fields = (
            (announce.NICKNAME, self.name.encode()[:255]),
            (announce.NOISE_KEY, self.noise_key),
            (announce.SIGNING_KEY, bytes(self._signing_key.verify_key)),
            (announce.CAPABILITIES, announce.encode_capabilities(_CAPABILITIES)),
        )
        payload = b"".join(bytes((kind, len(value))) + value for kind, value in fields)
        return self.signed(encode(TYPE_ANNOUNCE, MAX_TTL, now_ms, self.peer_id, payload))


def announced_id(frame: bytes, validated: bool) -> bytes | None:
    """The peer that a frame shows to be at the other end of its link: the author of an announce with TTL 7.

    validated: only if keys and signature are right, as Android wants it; iOS looks before it checks (section 1.7).
    """
    header = Header()
    if header.parse(frame, len(frame)) < 0 or header.type != TYPE_ANNOUNCE or header.ttl != MAX_TTL:
        return None
    sender = frame[header.sender_at : header.sender_at + 8]
    return sender if not validated or _is_valid(frame, header, sender) else None


def _is_valid(frame: bytes, header: Header, sender: bytes) -> bool:
    fields = announce.parse(frame[header.payload_at : header.payload_at + header.payload_len])
    if fields is None or not header.signature_at:
        return False
    noise_key, signing_key = fields["noise_key"], fields["signing_key"]
    assert isinstance(noise_key, bytes) and isinstance(signing_key, bytes)
    if hashlib.sha256(noise_key).digest()[:8] != sender:
        return False
    try:
        VerifyKey(signing_key).verify(signing_preimage(frame), frame[header.signature_at : header.signature_at + 64])
    except BadSignatureError:
        return False
    return True


def _derive(name: str, seed: int, what: bytes) -> bytes:
    return hashlib.sha256(b"%s/%d/%s" % (name.encode(), seed, what)).digest()
