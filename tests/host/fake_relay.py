"""A relay's console without a relay: a thread that answers as it is told, on a pseudo-terminal or over RFC 2217."""

import json
import os
import pty
import select
import socket
import threading
import tty
import zlib
from collections.abc import Callable
from typing import Any

from serial.rfc2217 import PortManager

from shared_protocol import cobs
from shared_protocol import console as messages
from shared_protocol import settings as table

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


class SettingsRelay(FakeRelay):
    """A fake relay with settings and files: those stored, those in force since its start, and a trial, without time.

    on_restart is called instead of restarting at once, if it is there; it may call `start`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files = {"settings": b"", "identity": b"BRI1" + bytes(range(64)) + b"\0\0\0\0"}
        self.files["identity"] = self.files["identity"][:68] + zlib.crc32(self.files["identity"][:68]).to_bytes(
            4, "big"
        )
        self.in_force: Values = {}
        self.trial_min: int | None = None
        self.before = b""
        self.uptime_s = 4000
        self.starts = 0
        self.on_restart: Callable[[], None] = self.start
        self._taken = bytearray()
        self.answers |= {
            messages.INFO: SettingsRelay._info,
            messages.GET: SettingsRelay._get,
            messages.SET: SettingsRelay._set,
            messages.EXPORT: SettingsRelay._export,
            messages.IMPORT: SettingsRelay._import,
            messages.CONFIRM: SettingsRelay._confirm,
            messages.REBOOT: SettingsRelay._reboot,
        }

    @property
    def stored(self) -> Values:
        """The settings in its file, none if it is damaged."""
        try:
            return table.decode_file(self.files["settings"])
        except ValueError:
            return {}

    def start(self) -> None:
        """Start anew with what is stored."""
        self.in_force = self.stored
        self.uptime_s = 0
        self.starts += 1

    def revert(self) -> None:
        """Go back to the settings before the trial."""
        self.files["settings"], self.trial_min = self.before, None
        self.start()

    def _state(self) -> Values:
        trial = {} if self.trial_min is None else {"trial_s": self.trial_min * 60}
        return {"restart": self.stored != self.in_force} | trial

    def _refuse(self, request_id: int, text: str) -> None:
        self.say(messages.ERROR, request_id, {"code": "refused", "text": text})

    def _store(self, data: bytes, trial_min: int | None) -> None:
        if table.cuts(self.stored, table.decode_file(data)):
            self.before = self.files["settings"]
            self.trial_min = trial_min or 10
        self.files["settings"] = data

    def _info(self, request_id: int, values: Values) -> None:
        self.reply(messages.INFO, request_id, INFO | {"uptime_s": self.uptime_s} | self._state())

    def _get(self, request_id: int, values: Values) -> None:
        now = {key: rule[0] for key, rule in table.TABLE.items()} | self.stored
        for key, value in sorted(now.items()):
            self.reply(messages.GET, request_id, {"key": key, "value": str(value)})
        self.say(messages.DONE, request_id, {"count": len(now)})

    def _set(self, request_id: int, values: Values) -> None:
        key, stored = values["key"], self.stored
        if "value" in values:
            stored[key] = table.parse(key, values["value"])
        else:
            stored.pop(key, None)
        self._store(json.dumps(stored).encode(), values.get("trial_min"))
        now = str(stored.get(key, table.TABLE[key][0]))
        self.reply(messages.SET, request_id, {"key": key, "value": now} | self._state())

    def _export(self, request_id: int, values: Values) -> None:
        data, at = self.files[values["what"]], values["offset"]
        answer = {"size": len(data), "offset": at, "data": data[at : at + messages.PIECE]}
        self.reply(messages.EXPORT, request_id, answer)

    def _import(self, request_id: int, values: Values) -> None:
        if values["offset"] == 0:
            self._taken.clear()
        assert values["offset"] == len(self._taken)
        assert len(values["data"]) <= messages.PIECE
        self._taken += values["data"]
        if len(self._taken) == values["size"]:
            data = bytes(self._taken)
            assert zlib.crc32(data) == values["crc"]
            if values["what"] == "settings":
                wrong = table.check_all(table.decode_file(data))
                if wrong:
                    self._refuse(request_id, wrong[0])
                    return
                self._store(data, values.get("trial_min"))
            else:
                self.files["identity"] = data
        self.reply(messages.IMPORT, request_id, {"size": values["size"], "offset": len(self._taken)})

    def _confirm(self, request_id: int, values: Values) -> None:
        self.trial_min = None
        self.reply(messages.CONFIRM, request_id)

    def _reboot(self, request_id: int, values: Values) -> None:
        self.reply(messages.REBOOT, request_id)
        self.on_restart()


class PromptRelay(FakeRelay):
    """A fake relay whose program can be stopped: Return or Ctrl-C, then Ctrl-C gives the prompt, Ctrl-D starts it."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = True
        self.typed = bytearray()
        self.starts = 0
        self._before = 0

    def take(self, data: bytes) -> None:
        """Bytes from the host: requests, or keys."""
        if self.runs:
            super().take(data)
        for byte in data:
            if self.runs:
                if byte == 3 and self._before in (3, 13):
                    self.runs = False
                    self.send(b"bitrelay: stopped\r\n\r\n>>> ")
            else:
                self._key(byte)
            self._before = byte

    def _key(self, byte: int) -> None:
        if byte == 4 and not self.typed:
            self.runs = True
            self.starts += 1
            self.send(b"\r\nMPY: soft reboot\r\n")
        elif byte in b"\r\n\x03":
            self.typed.clear()
            self.send(b"\r\n>>> ")
        else:
            self.typed.append(byte)
            self.send(bytes((byte,)))


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
    """A fake relay behind an RFC 2217 server on loopback, one client after the other. `lines`: states of (DTR, RTS)."""

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
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            self._serve_one(self._client)

    def _serve_one(self, client: socket.socket) -> None:
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
