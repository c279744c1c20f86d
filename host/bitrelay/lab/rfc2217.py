"""A board's serial port on TCP (RFC 2217), with the modem lines that reach its reset and boot pins."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import serial.rfc2217 as telnet

# What a client that does not read leaves waiting; beyond it the oldest is lost, as in the buffer of a USB adapter.
MAX_WAITING = 1 << 16
_MAX_SUBOPTION = 64
_IAC = b"\xff"
_HOST = "127.0.0.1"
# How long a client that was turned away may take to notice.
_PATIENCE_S = 10.0
# What a UART makes of bits that come too fast.
_GARBLED = bytes(byte ^ 0x5A for byte in range(256))


class ModemLines:
    """The circuit on a dev board: EN is low iff RTS and not DTR; the boot pin is low iff DTR and not RTS.

    esptool's way into the bootloader passes a state with both lines set, which on a board is too short for the
    capacitor on EN to notice and over TCP is not. So EN, once low, rises only when RTS goes, and the boot pin is read
    then.
    """

    def __init__(
        self, hold: Callable[[], None] = lambda: None, release: Callable[[bool], None] = lambda low: None
    ) -> None:
        self._hold = hold
        self._release = release
        self._held = False
        self.dtr = False
        self.rts = False

    def set(self, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Move one line or both: hold() when the chip goes into reset, release(boot pin low) when it leaves it."""
        self.dtr = self.dtr if dtr is None else dtr
        self.rts = self.rts if rts is None else rts
        if self.rts and not self.dtr:
            if not self._held:
                self._held = True
                self._hold()
        elif self._held and not self.rts:
            self._held = False
            self._release(self.dtr)

    def let_go(self) -> None:
        """Both lines as an adapter leaves them when its port is closed; a chip held in reset starts."""
        if self._held:
            self._held = False
            self._release(False)
        self.dtr = self.rts = False


class Rfc2217Server:
    """Serves one client at a time on 127.0.0.1; a second one is turned away, as a busy port does.

    What a client sends at more than max_baud (bits per second; 0: no limit) reaches on_input garbled.
    """

    def __init__(self, lines: ModemLines, on_input: Callable[[bytes], None], max_baud: int = 0) -> None:
        self.lines = lines
        self.on_input = on_input
        self.max_baud = max_baud
        self.client: _Client | None = None
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._turned_away: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._port = 0

    async def open(self) -> str:
        """Start listening, on the same port as before if there was one; returns the rfc2217:// URL."""
        if self._server is None:
            listening, self._reserved = self._reserved or self._bind(), None
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Client(self), sock=listening)
        return f"rfc2217://{_HOST}:{self._port}"

    def write(self, data: bytes) -> None:
        """Send what the board printed, if somebody is there to read it."""
        if self.client:
            self.client.write(data)

    def close(self, for_good: bool = True) -> None:
        """Stop listening and drop the client. If not for good, nobody else gets the port."""
        if self._server:
            self._server.close()
            self._server = None
            if not for_good:
                self._reserved = self._bind()
        if for_good and self._reserved:
            self._reserved.close()
            self._reserved = None
        client, self.client = self.client, None
        if client:
            client.drop()
            self.lines.let_go()
        for transport in list(self._turned_away):
            self._forget(transport)

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Tell a client that the port is taken: nothing comes from it, as from a line nobody listens on."""
        # Closed on our side only: a client that still writes would take a closed connection for a broken pipe.
        transport.write_eof()
        self._turned_away[transport] = asyncio.get_running_loop().call_later(_PATIENCE_S, self._forget, transport)

    def _forget(self, transport: asyncio.Transport) -> None:
        self._turned_away.pop(transport).cancel()
        transport.abort()

    def _bind(self) -> socket.socket:
        # Bound and not listening, a port refuses whoever calls, and stays ours.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((_HOST, self._port))
        self._port = bound.getsockname()[1]
        return bound


class _Client(asyncio.Protocol):
    def __init__(self, server: Rfc2217Server) -> None:
        self._server = server
        self._waiting = bytearray()
        self._paused = False
        self._manager: _PortManager | None = None
        self._settings: _SerialSettings
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._server.client is not None:
            self._server.turn_away(transport)
            return
        self._server.client = self
        transport.set_write_buffer_limits(high=MAX_WAITING)
        self._settings = _SerialSettings(self._server.lines)
        self._manager = _PortManager(self._settings, transport)

    def data_received(self, data: bytes) -> None:
        if self._manager is None:
            return
        try:
            for chunk in self._manager.filter(data):
                too_fast = 0 < self._server.max_baud < self._settings.baudrate
                self._server.on_input(chunk.translate(_GARBLED) if too_fast else chunk)
        except (ValueError, TypeError, KeyError, struct.error):
            self.drop()  # no client of RFC 2217 talks like that

    def connection_lost(self, error: Exception | None) -> None:
        if self._server.client is self:
            self._server.client = None
            self._server.lines.let_go()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        waiting, self._waiting = bytes(self._waiting), bytearray()
        self.write(waiting)

    def write(self, data: bytes) -> None:
        if self._paused:
            self._waiting += data
            del self._waiting[:-MAX_WAITING]
        elif data:
            self._transport.write(data.replace(_IAC, _IAC + _IAC))

    def drop(self) -> None:
        self._transport.abort()


class _SerialSettings:
    # What PortManager wants of a port of pyserial: settings that mean nothing here, and the two lines that do.
    baudrate, bytesize, parity, stopbits = 115200, 8, "N", 1
    xonxoff = rtscts = break_condition = ri = False
    cts = dsr = cd = True

    def __init__(self, lines: ModemLines) -> None:
        self._lines = lines

    @property
    def dtr(self) -> bool:
        return self._lines.dtr

    @dtr.setter
    def dtr(self, on: bool) -> None:
        self._lines.set(dtr=on)

    @property
    def rts(self) -> bool:
        return self._lines.rts

    @rts.setter
    def rts(self, on: bool) -> None:
        self._lines.set(rts=on)

    def reset_input_buffer(self) -> None:
        """Nothing waits on this side."""

    def reset_output_buffer(self) -> None:
        """Nothing waits on this side."""


class _PortManager(telnet.PortManager):  # type: ignore[misc]
    mode: Any
    suboption: Any

    def filter(self, data: bytes) -> Iterator[bytes]:
        """Take the telnet commands out. pyserial's own does it byte by byte, and lets a suboption grow without end."""
        out = bytearray()
        while data:
            plain = self.mode == telnet.M_NORMAL and self.suboption is None
            at = data.find(_IAC) if plain else 0
            if at != 0:
                out += data if at < 0 else data[:at]
                data = b"" if at < 0 else data[at:]
            elif plain and data.startswith(_IAC + _IAC):
                out += _IAC
                data = data[2:]
            else:
                # Data before a command stays before it: a purge or a reset must not overtake it.
                if out:
                    yield bytes(out)
                    out.clear()
                for byte in super().filter(data[:1]):
                    out += byte
                if self.suboption is not None and len(self.suboption) > _MAX_SUBOPTION:
                    raise ValueError("endless suboption")
                data = data[1:]
        if out:
            yield bytes(out)
