"""What joins a virtual board's interpreter to its controller on the virtual radio."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .build import Interpreter
from .controller import RadioController
from .directory import claimed_directory
from .nimble import NimbleHost
from .radio import Radio

# What an AF_UNIX path may be long, less the name of the socket.
_LONGEST_SOCKET_DIRECTORY = 90
_SOCKET = ".radio"


class BoardRadio(Protocol):
    """The radio side of a board. It outlives every run of the interpreter, which finds it through `environment`."""

    environment: dict[str, str]

    async def open(self) -> None:
        """Get ready for the first run."""

    def power_cut(self) -> None:
        """The interpreter is gone: fall silent at once."""

    def subscribed(self) -> set[bytes]:
        """The addresses (6 bytes, as HCI has them) of peers that get this board's notifications."""

    async def close(self) -> None:
        """Leave for good; the controller itself belongs to the radio."""


class ShimRadio:
    """For interpreters without Bluetooth: the shim's `bluetooth` module talks to a NimBLE host over a local socket."""

    def __init__(self, controller: RadioController, socket: Path) -> None:
        self.environment = {"BITRELAY_BLUETOOTH": str(socket)}
        self._socket = socket
        self._host = NimbleHost(controller, max_links=controller.max_links)

    async def open(self) -> None:
        await self._host.serve(self._socket)

    def power_cut(self) -> None:
        """Nothing to do: the host hears it from the socket."""

    def subscribed(self) -> set[bytes]:
        return {bytes(link.peer) for link in self._host.links.values() if any(link.subscriptions.values())}

    async def close(self) -> None:
        await self._host.close()


class HciRadio:
    """For interpreters with a Bluetooth stack of their own, which reach the controller through a PTY."""

    def __init__(self, controller: RadioController, radio: Radio) -> None:
        self.environment = {"MICROPYBTUART": radio.attach_pty(controller)}
        self._controller = controller

    async def open(self) -> None:
        """The PTY has been there from the start."""

    def power_cut(self) -> None:
        self._controller.power_off()

    def subscribed(self) -> set[bytes]:
        # What its own stack keeps about its peers nobody sees from outside: connected is all that can be told.
        return {bytes(address) for address in self._controller.le_connections}

    async def close(self) -> None:
        self.power_cut()


def join_radio(controller: RadioController, radio: Radio, interpreter: Interpreter, directory: Path) -> BoardRadio:
    """The radio side of a board with this interpreter; directory is one that socket_directory() gave."""
    return HciRadio(controller, radio) if interpreter.has_bluetooth else ShimRadio(controller, directory / _SOCKET)


@contextmanager
def socket_directory(directory: Path) -> Iterator[Path]:
    """A directory for a board's socket: its own, unless that has too long a path."""
    if len(str(directory)) <= _LONGEST_SOCKET_DIRECTORY:
        yield directory
    else:
        with claimed_directory(Path("/tmp")) as short:
            yield short
