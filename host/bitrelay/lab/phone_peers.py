"""Whom a phone's app believes: what each app checks of a frame, in its order, and the peers that come of it.

bitchat protocol, sections 1.7, 1.8, 3.1, 4.3, 4.5 and 4.8. No I/O: a link is anything with a peer_id, times are passed
in.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from weakref import WeakKeyDictionary

from shared_protocol.frame import (
    MAX_TTL,
    RSR,
    TIMESTAMP,
    TYPE_ANNOUNCE,
    TYPE_FILE,
    TYPE_FRAGMENT,
    TYPE_LEAVE,
    TYPE_MESSAGE,
    TYPE_VOICE,
    Header,
)

from .phone_identity import Announce, id_of, is_signed_by, read_announce
from .phone_profile import AppRules
from .seen_frames import GATE_S, MEMORY_S, SeenFrames

# What an app shows or obeys only with the signature of an author it knows.
_SIGNED_TYPES = frozenset((TYPE_MESSAGE, TYPE_LEAVE, TYPE_FILE, TYPE_VOICE))


class Refusal(StrEnum):
    """Why an app does nothing with a frame (it may relay it all the same)."""

    OWN = "its own"
    UNASKED_REPLY = "a sync reply nobody asked for"
    CLOCK = "its time is off"
    COPY = "heard before"
    MALFORMED = "no announce inside"
    WRONG_ID = "sender is not the hash of the Noise key"
    STALE = "too old"
    OTHER_KEYS = "not the keys this peer had"
    UNSIGNED = "no signature"
    BAD_SIGNATURE = "bad signature"
    UNKNOWN_AUTHOR = "an author without an announce"


class Bound(Protocol):
    """A link; peer_id is whom the app takes to be at its other end."""

    peer_id: bytes | None


@dataclass(frozen=True)
class PeerView:
    """One peer as its app lists it.

    is_direct: the peer is at the end of `link`. A link may belong to a peer whose announce was never right (only on
    iOS): that one is not verified, and all else about it is unknown. last_heard is monotonic seconds; announce is the
    frame that was believed last.
    """

    nickname: str
    is_direct: bool
    verified: bool
    last_heard: float
    neighbors: tuple[bytes, ...]
    signing_key: bytes
    link: Bound | None
    announce: bytes


@dataclass(frozen=True)
class Verdict:
    """What the app made of a frame: refused for a reason, or taken. announce is set for an announce that was taken."""

    sender: bytes
    refusal: Refusal | None = None
    announce: Announce | None = None
    is_new: bool = False


@dataclass
class _Peer:
    said: Announce
    frame: bytes
    last_heard: float


class PeerTable:
    """The peers of one phone. links() are its links at the moment; refusals counts what was not taken, by reason.

    pins are the keys (Noise, signing) each id came with first: they outlive everything, as in the app's storage.
    """

    def __init__(self, rules: AppRules, own_id: bytes, links: Callable[[], Iterable[Bound]]) -> None:
        self.refusals: Counter[Refusal] = Counter()
        self.pins: dict[bytes, tuple[bytes, bytes]] = {}
        self._rules = rules
        self._own_id = own_id
        self._links = links
        self._peers: dict[bytes, _Peer] = {}
        self._rebound: WeakKeyDictionary[Bound, float] = WeakKeyDictionary()
        self._seen = SeenFrames()
        self._header = Header()

    def hear(self, frame: bytes, link: Bound, now: float, clock_ms: int) -> Verdict:
        """A frame that arrived whole. now: monotonic seconds; clock_ms: what the phone takes the time to be."""
        header = self._header
        header.parse(frame, len(frame))
        sender = frame[header.sender_at : header.sender_at + 8]
        check = self._check_ios if self._rules.platform == "ios" else self._check_android
        result = check(frame, sender, link, now, clock_ms)
        if isinstance(result, Refusal):
            self.refusals[result] += 1
            return Verdict(sender, result)
        if result is not None:
            is_new = self._accept(sender, result, frame, link, now)
            return Verdict(sender, announce=result, is_new=is_new)
        if header.type == TYPE_LEAVE:
            self._peers.pop(sender, None)
        elif sender in self._peers:
            self._peers[sender].last_heard = now
        return Verdict(sender)

    def views(self, now: float) -> dict[bytes, PeerView]:
        """The peers known at the moment, and those a link was given to without proof."""
        self._forget(now)
        links = {link.peer_id: link for link in self._links() if link.peer_id is not None}
        found = {
            peer_id: PeerView(
                peer.said.nickname,
                peer_id in links,
                True,
                peer.last_heard,
                peer.said.neighbors or (),
                peer.said.signing_key,
                links.get(peer_id),
                peer.frame,
            )
            for peer_id, peer in self._peers.items()
        }
        for peer_id, link in links.items():
            if peer_id not in found:
                found[peer_id] = PeerView("", False, False, 0.0, (), b"", link, b"")
        return found

    def direct_ids(self, now: float) -> list[bytes]:
        """The verified peers at the end of a link, in the order they were met."""
        self._forget(now)
        bound = {link.peer_id for link in self._links()}
        return [peer_id for peer_id in self._peers if peer_id in bound]

    # --- the apps' checks, each in its app's order; an announce is given back if it is good ---

    def _check_ios(
        self, frame: bytes, sender: bytes, link: Bound, now: float, clock_ms: int
    ) -> Refusal | Announce | None:
        header = self._header
        if sender == self._own_id:
            return Refusal.OWN
        if header.flags & RSR:
            return Refusal.UNASKED_REPLY
        if _is_off(frame, clock_ms, self._rules.ingress_skew_s):
            return Refusal.CLOCK
        if header.type == TYPE_ANNOUNCE and header.ttl == MAX_TTL and link.peer_id is None:
            link.peer_id = sender
        if self._seen.has(frame, header, now, GATE_S if header.type == TYPE_FRAGMENT else MEMORY_S):
            return Refusal.COPY
        self._seen.add(frame, header, now)
        if header.type != TYPE_ANNOUNCE:
            pinned = self.pins.get(sender)
            return self._check_author(frame, pinned[1] if pinned else None)
        said = read_announce(frame, header)
        if said is None:
            return Refusal.MALFORMED
        if id_of(said.noise_key) != sender:
            return Refusal.WRONG_ID
        age_s = self._rules.announce_age_s
        if age_s is not None and clock_ms - _time_of(frame) > age_s * 1000:
            return Refusal.STALE
        if not self._has_its_keys(sender, said):
            return Refusal.OTHER_KEYS
        if not header.signature_at:
            return Refusal.UNSIGNED
        return said if is_signed_by(said.signing_key, frame, header) else Refusal.BAD_SIGNATURE

    def _check_android(
        self, frame: bytes, sender: bytes, link: Bound, now: float, clock_ms: int
    ) -> Refusal | Announce | None:
        header = self._header
        if sender == self._own_id:
            return Refusal.OWN
        is_direct_announce = header.type == TYPE_ANNOUNCE and header.ttl >= MAX_TTL
        if not is_direct_announce and self._seen.has(frame, header, now):
            return Refusal.COPY
        result: Refusal | Announce | None
        if header.type == TYPE_ANNOUNCE:
            result = self._validate(frame, sender, clock_ms)
        elif header.type == TYPE_LEAVE and _is_off(frame, clock_ms, self._rules.leave_skew_s):
            result = Refusal.CLOCK
        else:
            peer = self._known(sender, now)
            result = self._check_author(frame, peer.said.signing_key if peer else None)
        if not isinstance(result, Refusal):
            self._seen.add(frame, header, now)
        return result

    def _validate(self, frame: bytes, sender: bytes, clock_ms: int) -> Refusal | Announce:
        header = self._header
        if _is_off(frame, clock_ms, self._rules.announce_skew_s):
            return Refusal.CLOCK
        said = read_announce(frame, header)
        if said is None:
            return Refusal.MALFORMED
        if id_of(said.noise_key) != sender:
            return Refusal.WRONG_ID
        if not header.signature_at:
            return Refusal.UNSIGNED
        if not is_signed_by(said.signing_key, frame, header):
            return Refusal.BAD_SIGNATURE
        return said if self._has_its_keys(sender, said) else Refusal.OTHER_KEYS

    def _check_author(self, frame: bytes, signing_key: bytes | None) -> Refusal | None:
        if self._header.type not in _SIGNED_TYPES:
            return None
        if not signing_key:
            return Refusal.UNKNOWN_AUTHOR
        return None if is_signed_by(signing_key, frame, self._header) else Refusal.BAD_SIGNATURE

    def _has_its_keys(self, sender: bytes, said: Announce) -> bool:
        keys = (said.noise_key, said.signing_key)
        return self.pins.get(sender, keys) == keys

    # --- what follows from a good announce ---

    def _accept(self, sender: bytes, said: Announce, frame: bytes, link: Bound, now: float) -> bool:
        is_new = self._known(sender, now) is None
        self.pins.setdefault(sender, (said.noise_key, said.signing_key))
        self._peers[sender] = _Peer(said, frame, now)
        if self._header.ttl == MAX_TTL and link.peer_id != sender and self._may_rebind(sender, link, now):
            link.peer_id = sender
        return is_new

    def _may_rebind(self, sender: bytes, link: Bound, now: float) -> bool:
        if not self._rules.binds_unverified:
            return True
        # iOS: a copy of an announce can look direct, so who has a link of its own is not moved to another.
        if any(other.peer_id == sender for other in self._links()):
            return False
        last = self._rebound.get(link)
        if last is not None and now - last < self._rules.rebind_s:
            return False
        self._rebound[link] = now
        return True

    def _known(self, peer_id: bytes, now: float) -> _Peer | None:
        peer = self._peers.get(peer_id)
        if peer is None or now - peer.last_heard < self._rules.peer_life_s:
            return peer
        if self._rules.direct_peers_stay and any(link.peer_id == peer_id for link in self._links()):
            return peer
        del self._peers[peer_id]
        return None

    def _forget(self, now: float) -> None:
        for peer_id in list(self._peers):
            self._known(peer_id, now)


def _time_of(frame: bytes) -> int:
    return int.from_bytes(frame[TIMESTAMP : TIMESTAMP + 8], "big")


def _is_off(frame: bytes, clock_ms: int, limit_s: float | None) -> bool:
    return limit_s is not None and abs(_time_of(frame) - clock_ms) > limit_s * 1000
