"""A pipe made secure: hellos, Noise XX with the identity records in it, then sealed messages (rows SEC-12, SEC-13).

    both       hello                       of versions (`identity.greeting`), under an on-air id made for it
    dialler    Noise message 1             nothing in it
    listener   Noise message 2             with its identity record
    dialler    Noise message 3             with its identity record
    both       sealed messages             a byte that says what it is, then the rest

The hellos are the handshake's prologue. The peer is who its record proves for the very key of the handshake, with work
of at least the difficulty asked for. Sealed messages are numbered by the order they come in; what was altered, left
out, repeated or moved does not open, and the channel ends. Where the medium has datagrams, they are sealed with keys
of their own and a replay window.
"""

import asyncio
import hmac
import math
import os
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared_protocol import frame, hello
from shared_protocol.identity_record import MAX_PAYLOAD
from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import (
    DeviceLost,
    HandshakeFailed,
    HandshakeFault,
    IdentityRefused,
    MessageFault,
    MessageRefused,
)
from ..identity.greeting import Greeting, Terms
from ..identity.keys import ON_AIR_ID_BYTES
from ..identity.local import LocalIdentity
from ..identity.noise import MESSAGE_SIZES, TAG_SIZE, CipherState, HandshakeState
from ..identity.proof import PowIdentity
from ..identity.record import from_record, to_record
from ..identity.session import OVERHEAD, Session, SessionLimits
from .pipe import MAX_RECORD, DatagramPipe, Pipe

KIND_SIZE: Final = 1
MAX_MESSAGE: Final = MAX_RECORD - TAG_SIZE - KIND_SIZE
DATAGRAM_OVERHEAD: Final = OVERHEAD
REKEY_AFTER: Final = 10_000
"""Messages, in each direction."""
ID_SIZE: Final = 8

_MAX_HELLO: Final = frame.MIN_FRAME + hello.MAX_SIZE
_MAX_NOISE: Final = max(MESSAGE_SIZES) + MAX_PAYLOAD
# Not the nonce of any message, nor that of Noise's rekey.
_DATAGRAM_NONCE: Final = 2**64 - 2


class Kind(IntEnum):
    """What a sealed message is."""

    DATA = 0
    ALIVE = 1
    BYE = 2
    READY = 3
    KEEP = 4
    DUPLICATE = 5


class Channel:
    """A pipe with somebody known at its far end.

    identity: the peer's, verified; terms: what the hellos agreed on; initiator: we dialled; id: 8 bytes, the same at
    both ends, of this channel alone.
    """

    def __init__(self, pipe: Pipe, handshake: HandshakeState, identity: PowIdentity, terms: Terms) -> None:
        self.pipe = pipe
        self.identity = identity
        self.terms = terms
        self.initiator = handshake.initiator
        self.id = handshake.handshake_hash[:ID_SIZE]
        remote_static, digest = handshake.remote_static, handshake.handshake_hash
        assert remote_static is not None
        self._sending, self._receiving = handshake.split()
        self._datagrams = Session(
            identity.on_air_id,
            remote_static,
            digest,
            (_for_datagrams(self._sending), _for_datagrams(self._receiving)),
            0.0,
            peer_id=identity.peer_id,
            # The channel's life is the limit.
            limits=SessionLimits(end_s=math.inf),
        )
        self._turn = asyncio.Lock()

    @property
    def peer_id(self) -> bytes:
        """32 bytes, proved."""
        return self.identity.peer_id

    async def send(self, kind: Kind, data: bytes = b"") -> None:
        """Wait for room, then send; who waits first sends first. Sent whole, or, if it is cancelled, not at all.

        Raises DeviceLost.
        """
        async with self._turn:
            await self.pipe.room()
            self.put(kind, data)

    def put(self, kind: Kind, data: bytes = b"") -> None:
        """Send without waiting for room: for what is short and rare."""
        self._demand_keys()
        self.pipe.put(self._sending.encrypt_with_ad(b"", bytes((kind,)) + data))
        if self._sending.nonce % REKEY_AFTER == 0:
            self._sending.rekey()

    async def receive(self, limit: int = MAX_MESSAGE) -> tuple[int, bytes]:
        """The next message: what it is, and the rest, of at most `limit` bytes. Raises DeviceLost, MessageRefused."""
        sealed = await self.pipe.receive(min(limit + KIND_SIZE + TAG_SIZE, MAX_RECORD))
        self._demand_keys()
        try:
            opened = self._receiving.decrypt_with_ad(b"", sealed)
        except InvalidTag:
            raise MessageRefused(MessageFault.FORGED, device=self.identity.on_air_id.hex()) from None
        if self._receiving.nonce % REKEY_AFTER == 0:
            self._receiving.rekey()
        if not opened:
            raise MessageRefused(MessageFault.TOO_SHORT, device=self.identity.on_air_id.hex())
        return opened[0], opened[KIND_SIZE:]

    def put_datagram(self, data: bytes) -> None:
        """Send one that may be lost. The pipe must have datagrams. Raises NoSession after 2**32 of them."""
        assert isinstance(self.pipe, DatagramPipe)
        self.pipe.put_datagram(self._datagrams.seal(data, 0.0))

    def open_datagram(self, datagram: bytes) -> bytes:
        """What is in one that came. Raises MessageRefused, NoSession."""
        return self._datagrams.open(datagram, 0.0)

    def forget(self) -> None:
        """Drop the keys; the channel is of no more use."""
        self._sending.close()
        self._receiving.close()
        self._datagrams.close()

    def _demand_keys(self) -> None:
        # A cipher without a key lets plaintext through.
        if not self._sending.has_key:
            raise DeviceLost("the connection has ended", device=str(self.pipe.remote))


