"""HCI over H4 on a pseudo terminal, for interpreters that bring their own Bluetooth stack (MICROPYBTUART)."""

from __future__ import annotations

import asyncio
import logging
import os
import tty
from typing import TYPE_CHECKING

from bumble.transport.common import PacketParser

if TYPE_CHECKING:
    from bitrelay.lab.controller import RadioController

logger = logging.getLogger(__name__)

READ_SIZE = 4096
MAX_UNREAD = 1 << 20
"""Bytes kept for a host that does not read; what comes after them is dropped, as by a UART without flow control."""


class HciPty:
    """A pseudo terminal whose other end is the host of `controller`. Needs a running loop; close() frees everything."""

    def __init__(self, controller: RadioController) -> None:
        self._loop = asyncio.get_running_loop()
        self._controller = controller
        self._primary, self._replica = os.openpty()
        # The replica stays open here, so that a host that comes and goes does not hang up the line.
        tty.setraw(self._replica)
        os.set_blocking(self._primary, False)
        self.path = os.ttyname(self._replica)
        self._unsent = bytearray()
        self._parser = PacketParser(controller)
        self._loop.add_reader(self._primary, self._on_readable)
        controller.host = self

    def close(self) -> None:
        """Hang up; safe to call again."""
        if self._primary < 0:
            return
        self._loop.remove_reader(self._primary)
        self._loop.remove_writer(self._primary)
        os.close(self._primary)
        os.close(self._replica)
        self._primary = self._replica = -1
        if self._controller.hci_sink is self:
            self._controller.set_packet_sink(None)

    def on_packet(self, packet: bytes) -> None:
        """A packet from the controller for the host."""
        if self._primary < 0:
            return
        if len(self._unsent) + len(packet) > MAX_UNREAD:
            logger.debug("%s: host does not read its HCI, packet dropped", self._controller.name)
            return
        self._unsent += packet
        self._flush()

    def _flush(self) -> None:
        try:
            del self._unsent[: os.write(self._primary, self._unsent)]
        except BlockingIOError:
            pass
        if self._unsent:
            self._loop.add_writer(self._primary, self._flush)
        else:
            self._loop.remove_writer(self._primary)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._primary, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except Exception:
            # The other end is a foreign program: whatever it sends must not stop the radio.
            logger.warning("%s: bad HCI packet from the host", self._controller.name, exc_info=True)
            self._parser.reset()
