"""Whether an announce says who its author is and is signed with its key (bitchat protocol, sections 2.8 and 3.1)."""

import zlib
from typing import Final

from shared_protocol import announce
from shared_protocol.frame import SIGNATURE_SIZE, Header, signing_preimage

from ..identity.keys import on_air_id_of, signed_by
from .bridge_frame import BridgeFrame

_MOST_INFLATED: Final = 2048
"""Bytes: no announce of 512 bytes that means anything inflates to more."""

_header = Header()  # parsing leaves nothing behind


def signer_of(frame: BridgeFrame) -> bytes | None:
    """The signing key (32 bytes) that an announce names, if its sender follows from its Noise key and it has a
    signature. That the signature holds is not said: see is_signed. Raises for no bytes whatever."""
    value, header = frame.value, _header
    if header.parse(value, len(value)) < 0 or not header.signature_at:
        return None
    payload = value[header.payload_at : header.payload_at + header.payload_len]
    if header.original_size:
        inflated = _inflated(payload[2 if header.version == 1 else 4 :], header.original_size)
        if inflated is None:
            return None
        payload = inflated
    fields = announce.parse(payload)
    if fields is None:
        return None
    noise_key, signing_key = fields["noise_key"], fields["signing_key"]
    assert isinstance(noise_key, bytes) and isinstance(signing_key, bytes)
    return signing_key if on_air_id_of(noise_key) == frame.sender else None


def is_signed(frame: BridgeFrame, signer: bytes) -> bool:
    """Whether a frame is signed with this key. Takes 50 to 100 us. Raises for no bytes whatever."""
    value, header = frame.value, _header
    if header.parse(value, len(value)) < 0 or not header.signature_at:
        return False
    at = header.signature_at
    return signed_by(signer, signing_preimage(value), value[at : at + SIGNATURE_SIZE])


def _inflated(body: bytes, size: int) -> bytes | None:
    if size > _MOST_INFLATED:
        return None
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = stream.decompress(body, size + 1)
    except zlib.error:
        return None
    return payload if len(payload) == size else None
