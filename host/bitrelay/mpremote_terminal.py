"""`python -m bitrelay.mpremote_terminal PORT`: the terminal of mpremote, on any port that bitrelay opens.

A process of its own, because mpremote takes over the terminal and ends as it likes. Where the port is an rfc2217://
URL, mpremote's own terminal fails: it waits on a file descriptor, which such a port does not have.
"""

import errno
import os
import select
import sys
from typing import Any

from mpremote import main, repl
from mpremote.console import ConsolePosix

from bitrelay.serial_handlers import install

_LOOK_EVERY_S = 0.01


class UrlConsole(ConsolePosix):  # type: ignore[misc]
    """mpremote's console for a port without a file descriptor."""

    def waitchar(self, port: Any) -> None:
        """Return when a key was typed or the port has bytes; OSError, as from a device, if its server has gone."""
        while not port.in_waiting and not select.select([self.infd], [], [], _LOOK_EVERY_S)[0]:
            try:
                port.demand_server()
            except ConnectionResetError:
                # The one number that mpremote takes for a device that was unplugged.
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from None


def run(port: str) -> int:
    """Connect mpremote to a port and show its prompt until the user leaves; the exit status."""
    if "://" in port:
        install()
        repl.Console = UrlConsole
    sys.argv = ["mpremote", "connect", port, "repl"]
    try:
        return int(main.main() or 0)
    except OSError as error:  # what it makes of a device that went away
        print(f"mpremote: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
