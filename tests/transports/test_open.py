"""From an address to its transport."""

import pytest

from bitrelay.errors import WrongAddress
from bitrelay.transports.address import Address, parse
from bitrelay.transports.open import transport_for
from bitrelay.transports.quic import QuicTransport
from bitrelay.transports.secure_transport import SecureTransport
from bitrelay.transports.tcp import TcpTransport
from bitrelay.transports.udp import UdpTransport
from bitrelay.transports.websocket import WebSocketTransport
from tests.transports.ends import identity


@pytest.mark.requirement("TRN-04", "TRN-08")
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("tcp://localhost:1", TcpTransport),
        ("udp://localhost:1", UdpTransport),
        ("ws://localhost:1", WebSocketTransport),
        ("wss://localhost:1/mesh", WebSocketTransport),
        ("quic://localhost:1", QuicTransport),
    ],
)
async def test_each_kind_of_address_has_its_transport(address: str, kind: type[SecureTransport]) -> None:
    transport = transport_for(parse(address), lambda: identity(1))
    assert type(transport) is kind and isinstance(parse(address), transport.accepts)
    await transport.close()


@pytest.mark.requirement("TRN-08")
@pytest.mark.parametrize("address", ["ble://AA:BB:CC:DD:EE:FF", "serial:///dev/ttyUSB0", f"mesh://{'00' * 32}"])
async def test_others_are_refused(address: str) -> None:
    parsed: Address = parse(address)
    with pytest.raises(WrongAddress):
        transport_for(parsed, lambda: identity(1))
