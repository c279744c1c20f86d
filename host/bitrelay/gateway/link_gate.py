"""Whom a gateway links with: trusted ones, those that its operator named, and others if it is open to them."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from ..errors import LimitReached
from ..identity.proof import PowIdentity
from ..transports.address import Address
from ..transports.gate import Gate
from .config import FederationConfig

_log = logging.getLogger(__name__)

NOT_TRUSTED = "not trusted"
MOST_NAMED: Final = 8
"""Of those that are not trusted, the last ones."""


class LinkGate:
    """The gate of the transports, which sees to who comes; the one behind it, to whether there is room.

    own: our PeerId. behind: has the gate that counts connections. refused: by reason.
    untrusted: the last that were hung up on for want of trust, by PeerId, and where they were.
    """

    def __init__(self, own: bytes, config: FederationConfig, behind: Callable[[], Gate]) -> None:
        self.refused: Counter[str] = Counter()
        self.untrusted: OrderedDict[bytes, Address] = OrderedDict()
        self._own = own
        self._is_open = config.is_open
        self.configure(config)
        self._named = {peer.address for peer in config.peers if peer.peer_id is None}
        # Who was there when an address was dialled that was named without a PeerId.
        self._found: dict[Address, bytes] = {}
        self._behind = behind

    def configure(self, config: FederationConfig) -> None:
        """Go on with other trust."""
        self._trusted = config.trust | {peer.peer_id for peer in config.peers if peer.peer_id is not None}
        for peer_id in self._trusted:
            self.untrusted.pop(peer_id, None)

    def trusts(self, peer_id: bytes) -> bool:
        """Whether our operator trusts it: by its PeerId, or by an address at which it has answered."""
        return peer_id in self._trusted or peer_id in self._found.values()

    def welcomes(self, peer_id: bytes) -> bool:
        """Whether it may link with us."""
        return peer_id != self._own and (self._is_open or self.trusts(peer_id))

    def found(self, peer_id: bytes, address: Address) -> None:
        """It has answered, and proved itself, where we dialled."""
        if address in self._named and peer_id != self._own and self._found.get(address) != peer_id:
            self._found[address] = peer_id
            _log.info("The gateway at %s is %s, and trusted from now on", address, peer_id.hex())

    def admit(self, address: Address) -> None:
        self._behind().admit(address)

    def known(self, peer: PowIdentity, address: Address, inbound: bool) -> None:
        peer_id = peer.peer_id
        if not inbound:
            self.found(peer_id, address)
        if not self.welcomes(peer_id):
            self.refused[NOT_TRUSTED] += 1
            self.untrusted[peer_id] = address
            self.untrusted.move_to_end(peer_id)
            if len(self.untrusted) > MOST_NAMED:
                self.untrusted.popitem(last=False)
            error = LimitReached(
                f"the gateway {peer_id.hex()} is not trusted, and was hung up on",
                limit=NOT_TRUSTED,
                device=str(address),
                hint="If it shall link with this one, add its PeerId to [federation] trust",
            )
            _log.info("%s", error)
            raise error
        self._behind().known(peer, address, inbound)

    def left(self, address: Address) -> None:
        self._behind().left(address)
