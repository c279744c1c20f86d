"""From an address to the transport that takes it (row TRN-08)."""

from collections.abc import Callable

from ..errors import WrongAddress
from ..identity.local import LocalIdentity
from .address import Address, Quic, Tcp, Udp, WebSocket
from .gate import Gate
from .secure_transport import Limits, SecureTransport


def transport_for(
    address: Address,
    own: Callable[[], LocalIdentity],
    *,
    gate: Gate | None = None,
    limits: Limits | None = None,
) -> SecureTransport:
    """A new transport over the internet, of the kind that takes this address. Raises WrongAddress for other kinds.

    Libraries are loaded for what is asked for.
    """
    if isinstance(address, Tcp):
        from .tcp import TcpTransport

        return TcpTransport(own, gate=gate, limits=limits)
    if isinstance(address, WebSocket):
        from .websocket import WebSocketTransport

        return WebSocketTransport(own, gate=gate, limits=limits)
    if isinstance(address, Udp):
        from .udp import UdpTransport

        return UdpTransport(own, gate=gate, limits=limits)
    if isinstance(address, Quic):
        from .quic import QuicTransport

        return QuicTransport(own, gate=gate, limits=limits)
    raise WrongAddress(f"{address} is not an address of the internet")
