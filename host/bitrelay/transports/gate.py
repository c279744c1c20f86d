"""Where a policy says who may connect: asked by every transport, written elsewhere."""

from typing import Protocol

from ..identity.proof import PowIdentity
from .address import Address


class Gate(Protocol):
    """Any of these may be called at any time; none may wait."""

    def admit(self, address: Address) -> None:
        """Before anything is kept or computed for an inbound connection. Raises LimitReached.

        Over datagrams, the far end has shown by then that it receives at this address.
        """
        ...

    def known(self, peer: PowIdentity, address: Address, inbound: bool) -> None:
        """A handshake succeeded, and the connection is not yet kept. Raises LimitReached."""
        ...

    def left(self, address: Address) -> None:
        """Once for every admit that did not raise: that connection, or attempt, has ended."""
        ...


class OpenGate:
    """Lets everybody in."""

    def admit(self, address: Address) -> None:
        pass

    def known(self, peer: PowIdentity, address: Address, inbound: bool) -> None:
        pass

    def left(self, address: Address) -> None:
        pass
