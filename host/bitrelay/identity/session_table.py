"""All Noise sessions of one node: who may begin one, which are under way, which are established.

No I/O and no clock. Payloads of packets 0x10 and 0x11 come in and go out (`noise_frames` makes packets of them); times
are seconds of any one clock. Anybody can send anything under any id, so nothing that is established is given up for a
message that does not prove who sent it, and what is under way only for eight of them, or for another first message.

Bounds: `max_sessions` established peers (the one unused for longest goes first), `max_pending` handshakes (a new one is
refused), `HandshakeRate` for how many begin. Every refusal is counted by reason in `counts`.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import HandshakeFailed, HandshakeFault, MessageRefused, NoSession
from .handshake_limit import HandshakeLimiter, HandshakeRate
from .keys import on_air_id_of
from .noise import MESSAGE_SIZES, HandshakeState
from .session import Session, SessionLimits, is_on_air_id_of

# The apps' figures: who starts waits for an answer, who answers for the last message.
INITIATOR_TIMEOUT_S: Final = 10.0
RESPONDER_TIMEOUT_S: Final = 20.0
OVERLAP_S: Final = 30.0
"""How long what was sealed in the session before still opens."""
_MAX_TRIES: Final = 8


@dataclass(frozen=True)
class Presentation:
    """What this node tells one peer in its handshake. A phone gets nothing: Android takes no payload above 256 bytes.

    payload: the identity record, sealed in this node's message with its static key; prologue: what the peer must know
    alike (`Greeting.prologue`).
    """

    payload: bytes = b""
    prologue: bytes = b""


@dataclass(frozen=True)
class Progress:
    """What came of a handshake message. reply: to be sent to the peer; session: the one that is now established."""

    reply: bytes | None = None
    session: Session | None = None


@dataclass(frozen=True)
class Housekeeping:
    """Peers, by on-air id, for which something is to be done.

    timed_out: they did not answer our handshake; renew: their session needs a new one. For both that is start(), if the
    peer is still wanted. unfinished: somebody began a handshake under their id and did not end it; if messages of that
    peer do not open since, the last handshake message was lost, and start() helps too.
    """

    timed_out: tuple[bytes, ...] = ()
    renew: tuple[bytes, ...] = ()
    unfinished: tuple[bytes, ...] = ()


@dataclass
class _Pending:
    handshake: HandshakeState
    presentation: Presentation
    deadline: float
    tries: int = 0
    first: bytes = b""
    """The message it answers."""


@dataclass
class _Established:
    current: Session
    previous: Session | None = None
    previous_until: float = 0.0


def present_nothing(on_air_id: bytes) -> Presentation:
    """What phones are told."""
    return Presentation()


def identify_nobody(on_air_id: bytes, noise_key: bytes, payload: bytes) -> bytes | None:
    """No peer has an identity beyond its Noise key."""
    return None


class SessionTable:
    """The sessions of the node that has one static key."""

    def __init__(
        self,
        static: X25519PrivateKey,
        *,
        present: Callable[[bytes], Presentation] = present_nothing,
        identify: Callable[[bytes, bytes, bytes], bytes | None] = identify_nobody,
        limits: SessionLimits | None = None,
        rate: HandshakeRate | None = None,
        max_sessions: int = 256,
        max_pending: int = 32,
    ) -> None:
        """present: what to tell the peer with this on-air id.

        identify: takes a peer's on-air id, its X25519 key and the payload it sent; gives its PeerId (32 bytes), or None
        for a peer without one, and raises HandshakeFailed with WRONG_PEER for an identity that is not that key's.
        """
        self.on_air_id = on_air_id_of(static.public_key().public_bytes_raw())
        self.counts: Counter[str] = Counter()
        self._static = static
        self._present = present
        self._identify = identify
        self._limits = limits or SessionLimits()
        self._max_sessions = max_sessions
        self._max_pending = max_pending
        # Others must not be able to use up what this node may begin by itself.
        self._starting = HandshakeLimiter(rate)
        self._answering = HandshakeLimiter(rate)
        # A peer may be in both: when both ends start at once, either handshake may be the one that ends well.
        self._started: dict[bytes, _Pending] = {}
        self._answered: dict[bytes, _Pending] = {}
        self._sessions: OrderedDict[bytes, _Established] = OrderedDict()

    def __repr__(self) -> str:
        pending = len(self._started) + len(self._answered)
        return f"<SessionTable of {self.on_air_id.hex()}, {len(self._sessions)} sessions, {pending} pending>"

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def pending(self) -> int:
        """Handshakes under way."""
        return len(self._started) + len(self._answered)

    def session(self, peer: bytes) -> Session | None:
        """The established session with a peer."""
        entry = self._sessions.get(peer)
        return entry.current if entry else None

    def start(self, peer: bytes, now: float) -> bytes | None:
        """The first message of a handshake with a peer; None if one of ours is under way. A session there is stays in
        use until the new one is established. Raises HandshakeFailed with TOO_MANY."""
        if peer == self.on_air_id:
            raise self._refused(HandshakeFault.WRONG_PEER, peer)
        if peer in self._started:
            return None
        if not self._room() or not self._starting.allow(peer, now):
            raise self._refused(HandshakeFault.TOO_MANY, peer)
        pending = self._begin(peer, True, now + INITIATOR_TIMEOUT_S)
        self._started[peer] = pending
        return pending.handshake.write_message()

    def on_handshake(self, peer: bytes, message: bytes, now: float, source: Hashable = None) -> Progress:
        """Takes the payload of a packet 0x10 from the peer it names as its sender.

        source: what the limit for one source goes by, best the link it came in on; the peer's id, if not given. Raises
        HandshakeFailed, and nothing else, for any bytes; the peer's session and handshake stay as they were then.
        """
        if peer == self.on_air_id:
            raise self._refused(HandshakeFault.WRONG_PEER, peer)
        if len(message) == MESSAGE_SIZES[0]:
            return self._answer(peer, message, now, peer if source is None else source)
        fault = HandshakeFault.OUT_OF_TURN
        for table in (self._started, self._answered):
            pending = table.get(peer)
            if pending is None or pending.deadline <= now:
                continue
            try:
                return self._advance(peer, pending, message, now)
            except HandshakeFailed as failed:
                fault = failed.fault
                pending.tries += 1
                if pending.tries >= _MAX_TRIES:
                    self._drop(table, peer)
        raise self._refused(fault, peer)

    def seal(self, peer: bytes, plaintext: bytes, now: float) -> bytes:
        """The payload of a packet 0x11 for a peer. Raises NoSession: start() one."""
        entry = self._entry(peer)
        sealed = entry.current.seal(plaintext, now)
        self._sessions.move_to_end(peer)
        return sealed

    def open(self, peer: bytes, sealed: bytes, now: float) -> bytes:
        """The plaintext of a packet 0x11 from a peer. Raises NoSession: it may have one that this node lost, so start()
        another; and MessageRefused for what no session with it sealed."""
        entry = self._entry(peer)
        try:
            plaintext = entry.current.open(sealed, now)
        except MessageRefused as refused:
            # Numbers begin anew with each session, so what looks like a replay may be of the session before.
            if entry.previous is None or now >= entry.previous_until:
                self.counts[f"message {refused.fault.name}"] += 1
                raise
            try:
                plaintext = entry.previous.open(sealed, now)
            except (MessageRefused, NoSession):
                self.counts[f"message {refused.fault.name}"] += 1
                raise refused from None
        self._sessions.move_to_end(peer)
        return plaintext

    def tick(self, now: float) -> Housekeeping:
        """Gives up what has taken too long; to be called every second or so."""
        timed_out = self._give_up(self._started, now)
        unfinished = self._give_up(self._answered, now)
        renew = []
        for peer, entry in list(self._sessions.items()):
            if entry.previous is not None and now >= entry.previous_until:
                entry.previous.close()
                entry.previous = None
            if entry.current.expired(now):
                self._forget(peer)
            elif entry.current.renewal_due(now) and peer not in self._started and peer not in self._answered:
                renew.append(peer)
        return Housekeeping(timed_out, tuple(renew), unfinished)

    def close(self, peer: bytes) -> None:
        """Drops all keys with a peer."""
        for table in (self._started, self._answered):
            self._drop(table, peer)
        self._forget(peer)

    def close_all(self) -> None:
        for peer in {*self._started, *self._answered, *self._sessions}:
            self.close(peer)

    def _answer(self, peer: bytes, message: bytes, now: float, source: Hashable) -> Progress:
        mine = self._started.get(peer)
        # Both ends started: the lower id stays with its own handshake, as on the phones. The other one answers, and
        # keeps its own as well, since the first message proves nothing.
        if mine is not None and mine.deadline > now and self.on_air_id < peer:
            self.counts["handshake crossed"] += 1
            return Progress()
        earlier = self._answered.get(peer)
        if earlier is not None and earlier.deadline > now and earlier.first == message:
            # It came on two ways. Beginning again would make the answer to it worthless.
            self.counts["handshake repeated"] += 1
            return Progress()
        if (earlier is None and not self._room()) or not self._answering.allow(source, now):
            raise self._refused(HandshakeFault.TOO_MANY, peer)
        # Who asks again does not get more time by that.
        deadline = now + RESPONDER_TIMEOUT_S
        if earlier is not None and earlier.deadline > now:
            deadline = earlier.deadline
        pending = self._begin(peer, False, deadline)
        try:
            pending.handshake.read_message(message)
            reply = pending.handshake.write_message(pending.presentation.payload)
        except HandshakeFailed as failed:
            raise self._refused(failed.fault, peer) from None
        pending.first = message
        self._drop(self._answered, peer)
        self._answered[peer] = pending
        return Progress(reply=reply)

    def _advance(self, peer: bytes, pending: _Pending, message: bytes, now: float) -> Progress:
        # On a copy: a message of somebody else's must not end the handshake.
        handshake = pending.handshake.copy()
        payload = handshake.read_message(message)
        key = handshake.remote_static
        if key is None or not is_on_air_id_of(peer, key):
            raise HandshakeFailed(HandshakeFault.WRONG_PEER)
        peer_id = self._identify(peer, key, payload)
        reply = None if handshake.complete else handshake.write_message(pending.presentation.payload)
        session = Session(
            peer, key, handshake.handshake_hash, handshake.split(), now, peer_id=peer_id, limits=self._limits
        )
        self._establish(peer, session, now)
        return Progress(reply=reply, session=session)

    def _establish(self, peer: bytes, session: Session, now: float) -> None:
        for table in (self._started, self._answered):
            self._drop(table, peer)
        entry = self._sessions.get(peer)
        if entry is None:
            self._sessions[peer] = _Established(session)
        else:
            if entry.previous is not None:
                entry.previous.close()
            entry.previous, entry.current = entry.current, session
            entry.previous_until = now + OVERLAP_S
        self._sessions.move_to_end(peer)
        if len(self._sessions) > self._max_sessions:
            self.counts["sessions evicted"] += 1
            self._forget(next(iter(self._sessions)))

    def _give_up(self, table: dict[bytes, _Pending], now: float) -> tuple[bytes, ...]:
        late = tuple(peer for peer, pending in table.items() if pending.deadline <= now)
        for peer in late:
            self._drop(table, peer)
            self.counts[f"handshake {HandshakeFault.NO_ANSWER.name}"] += 1
        return late

    def _begin(self, peer: bytes, initiator: bool, deadline: float) -> _Pending:
        presentation = self._present(peer)
        handshake = HandshakeState(initiator=initiator, static=self._static, prologue=presentation.prologue)
        return _Pending(handshake, presentation, deadline)

    def _entry(self, peer: bytes) -> _Established:
        entry = self._sessions.get(peer)
        if entry is None:
            raise NoSession("there is no secure session with it", device=peer.hex())
        return entry

    def _room(self) -> bool:
        return self.pending < self._max_pending

    def _refused(self, fault: HandshakeFault, peer: bytes) -> HandshakeFailed:
        self.counts[f"handshake {fault.name}"] += 1
        return HandshakeFailed(fault, device=peer.hex())

    def _forget(self, peer: bytes) -> None:
        entry = self._sessions.pop(peer, None)
        if entry is not None:
            entry.current.close()
            if entry.previous is not None:
                entry.previous.close()

    @staticmethod
    def _drop(table: dict[bytes, _Pending], peer: bytes) -> None:
        pending = table.pop(peer, None)
        if pending is not None:
            pending.handshake.close()