async def secure(
    pipe: Pipe,
    own: LocalIdentity,
    *,
    initiator: bool,
    expected: bytes | None = None,
    base: int = DIFFICULTY_BASE,
    unix_s: Callable[[], float] = time.time,
) -> Channel:
    """Say hello and shake hands. The caller has the deadline, and ends the pipe if this fails.

    expected: the PeerId that the peer must have; base: the least difficulty of its proof of work. Who dials learns
    whom it has reached before it says who it is. Raises HandshakeFailed, IncompatiblePeer, DeviceLost if our own end
    broke.
    """
    try:
        return await _shake_hands(pipe, own, initiator, expected, base, unix_s)
    except DeviceLost:
        raise HandshakeFailed(HandshakeFault.HUNG_UP, device=str(pipe.remote)) from None
    except MessageRefused as error:
        fault = HandshakeFault.TOO_SHORT if error.fault is MessageFault.TOO_SHORT else HandshakeFault.TOO_LONG
        raise HandshakeFailed(fault, device=str(pipe.remote)) from None


async def _shake_hands(
    pipe: Pipe,
    own: LocalIdentity,
    initiator: bool,
    expected: bytes | None,
    base: int,
    unix_s: Callable[[], float],
) -> Channel:
    # It goes in the clear, before anybody has proved anything: so it tells versions, and nothing of who we are.
    greeting = Greeting(os.urandom(ON_AIR_ID_BYTES))
    pipe.put(greeting.start(0.0, int(unix_s() * 1000)))
    terms = greeting.on_frame(await pipe.receive(_MAX_HELLO))
    if terms is None:
        raise HandshakeFailed(HandshakeFault.NO_HELLO, device=str(pipe.remote))
    terms.demand_compatible()
    handshake = HandshakeState(
        initiator=initiator,
        static=X25519PrivateKey.from_private_bytes(own.keys.noise_secret),
        prologue=greeting.prologue(),
    )
    try:
        record = to_record(own.proof, own.keys)
        if initiator:
            pipe.put(handshake.write_message())
            identity = await _read_identity(pipe, handshake, expected, base, unix_s)
            pipe.put(handshake.write_message(record))
        else:
            handshake.read_message(await pipe.receive(_MAX_NOISE))
            pipe.put(handshake.write_message(record))
            identity = await _read_identity(pipe, handshake, expected, base, unix_s)
    finally:
        if not handshake.complete:
            handshake.close()
    if hmac.compare_digest(identity.peer_id, own.keys.peer_id):
        raise HandshakeFailed(HandshakeFault.OURSELVES, device=str(pipe.remote))
    return Channel(pipe, handshake, identity, terms)


async def _read_identity(
    pipe: Pipe,
    handshake: HandshakeState,
    expected: bytes | None,
    base: int,
    unix_s: Callable[[], float],
) -> PowIdentity:
    payload = handshake.read_message(await pipe.receive(_MAX_NOISE))
    wrong = HandshakeFailed(HandshakeFault.WRONG_PEER, device=str(pipe.remote))
    assert handshake.remote_static is not None
    try:
        identity = from_record(payload, int(unix_s()), base)
    except IdentityRefused as error:
        wrong.hint = f"Its identity was refused: {error.what}."
        raise wrong from None
    if not hmac.compare_digest(identity.noise_key, handshake.remote_static):
        raise wrong
    if expected is not None and not hmac.compare_digest(identity.peer_id, expected):
        raise wrong
    return identity


def _for_datagrams(cipher: CipherState) -> CipherState:
    # As Noise's rekey makes a key of a key, with another nonce.
    return CipherState(cipher.seal(_DATAGRAM_NONCE, b"", bytes(32))[:32])
