"""Makes the frames real phones send, with real keys and signatures (bitchat protocol, sections 2 and 3)."""

import random
import time
from collections.abc import Callable
from enum import StrEnum

from shared_protocol import fragment
from shared_protocol.frame import (
    BROADCAST,
    MAX_TTL,
    TYPE_FILE,
    TYPE_FRAGMENT,
    TYPE_MESSAGE,
    TYPE_NOISE_ENCRYPTED,
    TYPE_NOISE_HANDSHAKE,
    encode,
    pad,
)

from .phone_identity import PhoneIdentity

# Types no app has a name for; relays forward them all the same (design section 3).
UNKNOWN_TYPES = (0x7F, 0xB5)
# What iOS cuts files into: a directed fragment is then 512 bytes (section 3.3).
FRAGMENT_DATA = 469
FILE_SIZE = 4096

_TEXTS = (
    "meet at the north gate",
    "water is next to the stage",
    "who has a charger?",
    "back in ten minutes \N{WAVING HAND SIGN}",
    "thanks!",
)
_DIRECTED_OVERHEAD = 14 + 8 + 8
# Lengths of a Noise frame before padding: each bucket that fits one value, and the gaps in which nothing is added
# (section 2.7).
_NOISE_LENGTHS = (range(62, 241), range(241, 257), range(257, 497), range(497, 513))
# A Noise XX handshake's three messages (section 2.9).
_HANDSHAKE_SIZES = (32, 96, 64)


class Kind(StrEnum):
    """What a phone sends."""

    PUBLIC = "public"
    DIRECTED = "directed"
    NOISE = "noise"
    ROUTED = "routed"
    FILE = "file"
    UNKNOWN = "unknown"
    ANNOUNCE = "announce"


class FrameMaker:
    """Frames of one phone, all different, none longer than 512 bytes; what is random in them comes from `rng`.

    clock_ms is what the phone takes the time to be; the right one if none is given.
    """

    def __init__(
        self,
        author: PhoneIdentity,
        rng: random.Random,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._author = author
        self._random = rng
        self._clock_ms = clock_ms
        self._last_ms = 0
        self._turn: dict[Kind, int] = {}

    def make(self, kind: Kind, recipient: bytes, ttl: int = MAX_TTL) -> list[bytes]:
        """The frames of one thing sent: several for a file, else one. recipient: 8 bytes, for what is directed."""
        match kind:
            case Kind.PUBLIC:
                return [self._public(ttl)]
            case Kind.DIRECTED:
                payload = self._random.randbytes(self._random.randint(40, 400))
                return [
                    encode(TYPE_NOISE_ENCRYPTED, ttl, self._now(), self._author.peer_id, payload, recipient=recipient)
                ]
            case Kind.NOISE:
                return [self._noise(recipient, ttl)]
            case Kind.ROUTED:
                return [self._routed(recipient, ttl)]
            case Kind.FILE:
                return self._file(recipient, ttl)
            case Kind.UNKNOWN:
                unknown = UNKNOWN_TYPES[self._next(kind) % len(UNKNOWN_TYPES)]
                payload = self._random.randbytes(self._random.randint(1, 300))
                return [encode(unknown, ttl, self._now(), self._author.peer_id, payload)]
            case Kind.ANNOUNCE:
                return [self._author.announce(self._now())]

    def _public(self, ttl: int) -> bytes:
        text = " ".join(self._random.choices(_TEXTS, k=self._random.randint(1, 10))).encode()
        # iOS leaves the recipient out, Android writes eight FF (section 2.3).
        recipient = BROADCAST if self._next(Kind.PUBLIC) % 2 else None
        return self._author.signed(
            encode(TYPE_MESSAGE, ttl, self._now(), self._author.peer_id, text, recipient=recipient)
        )

    def _noise(self, recipient: bytes, ttl: int) -> bytes:
        turn = self._next(Kind.NOISE)
        if turn % 5 == 4:
            size = _HANDSHAKE_SIZES[turn // 5 % 3]
            kind = TYPE_NOISE_HANDSHAKE
        else:
            size = self._random.choice(_NOISE_LENGTHS[turn % 5]) - _DIRECTED_OVERHEAD
            kind = TYPE_NOISE_ENCRYPTED
        payload = self._random.randbytes(size)
        return pad(encode(kind, ttl, self._now(), self._author.peer_id, payload, recipient=recipient))

    def _routed(self, recipient: bytes, ttl: int) -> bytes:
        route = [self._random.randbytes(8) for _ in range(self._random.randint(1, 4))]
        payload = self._random.randbytes(self._random.randint(40, 300))
        frame = encode(
            TYPE_NOISE_ENCRYPTED,
            ttl,
            self._now(),
            self._author.peer_id,
            payload,
            version=2,
            recipient=recipient,
            route=route,
        )
        return self._author.signed(frame)

    def _file(self, recipient: bytes, ttl: int) -> list[bytes]:
        now = self._now()
        name, content = b"picture.jpg", self._random.randbytes(FILE_SIZE)
        payload = b"".join(
            (
                b"\x01" + len(name).to_bytes(2, "big") + name,
                b"\x02\x00\x04" + len(content).to_bytes(4, "big"),
                b"\x03\x00\x0aimage/jpeg",
                b"\x04" + len(content).to_bytes(4, "big") + content,
            )
        )
        whole = self._author.signed(
            encode(TYPE_FILE, ttl, now, self._author.peer_id, payload, version=2, recipient=recipient)
        )
        stream = self._random.randbytes(8)
        slices = [whole[at : at + FRAGMENT_DATA] for at in range(0, len(whole), FRAGMENT_DATA)]
        return [
            encode(
                TYPE_FRAGMENT,
                ttl,
                now,
                self._author.peer_id,
                fragment.make(stream, index, len(slices), TYPE_FILE, data),
                recipient=recipient,
            )
            for index, data in enumerate(slices)
        ]

    def _now(self) -> int:
        # Phones send one frame per millisecond at most; together with sender and type that is what tells frames apart.
        self._last_ms = max(self._last_ms + 1, self._clock_ms())
        return self._last_ms

    def _next(self, kind: Kind) -> int:
        turn = self._turn.get(kind, 0)
        self._turn[kind] = turn + 1
        return turn
