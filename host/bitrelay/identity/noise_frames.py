"""The packets a session travels in: 0x10 for its handshake, 0x11 for what is sealed (bitchat protocol, section 3.7)."""

from collections.abc import Hashable
from dataclasses import dataclass

from shared_protocol import frame

from ..errors import HandshakeFailed, HandshakeFault, MessageFault, MessageRefused
from .session import Session
from .session_table import SessionTable


@dataclass(frozen=True)
class Received:
    """What came of one packet. sender: its on-air id; reply: a frame to send back; session: one now established;
    plaintext: what was sealed."""

    sender: bytes
    reply: bytes | None = None
    session: Session | None = None
    plaintext: bytes | None = None


class NoiseFrames:
    """Makes packets of what a session table says, and takes those apart that are for it.

    Frames are padded as the apps pad them, so that their size says little. now: seconds, the table's clock; now_ms:
    Unix milliseconds.
    """

    def __init__(self, table: SessionTable) -> None:
        self.table = table

    def start(self, peer: bytes, now: float, now_ms: int) -> bytes | None:
        """The frame that begins a handshake, None if one is under way. Raises HandshakeFailed."""
        message = self.table.start(peer, now)
        return None if message is None else self._frame(frame.TYPE_NOISE_HANDSHAKE, peer, message, now_ms)

    def seal(self, peer: bytes, plaintext: bytes, now: float, now_ms: int) -> bytes:
        """A frame with a plaintext, whose first byte is the type of the message in it. Raises NoSession."""
        return self._frame(frame.TYPE_NOISE_ENCRYPTED, peer, self.table.seal(peer, plaintext, now), now_ms)

    def on_frame(self, received: bytes, now: float, now_ms: int, source: Hashable = None) -> Received | None:
        """None for a frame that is of another type, for another node, or none.

        source: as in SessionTable.on_handshake. Raises HandshakeFailed, MessageRefused, NoSession, each with the
        sender's id as its device.
        """
        header = frame.Header()
        if header.parse(received, len(received)) < 0 or not header.recipient_at:
            return None
        if header.type not in (frame.TYPE_NOISE_HANDSHAKE, frame.TYPE_NOISE_ENCRYPTED):
            return None
        if received[header.recipient_at : header.recipient_at + frame.ID_SIZE] != self.table.on_air_id:
            return None
        sender = received[header.sender_at : header.sender_at + frame.ID_SIZE]
        payload = received[header.payload_at : header.payload_at + header.payload_len]
        if header.type == frame.TYPE_NOISE_ENCRYPTED:
            if header.original_size:
                # Ciphertext does not shrink: nobody compresses it.
                raise MessageRefused(MessageFault.FORGED, device=sender.hex())
            return Received(sender, plaintext=self.table.open(sender, payload, now))
        if header.original_size:
            raise HandshakeFailed(HandshakeFault.FORGED, device=sender.hex())
        progress = self.table.on_handshake(sender, payload, now, source)
        reply = progress.reply and self._frame(frame.TYPE_NOISE_HANDSHAKE, sender, progress.reply, now_ms)
        return Received(sender, reply=reply, session=progress.session)

    def _frame(self, kind: int, peer: bytes, payload: bytes, now_ms: int) -> bytes:
        version = 1 if len(payload) <= 0xFFFF else 2
        made = frame.encode(kind, frame.MAX_TTL, now_ms, self.table.on_air_id, payload, version=version, recipient=peer)
        return frame.pad(made)
