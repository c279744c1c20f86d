"""A computer on the virtual radio: a Bumble host behind bleak's abstract classes.

Host code runs on plain bleak and gets `scanner` and `client` as its backends; all that is not the radio itself is
bleak's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner
from bleak.exc import BleakError
from bumble import hci
from bumble.device import Device
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink, TransportLostError
from bumble.transport.unix import open_unix_client_transport

from bitrelay.errors import NoBluetooth

from .bleak_client import VirtualClient
from .bleak_scanner import VirtualScanner
from .controller import RadioController


class VirtualAdapter:
    """What `BleakScanner(backend=...)` and `BleakClient(backend=...)` take, for one adapter that is switched on."""

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        # The controller's own address: whoever gave it out knows that nobody else has it.
        self.device: Any = Device(name, host=host)
        self.device.connect_own_address_type = hci.OwnAddressType.PUBLIC
        self.dialling = asyncio.Lock()
        self.is_lost = False
        self.clients: set[VirtualClient] = set()
        # bleak makes the instances: that they are this adapter's must lie in the class.
        self.scanner: type[BaseBleakScanner] = type("VirtualScanner", (VirtualScanner,), {"adapter": self})
        self.client: type[BaseBleakClient] = type("VirtualClient", (VirtualClient,), {"adapter": self})

    async def power_on(self) -> None:
        """Get ready. Raises what Bumble does."""
        await self.device.power_on()
        self.device.on("flush", self._lost)

    def demand(self) -> None:
        """Raise BleakError if the adapter has gone: a command to it would wait for ever."""
        if self.is_lost:
            raise BleakError("the adapter has gone")

    def _lost(self) -> None:
        self.is_lost = True
        self.device.scanning = False

    async def close(self) -> None:
        """Hang up what is still connected: all at once, since each may have to wait for a radio that is silent."""
        await asyncio.gather(*(client.disconnect() for client in list(self.clients)))


@asynccontextmanager
async def adapter_of(controller: RadioController) -> AsyncIterator[VirtualAdapter]:
    """An adapter in this process, on a controller of its radio."""
    adapter = VirtualAdapter(controller.name, Host(controller, AsyncPipeSink(controller)))
    await adapter.power_on()
    try:
        yield adapter
    finally:
        await adapter.close()
        controller.power_off()
        controller.set_packet_sink(None)


@asynccontextmanager
async def adapter_at(socket: Path, name: str, timeout: float = 10.0) -> AsyncIterator[VirtualAdapter]:
    """An adapter on the radio of a lab in another process, whose HCI is at a local socket. Raises NoBluetooth."""
    try:
        transport = await open_unix_client_transport(str(socket))
    except OSError as error:
        raise NoBluetooth(f"the lab's radio does not answer: {error.strerror}", device=name) from error
    # Bumble logs with a traceback what it raises as well.
    log = logging.getLogger("bumble.host")
    log.addFilter(_without_traceback)
    try:
        adapter = VirtualAdapter(name, Host(transport.source, transport.sink))
        try:
            async with asyncio.timeout(timeout):
                await adapter.power_on()
        except TransportLostError:
            raise NoBluetooth("the lab's radio has no room for another computer", device=name) from None
        except TimeoutError:
            raise NoBluetooth(
                "the lab's radio does not answer", device=name, hint="End the lab and start it again"
            ) from None
        try:
            yield adapter
        finally:
            await adapter.close()
    finally:
        log.removeFilter(_without_traceback)
        await transport.close()


def _without_traceback(record: logging.LogRecord) -> bool:
    return record.exc_info is None
