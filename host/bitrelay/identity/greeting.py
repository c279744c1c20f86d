"""The exchange of hellos on a link: which version of the protocol its two ends speak, and what may be sent on it.

No I/O and no clock: frames and times come in, frames and terms come out, so that any kind of link can use it. Both ends
send their hello as soon as the link is up; neither waits for the other's. Until the terms are known, what every version
has may be sent; who never says hello within the deadline is taken for a peer of the first version.
"""

from dataclasses import dataclass
from typing import Any, Final

from shared_protocol import frame, hello, versions

from ..errors import IncompatiblePeer

TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Terms:
    """What is agreed with the peer at the other end of a link.

    version: the lower one of both; features: bits of `shared_protocol.versions`; mode: FULL, LIMITED, LEGACY or
    INCOMPATIBLE. What the peer said of itself is claimed, not proven: on_air_id 8 bytes, peer_id 32 bytes, both None if
    it did not say; remote: its own version, None if it never said hello.
    """

    version: tuple[int, int, int]
    features: int
    mode: int
    remote: tuple[int, int, int] | None = None
    on_air_id: bytes | None = None
    peer_id: bytes | None = None
    capabilities: int | None = None

    def allow(self, sent: bytes) -> bool:
        """Whether a frame of ours may go to this peer (`versions.may_send`). What is no frame may not."""
        header = frame.Header()
        return header.parse(sent, len(sent)) > 0 and versions.may_send(header.type, self.features)

    def demand_compatible(self) -> None:
        """Raises IncompatiblePeer if nothing can be said to this peer."""
        if self.mode == versions.INCOMPATIBLE and self.remote is not None:
            raise IncompatiblePeer(
                f"it speaks version {versions.text(self.remote)} of the protocol",
                device=self.on_air_id.hex() if self.on_air_id else None,
                hint="The older one of the two needs an update.",
            )


UNKNOWN: Final = Terms(*versions.LEGACY_TERMS)
"""The terms with a peer that has not said hello: those of every version."""


class Greeting:
    """One end's part in the exchange, for the life of one link.

    The first hello counts; a peer that comes back with another version does so on a new link. One that comes after the
    deadline still counts: the peer is not of the first version then.
    """

    def __init__(
        self,
        on_air_id: bytes,
        *,
        version: tuple[int, int, int] = versions.CURRENT,
        minimum: tuple[int, int, int] = versions.MINIMUM,
        features: int | None = None,
        peer_id: bytes | None = None,
        capabilities: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """on_air_id: 8 bytes. Version 1.0.0 says no more than versions and features; later ones say who they are."""
        self.on_air_id = on_air_id
        self.refused = 0
        """Hellos that were none, or not this peer's."""
        said: dict[str, Any] = {}
        if version > versions.BASE:
            said = {"on_air_id": on_air_id, "peer_id": peer_id, "capabilities": capabilities}
        self._payload = hello.encode(version, minimum, features, **said)
        self._timeout_s = timeout_s
        self._deadline: float | None = None
        self._terms: Terms | None = None
        self._remote_payload = b""

    def __repr__(self) -> str:
        return f"<Greeting {self.on_air_id.hex()} {self._terms}>"

    @property
    def terms(self) -> Terms:
        """What holds now."""
        return self._terms or UNKNOWN

    @property
    def settled(self) -> bool:
        """The peer said hello, or had its time to."""
        return self._terms is not None

    @property
    def deadline(self) -> float | None:
        """When to call expire(), on the clock of start(); None if there is nothing to wait for."""
        return None if self.settled else self._deadline

    def start(self, now: float, now_ms: int) -> bytes:
        """The frame to send first. now: seconds of any clock; now_ms: Unix milliseconds, for the frame."""
        self._deadline = now + self._timeout_s
        return frame.encode(frame.TYPE_HELLO, hello.TTL, now_ms, self.on_air_id, self._payload)

    def on_frame(self, received: bytes) -> Terms | None:
        """The terms, if this frame is the hello that makes them; None for every other frame, and for any bytes.

        A hello with another TTL than a hello's comes from further away than this link's other end, and one in a
        version 2 packet is a beacon for everybody.
        """
        header = frame.Header()
        if header.parse(received, len(received)) < 0 or header.type != frame.TYPE_HELLO:
            return None
        sender = received[header.sender_at : header.sender_at + frame.ID_SIZE]
        payload = received[header.payload_at : header.payload_at + header.payload_len]
        said: dict[str, Any] | None = hello.parse(payload)
        foreign = header.version != 1 or header.ttl != hello.TTL or sender == self.on_air_id or header.original_size
        if said is None or foreign or said.get("on_air_id", sender) != sender:
            self.refused += 1
            return None
        if self._terms is not None and self._terms.remote is not None:
            return None
        self._remote_payload = payload
        self._terms = Terms(
            *hello.agree(self._payload, payload),
            remote=said["version"],
            on_air_id=sender,
            peer_id=said.get("peer_id"),
            capabilities=said.get("capabilities"),
        )
        return self._terms

    def expire(self, now: float) -> Terms | None:
        """The terms with a peer that did not say hello, once its time is over; None before, and if it did."""
        if self.settled or self._deadline is None or now < self._deadline:
            return None
        self._terms = UNKNOWN
        return self._terms

    def prologue(self) -> bytes:
        """For a Noise handshake on this link: both hellos as they were sent and as they came, the lower id's first.

        With it nobody in between can talk two peers into an older version, or out of their hellos.
        """
        said = [(self.on_air_id, self._payload)]
        if self._terms is not None and self._terms.on_air_id is not None:
            said.append((self._terms.on_air_id, self._remote_payload))
        return b"bitrelay hellos" + b"".join(bytes((len(payload),)) + payload for _, payload in sorted(said))
