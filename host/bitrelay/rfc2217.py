"""A quick client for serial ports behind RFC 2217, the telnet extension that carries baud rate, DTR and RTS.

The wire protocol is pyserial's. Its client polls each answer every 50 ms, negotiates the whole port anew whenever an
attribute is assigned, and sleeps 300 ms on closing: about 20 times slower than the server answers.
"""

import errno
import os
import time
from typing import Any, cast

from serial import SerialException
from serial.rfc2217 import INACTIVE, Serial, TelnetSubnegotiation

_POLL_S = 0.0005


class ServerHungUp(SerialException, ConnectionResetError):  # type: ignore[misc]
    """Raised when the server has closed the connection: to tools written for pyserial a port that is busy or gone."""


class QuickSubnegotiation(TelnetSubnegotiation):  # type: ignore[misc]
    """One parameter being agreed with the server."""

    def wait(self, timeout: float = 3.0) -> None:
        """Return once the server has confirmed; raises as `demand_server`, and SerialException.

        The latter if the server refuses or timeout seconds pass.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            self.connection.demand_server()
            if time.monotonic() > deadline:
                raise SerialException(f"the server did not answer option {self.name!r}")
            time.sleep(_POLL_S)


class QuickRfc2217Port(Serial):  # type: ignore[misc]
    """pyserial's RFC 2217 port with its waits cut short; opened and used like any pyserial port."""

    _socket: Any
    _thread: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._agreed: tuple[Any, ...] | None = None
        self._hung_up = False
        super().__init__(*args, **kwargs)

    def demand_server(self) -> None:
        """Raise ServerHungUp if it has, as one does that serves somebody else."""
        if self._hung_up:
            raise ServerHungUp(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def _telnet_read_loop(self) -> None:
        super()._telnet_read_loop()
        self._hung_up = True
        # Else opening goes on waiting, for 3 s, for options that nobody is there to agree to.
        for option in cast(list[Any], self._telnet_options):
            option.active, option.state = False, INACTIVE

    def _reconfigure_port(self) -> None:
        self.demand_server()
        wanted = (self._baudrate, self._bytesize, self._parity, self._stopbits, self._rtscts, self._xonxoff)
        # A write timeout is something it must still refuse, as esptool expects it to.
        if wanted == self._agreed and self._write_timeout is None:
            return
        for option in cast(dict[str, Any], self._rfc2217_options).values():
            option.__class__ = QuickSubnegotiation
        super()._reconfigure_port()
        self._agreed = wanted

    def close(self) -> None:
        """Close the connection; the server then lets go of DTR and RTS."""
        self._agreed = None
        self.is_open = False
        if self._socket is not None:
            try:
                self._socket.shutdown(2)
            except OSError:
                pass  # the server was quicker
            self._socket.close()
        if self._thread is not None:
            self._thread.join(2)
            self._thread = None
        self._socket = None
