"""Adapters on the virtual radio for programs of other processes: whoever connects to a local socket gets a controller.

On the socket is HCI over H4, as on a UART. The controller appears with the connection and goes with it. The socket is
for its owner alone; what comes over it is nevertheless believed in nothing, and bounded.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bumble.transport.common import PacketParser

from .controller import RadioController
from .radio import Radio

logger = logging.getLogger(__name__)

MAX_COMPUTERS = 8
MAX_UNREAD = 1 << 20
"""Bytes kept for a program that does not read; one that lets more pile up is cut off."""

_SOCKET = ".hci"
_MAX_LINKS = 8


class HciServer:
    """Gives out adapters on `radio`. place(name), if any, is told of each new node, to put it on the map."""

    def __init__(self, radio: Radio, place: Callable[[str], None] | None = None) -> None:
        self.radio = radio
        self.place = place
        self.computers: dict[int, _Computer] = {}
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def open(self, directory: Path) -> Path:
        """Serve from now on; returns the socket, which is in `directory` and goes with close()."""
        path = directory / _SOCKET
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Computer(self), path)
        path.chmod(0o600)
        self._path = path
        return path

    async def close(self) -> None:
        """Stop serving and hang up."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for computer in list(self.computers.values()):
            computer.hang_up()
        await server.wait_closed()
        if self._path:
            self._path.unlink(missing_ok=True)


class _Computer(asyncio.Protocol):
    def __init__(self, server: HciServer) -> None:
        self._server = server
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._controller: RadioController | None = None
        self._parser = PacketParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        taken = self._server.computers
        if len(taken) >= MAX_COMPUTERS:
            transport.abort()
            return
        self._number = next(n for n in range(1, MAX_COMPUTERS + 1) if n not in taken)
        taken[self._number] = self
        name = f"computer{self._number}"
        radio = self._server.radio
        self._controller = radio.add(name, f"F0:F1:F2:F3:F5:{self._number:02X}", max_links=_MAX_LINKS)
        if self._server.place:
            self._server.place(name)
        self._controller.set_packet_sink(_Wire(self))

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except ValueError:  # no packet begins like this
            self.hang_up()

    def on_packet(self, packet: bytes) -> None:
        """A packet from the program for its controller."""
        if self._controller is None:
            return
        try:
            self._controller.on_packet(packet)
        except Exception:
            # A foreign program: whatever it sends must not stop the radio.
            logger.debug("bad HCI packet from computer %d", self._number, exc_info=True)
            self.hang_up()

    def send(self, packet: bytes) -> None:
        """A packet from the controller for the program."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            self.hang_up()
        else:
            self._transport.write(packet)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    def _leave(self) -> None:
        if self._controller is not None:
            controller, self._controller = self._controller, None
            controller.set_packet_sink(None)
            self._server.radio.remove(controller.name)
            del self._server.computers[self._number]


class _Wire:
    def __init__(self, computer: _Computer) -> None:
        self.on_packet = computer.send
