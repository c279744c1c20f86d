"""Who is in the mesh: on-air ids by PeerId, from identity records that nodes broadcast (packet type 0xB1).

A record that comes with a broadcast says who is there. A packet of that type whose payload is a PeerId and nothing else
asks that peer to broadcast its record. Anybody can play back somebody's record, so an entry only says where to try: the
Noise session shows who is there.
"""

from collections import OrderedDict
from typing import Final

from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import IdentityRefused
from ..identity.keys import on_air_id_of
from ..identity.record import from_record
from .token_bucket import TokenBucket

PEER_ID_SIZE: Final = 32
CAPACITY: Final = 1024
VERIFIED_PER_MIN: Final = 120
INTRODUCE_EVERY_S: Final = 300.0
"""How often a node broadcasts its own record, give or take a tenth."""
ANSWER_AFTER_S: Final = 5.0
"""It does not do so for those who ask more often than that."""


class MeshDirectory:
    """Peers heard of; of more than CAPACITY the one heard longest ago goes. base: the least difficulty of a record."""

    def __init__(self, peer_id: bytes, base: int = DIFFICULTY_BASE) -> None:
        self._peer_id = peer_id
        self._base = base
        self._on_air_ids: OrderedDict[bytes, bytes] = OrderedDict()
        # By on-air id, of the last one who said it was his: anybody may say that.
        self._peer_ids: dict[bytes, bytes] = {}
        self._records: dict[bytes, bytes] = {}
        self._budget = TokenBucket(VERIFIED_PER_MIN, VERIFIED_PER_MIN / 60)
        self._introduced_at: float | None = None

    def __len__(self) -> int:
        return len(self._on_air_ids)

    def on_air_id(self, peer: bytes) -> bytes | None:
        """8 bytes, None for a peer that was not heard of."""
        return self._on_air_ids.get(peer)

    def peer_id(self, on_air_id: bytes) -> bytes | None:
        """The peer said to be there."""
        return self._peer_ids.get(on_air_id)

    def hear(self, sender: bytes, payload: bytes, now: float, unix_s: int) -> bool:
        """Take the payload of a packet of type 0xB1; whether it is news of somebody.

        sender: the packet's, 8 bytes. now: seconds that do not go back.
        """
        if self._records.get(sender) == payload:
            self._on_air_ids.move_to_end(self._peer_ids[sender])
            return False
        if not self._budget.consume(now):
            return False
        try:
            identity = from_record(payload, unix_s, self._base)
        except IdentityRefused:
            return False
        if on_air_id_of(identity.noise_key) != sender or identity.peer_id == self._peer_id:
            return False
        self._forget(identity.peer_id)
        self._records[sender] = payload
        self._on_air_ids[identity.peer_id] = sender
        self._peer_ids[sender] = identity.peer_id
        if len(self._on_air_ids) > CAPACITY:
            self._forget(next(iter(self._on_air_ids)))
        return True

    def is_question(self, payload: bytes) -> bool:
        """Whether a packet of type 0xB1 asks for our record."""
        return payload == self._peer_id

    def may_introduce(self, now: float) -> bool:
        """Whether our record may be broadcast now; it counts as done then."""
        if self._introduced_at is not None and now - self._introduced_at < ANSWER_AFTER_S:
            return False
        self._introduced_at = now
        return True

    def _forget(self, peer: bytes) -> None:
        sender = self._on_air_ids.pop(peer, None)
        if sender is not None and self._peer_ids.get(sender) == peer:
            del self._peer_ids[sender]
            del self._records[sender]
