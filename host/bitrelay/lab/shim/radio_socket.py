# The board's end of the socket to its NimBLE host; see nimble_protocol.py for the messages. Nothing here allocates per
# message.
import socket
import struct

import uselect
from micropython import const

_REPLY = const(0)
_CREDIT = const(1)
_IDLE = const(2)
_EVENT = const(0x40)
_HEADER = const(3)
_LONGEST = const(600)
# How long the host may take to its next event; longer only if the whole computer is busy.
_PATIENCE_MS = const(20)

_ACK = b"\x00\x00\x00"


def _connect(path):
    path = path.encode() + b"\0"
    # The unix port takes a raw sockaddr_un; systems differ in whether it begins with its length.
    for address in (struct.pack("<H", 1) + path, struct.pack("BB", len(path) + 2, 1) + path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(address)
            sock.setblocking(False)
            return sock
        except OSError as error:
            failure = error
            sock.close()
    raise failure


class RadioSocket:
    def __init__(self, path):
        self.sock = _connect(path)
        self._poll = uselect.poll()
        self._poll.register(self.sock, uselect.POLLIN)
        self._header = bytearray(_HEADER)
        self.out = bytearray(_LONGEST)
        self.reply = bytearray(_LONGEST)
        self.event = bytearray(_LONGEST)
        self.event_length = 0
        self.reply_length = 0
        self.credit = 0
        self.is_open = True
        self.in_handler = False
        self.on_event = None
        self._pending = 0

    # Wait until the host sent something, at most that many milliseconds.
    def wait(self, timeout_ms):
        for _ in self._poll.ipoll(timeout_ms):
            pass

    def _read(self, buffer, length):
        got = self.sock.readinto(buffer, length)
        if got is None:
            return False
        while 0 < got < length:
            self.wait(-1)
            more = self.sock.readinto(memoryview(buffer)[got:length])
            if more is None:
                continue
            if more == 0:
                got = 0
            got += more
        if got == 0:
            self.is_open = False
        return got > 0

    # Take one message if there is one: an event is kept, a credit counted. Returns its kind, or -1.
    def receive(self):
        header = self._header
        if not self.is_open or not self._read(header, _HEADER):
            return -1
        length = header[0] | header[1] << 8
        kind = header[2]
        if kind >= _EVENT:
            self.event_length = length
            self._pending = kind
            buffer = self.event
        else:
            self.reply_length = length
            buffer = self.reply
        while length and self.is_open and not self._read(buffer, length):
            self.wait(-1)
        if kind == _CREDIT:
            self.credit += buffer[0] | buffer[1] << 8
        return kind

    # Run the handler for every event that arrived, and for those that follow at once: NimBLE's task comes before the
    # program's. The host sends the next event when this one is acknowledged, and IDLE after the last. Handlers do not
    # nest.
    def dispatch(self):
        if self.in_handler:
            return
        is_following = False
        while True:
            if not self._pending:
                kind = self.receive()
                if kind < 0:
                    if not is_following:
                        return
                    is_following = False
                    self.wait(_PATIENCE_MS)
                elif kind == _IDLE:
                    is_following = False
                continue
            is_following = True
            kind = self._pending
            self._pending = 0
            self.in_handler = True
            answer = 0
            try:
                answer = self.on_event(kind - _EVENT)
            finally:
                self.in_handler = False
                if answer:
                    self.send(0, answer)
                else:
                    self._write(_ACK, _HEADER)

    def _write(self, buffer, length):
        at = 0
        while at < length and self.is_open:
            try:
                sent = self.sock.write(buffer, at, length - at)
            except OSError:
                self.is_open = False
                return
            if sent is None:
                self.wait(1)
            else:
                at += sent

    # Send the first `length` bytes behind the header of self.out.
    def send(self, kind, length):
        struct.pack_into("<HB", self.out, 0, length, kind)
        self._write(self.out, _HEADER + length)

    # As send, then wait for the reply. Returns its length; it is in self.reply behind two bytes.
    def call(self, kind, length=0):
        self.send(kind, length)
        return self._await_reply()

    # A call whose body does not fit into self.out.
    def call_long(self, kind, body):
        self._write(struct.pack("<HB", len(body), kind), _HEADER)
        self._write(body, len(body))
        return self._await_reply()

    def _await_reply(self):
        while self.is_open:
            kind = self.receive()
            if kind == _REPLY:
                error = struct.unpack_from("<h", self.reply)[0]
                if error:
                    raise OSError(error)
                return self.reply_length - 2
            if kind < 0:
                self.wait(-1)
        raise OSError(19)
