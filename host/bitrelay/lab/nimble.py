"""The NimBLE host of one virtual board: what its interpreter's `bluetooth` module talks to.

It stands between a controller of the virtual radio and the board's process, which is at the other end of a local
socket. The process may die and another come: each finds a Bluetooth that was just switched on, and the peers of the one
that died find out by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from pathlib import Path

from bitrelay.lab.controller import RadioController
from bitrelay.lab.nimble_link import Link
from bitrelay.lab.nimble_protocol import REPLY, Call, MessageReader, pack
from bitrelay.lab.nimble_stack import NimbleStack

logger = logging.getLogger(__name__)

_SUCCESS = struct.pack("<h", 0)


class BoardSocket(asyncio.Protocol):
    """The board's end of the socket, one interpreter at a time."""

    def __init__(self, host: NimbleHost) -> None:
        self._host = host
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host.on_board(self)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, body in self._reader.feed(data):
                self._host.on_message(self, kind, body)
        except ValueError as error:
            logger.warning("a board sent nonsense: %s", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.on_board_gone(self)

    def send(self, kind: int, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(pack(kind, body))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class NimbleHost:
    """Serves one board. `max_links` is NimBLE's own limit (4 in MicroPython's build for ESP32)."""

    def __init__(self, controller: RadioController, max_links: int = 4) -> None:
        self._controller = controller
        self._max_links = max_links
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._board: BoardSocket | None = None
        self._stack: NimbleStack | None = None
        self._switching: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        controller.first_handle = 0

    @property
    def links(self) -> dict[int, Link]:
        """The board's connections now, by handle."""
        return self._stack.links if self._stack is not None else {}

    async def serve(self, socket_path: str | os.PathLike[str]) -> None:
        """Wait for the board's interpreter on an AF_UNIX socket."""
        self._path = Path(socket_path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: BoardSocket(self), str(self._path))

    async def close(self) -> None:
        """End everything. The node stays on the air without a host, silent, until the radio removes it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        board, self._board = self._board, None
        if board is not None:
            board.close()
        self._drop_stack()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def on_board(self, board: BoardSocket) -> None:
        """An interpreter connected. If one was there before, it is over."""
        if self._board is not None:
            self._board.close()
        self._drop_stack()
        self._board = board
        self._start_stack(is_active=False)

    def on_board_gone(self, board: BoardSocket) -> None:
        """The interpreter died: the radio falls silent at once."""
        if board is self._board:
            self._board = None
            self._drop_stack()

    def on_message(self, board: BoardSocket, kind: int, body: bytes) -> None:
        if board is not self._board or self._stack is None:
            return
        if kind == Call.ACTIVE:
            self._switch(body[:1] == b"\x01")
        else:
            self._stack.on_message(kind, body)

    def _start_stack(self, is_active: bool) -> None:
        assert self._board is not None
        self._stack = NimbleStack(self._controller, self._max_links, self._board.send, is_active)

    def _drop_stack(self) -> None:
        if self._switching is not None:
            self._end_with(self._switching)
            self._switching.cancel()
            self._switching = None
        if self._stack is not None:
            self._end_with(self._stack.discard())
            self._stack = None

    def _end_with(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _switch(self, is_on: bool) -> None:
        # Switching on what is on begins with switching it off, as in the bindings.
        self._switching = asyncio.get_running_loop().create_task(self._restart(is_on))

    async def _restart(self, is_on: bool) -> None:
        assert self._stack is not None and self._board is not None
        await self._stack.shut_down()
        self._end_with(self._stack.discard())
        self._start_stack(is_on)
        self._switching = None
        self._board.send(REPLY, _SUCCESS)
