"""Whose proof of work we have checked: once for each proof, and bounded (rows DHT-01, POW-07)."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import IdentityRefused
from ..identity.proof import PowIdentity
from ..identity.record import from_record
from ..transports.address import Udp

MOST_PROOFS: Final = 20_000


Verify = Callable[[bytes, Udp], PowIdentity]
"""The identity in a record that came from there. Raises IdentityRefused."""


class ProvenNodes:
    """The ids of nodes whose identity was verified, until it expires.

    base: the lowest difficulty that is accepted, in bits. clock: Unix seconds. verify: used instead of `from_record`.
    Full, it forgets the one that was asked for least recently, who then shows its record once more.
    """

    def __init__(
        self,
        base: int = DIFFICULTY_BASE,
        *,
        clock: Callable[[], float],
        verify: Verify | None = None,
        most: int = MOST_PROOFS,
    ) -> None:
        self._clock = clock
        self._verify = verify or (lambda record, source: from_record(record, int(clock()), base))
        self._most = most
        self._expiry: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expiry)

    def knows(self, node_id: bytes) -> bool:
        """Whether this node's work was checked and holds."""
        expires = self._expiry.get(node_id)
        if expires is None:
            return False
        if expires < self._clock():
            del self._expiry[node_id]
            return False
        self._expiry.move_to_end(node_id)
        return True

    def admit(self, record: bytes, node_id: bytes, source: Udp) -> PowIdentity:
        """Check a record that this node sent of itself, and remember that it holds. Raises IdentityRefused."""
        identity = self._verify(record, source)
        if identity.peer_id != node_id:
            raise IdentityRefused("the identity is another node's", reason="PEER_ID_DIFFERS")
        self._expiry[node_id] = identity.expires_at
        self._expiry.move_to_end(node_id)
        if len(self._expiry) > self._most:
            self._expiry.popitem(last=False)
        return identity
