"""A relay's console without a relay: a thread that answers as it is told, on a pseudo-terminal or over RFC 2217."""

import os
import pty
import select
import socket
import threading
import tty
from collections.abc import Callable
from typing import Any

from serial.rfc2217 import PortManager

from shared_protocol import cobs
from shared_protocol import console as messages

Values = dict[str, Any]
Answer = Callable[["FakeRelay", int, Values], None]

INFO = {
    "name": "relay-1",
    "version": "0.1.0",
    "protocol": messages.PROTOCOL,
    "chip": "ESP32",
    "unique_id": b"\x01\x02\x03\x04\x05\x06",
    "micropython": "1.29.0",
    "address": b"\xf0\xf1\xf2\xf3\xf4\xf5",
    "uptime_s": 4000,
    "reset_cause": "power",
    "max_links": 4,
    "heap_free": 65536,
    "heap_used": 32768,
    "time_ms": 0,
}


class FakeRelay:
    """Answers INFO by itself; `answers[kind]` is called for every other request and for INFO if it is there."""

    def __init__(self) -> None:
        self.answers: dict[int, Answer] = {}
        self.requests: list[tuple[int, int, Values]] = []
        self.received = bytearray()
        self.send: Callable[[bytes], None] = lambda data: None
        self._reader = cobs.FrameReader(messages.MAX_BODY)

    def take(self, data: bytes) -> None:
        """Bytes from the host."""
        self.received += data
        for byte in data:
            length = self._reader.feed(byte)
            if length:
                message = messages.decode(bytes(self._reader.buf[:length]))
                assert message is not None
                self._answer(*message)

    def reply(self, kind: int, request_id: int, values: Values | None = None) -> None:
        """Answer a request of this kind."""
        self.say(kind | messages.ANSWER, request_id, values)

    def say(self, kind: int, request_id: int, values: Values | None = None) -> None:
        """Send any message."""
        self.send(cobs.wrap(messages.encode(kind, request_id, values)))

    def _answer(self, kind: int, request_id: int, values: Values) -> None:
        self.requests.append((kind, request_id, values))
        answer = self.answers.get(kind)
        if answer is not None:
            answer(self, request_id, values)
        elif kind == messages.INFO:
            self.reply(kind, request_id, INFO)


class PtyRelay:
    """A fake relay behind a pseudo-terminal, whose path is `port`. `vanish` is pulling the cable."""

    def __init__(self, relay: FakeRelay) -> None:
        self.relay = relay
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        relay.send = self._send
        self._vanished = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def vanish(self) -> None:
        """Take the port away; may be called by an answer."""
        if not self._vanished.is_set():
            self._vanished.set()
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Take the port away and wait for the thread."""
        self.vanish()
        self._thread.join(5)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def _serve(self) -> None:
        while not self._vanished.is_set():
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._master in ready:
                self.relay.take(os.read(self._master, 4096))
        os.close(self._slave)
        os.close(self._master)


class Rfc2217Relay:
    """A fake relay behind an RFC 2217 server on loopback. `lines` records every state of (DTR, RTS)."""

    def __init__(self, relay: FakeRelay) -> None:
        self.relay = relay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self.uart = _Uart()
        self.lines = self.uart.lines
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def vanish(self) -> None:
        """End the connection and the server."""
        _shut(self._listener)
        if self._client is not None:
            _shut(self._client)

    def close(self) -> None:
        """End everything and wait for the thread."""
        self.vanish()
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            self._client, _ = self._listener.accept()
        except OSError:
            return
        client = self._client
        manager = PortManager(self.uart, _Writer(client))
        self.relay.send = lambda data: client.sendall(b"".join(manager.escape(data)))
        while True:
            try:
                data = client.recv(4096)
            except OSError:
                data = b""
            if not data:
                break
            self.relay.take(b"".join(manager.filter(data)))
        client.close()


class _Uart:
    """As much of a serial port as PortManager asks of one."""

    name = "fake"
    cts = dsr = ri = cd = False
    baudrate, bytesize, parity, stopbits = 115200, 8, "N", 1
    rtscts = xonxoff = break_condition = False

    def __init__(self) -> None:
        self.lines: list[tuple[bool, bool]] = [(False, False)]

    @property
    def dtr(self) -> bool:
        return self.lines[-1][0]

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self.lines.append((value, self.rts))

    @property
    def rts(self) -> bool:
        return self.lines[-1][1]

    @rts.setter
    def rts(self, value: bool) -> None:
        self.lines.append((self.dtr, value))

    def reset_input_buffer(self) -> None:
        pass

    def reset_output_buffer(self) -> None:
        pass


class _Writer:
    def __init__(self, client: socket.socket) -> None:
        self.write = client.sendall


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
