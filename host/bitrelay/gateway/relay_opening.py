"""From the address of a relay to its open port: wherever USB has put it meanwhile, on whichever radio it is heard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from .. import ports
from ..ble.adapter import Adapter
from ..ble.clock import SystemClock
from ..ble.session import LocalNode
from ..ble.survey import lab_adapter
from ..errors import BitrelayError, NoBluetooth, NoDevice
from ..transports.address import Bluetooth, Serial
from ..transports.relay_port import BlePort, ConsolePort, RelayPort
from .relay_link import PortLink

_FIND_S = 10.0


def relay_link(address: Serial | Bluetooth, node: Callable[[], LocalNode]) -> PortLink:
    """A link with the relay at this address, not started yet. node: who we are on the air."""
    if isinstance(address, Serial):
        return PortLink(address.port, SerialOpening(address).opened)
    return PortLink(str(address), partial(_opened_by_bluetooth, address, node))


class SerialOpening:
    """The way to one relay on a cable, or to a board of a running lab by its name."""

    def __init__(self, address: Serial) -> None:
        self._address = address
        self._serial_number = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RelayPort]:
        """Its open port. Raises what ConsolePort.open does."""
        where = await asyncio.to_thread(self._where)
        port = await ConsolePort.open(Serial(where))
        try:
            self._serial_number = await asyncio.to_thread(_serial_number, where)
            yield port
        finally:
            await port.close()

    def _where(self) -> str:
        # A chip with USB of its own may be elsewhere than it was before it was unplugged.
        return ports.usb_port_now(ports.choose_port(self._address.port), self._serial_number)


def _serial_number(port: str) -> str:
    return next((each.serial_number for each in ports.usb_ports() if each.port == port), "")


@asynccontextmanager
async def _opened_by_bluetooth(address: Bluetooth, node: Callable[[], LocalNode]) -> AsyncIterator[RelayPort]:
    # On this computer's radio, else on that of a running lab. Raises what BlePort.open does.
    radios = await asyncio.to_thread(ports.virtual_radios)
    ways: list[Callable[[], AbstractAsyncContextManager[Adapter]]] = [_own_adapter]
    ways += [partial(lab_adapter, radio) for radio in radios]
    first: BitrelayError | None = None
    for way in ways:
        async with AsyncExitStack() as stack:
            try:
                adapter = await stack.enter_async_context(way())
                port = await BlePort.open(address, adapter, node(), SystemClock(), _FIND_S, anonymous=True)
            except (NoBluetooth, NoDevice) as error:
                first = first or error
                continue
            stack.push_async_callback(port.close)
            yield port
            return
    assert first is not None
    raise first


@asynccontextmanager
async def _own_adapter() -> AsyncIterator[Adapter]:
    yield Adapter()
